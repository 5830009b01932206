"""Script files to utterances: speakers and voices, and lines about what is not spoken."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.script_files import parse_voices, read_script_file

SRT = """1
00:00:01,000 --> 00:00:02,000
[Anna] Set blue

2
00:00:02,000 --> 00:00:03,000
[door slams]

3
00:00:03,000 --> 00:00:05,000
- <v Bob>Bin red</v>
- ANNA: Lay white
"""
ASS = """[V4+ Styles]

[Events]
Dialogue: 0,0:00:01.00,0:00:02.00,Anna,,0,0,0,,set blue
Dialogue: 1,0:00:01.00,0:00:02.00,Anna,,0,0,0,,set blue
Dialogue: 0,0:00:03.00,0:00:04.00,Anna,Bob,0,0,0,,bin red
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,[Anna] lay white
"""


@pytest.fixture
def voices(tmp_path):
    for name in ("anna", "bob"):
        (tmp_path / f"{name}.wav").write_bytes(b"")
    return {"Anna": tmp_path / "anna.wav", "Bob": str(tmp_path / "bob.wav")}


def read(tmp_path, name, text, voices=None):
    (tmp_path / name).write_text(text)
    return read_script_file(tmp_path / name, parse_voices(voices or {}))


def test_speakers_of_subtitles_have_their_voices(tmp_path, voices):
    script, notes = read(tmp_path, "talk.srt", SRT, voices)
    said = [(line.cue, line.text, line.name, line.speaker.name) for line in script]
    assert said == [
        (1, "Set blue", "Anna", "anna.wav"),
        (3, "Bin red", "Bob", "bob.wav"),
        (3, "Lay white", "ANNA", "anna.wav"),
    ]
    assert script[0].location == f"--script={tmp_path / 'talk.srt'} cue 1"
    assert len(notes) == 1 and "not spoken: cue 2 '[door slams]'" in notes[0]


def test_speakers_without_voices_and_voices_without_speakers_are_lines(tmp_path, voices):
    script, notes = read(tmp_path, "talk.srt", SRT, {"Carl": voices["Anna"]})
    assert [line.speaker for line in script] == [None, None, None]
    assert "not spoken: cue 1 '[Anna]', cue 2 '[door slams]'" in notes[0]
    assert "found no --voice for ANNA, Bob" in notes[1] and "said by carl" in notes[2]


def test_substation_actors_styles_and_layers(tmp_path, voices):
    script, notes = read(tmp_path, "talk.ass", ASS, voices)
    assert [(line.cue, line.name) for line in script] == [(1, "Anna"), (3, "Bob"), (4, "Anna")]
    assert len(notes) == 1 and "shown again in cue 2: they are spoken once" in notes[0]


def test_speakers_of_a_table_have_names_or_files(tmp_path, voices):
    table = "text,speaker\nset blue,anna\nbin red,other.wav\nlay white,\n"
    (tmp_path / "other.wav").touch()
    script, notes = read(tmp_path, "talk.csv", table, {"Anna": voices["Anna"]})
    files = [tmp_path / "anna.wav", tmp_path / "other.wav", None]
    assert [line.speaker for line in script] == files and not notes
    assert [line.name for line in script] == ["anna", "", ""]


def test_a_speaker_of_a_table_without_voice_or_file_is_named_with_its_line(tmp_path, voices):
    table = "text,speaker\nset blue,anna\nbin red,Nobody\n"
    expected = r"talk\.csv line 3, field speaker: found .*Nobody, no such file, expected a rec"
    with pytest.raises(InputError, match=expected):
        read(tmp_path, "talk.csv", table, {"Anna": voices["Anna"]})


def test_subtitles_with_nothing_to_say_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"found 0 texts .* cue 1 '\[door slams\]'"):
        read(tmp_path, "talk.srt", "1\n00:00:01,000 --> 00:00:02,000\n[door slams]\n")


def test_voices_that_are_refused(tmp_path, voices):
    with pytest.raises(InputError, match=r"--voice=Anna=.*no\.wav: no such file"):
        parse_voices({"Anna": tmp_path / "no.wav"})
    with pytest.raises(InputError, match="second voice"):
        parse_voices({"Anna": voices["Anna"], "ANNA ": voices["Bob"]})
    with pytest.raises(InputError, match="--voice without --script"):
        Request.parse(text="set blue", voices=voices)


def test_a_request_takes_the_path_of_a_script(tmp_path, voices):
    (tmp_path / "talk.srt").write_text(SRT)
    request = Request.parse(script=str(tmp_path / "talk.srt"), voices=voices)
    assert [path.name for path in request.speakers] == ["anna.wav", "bob.wav", "anna.wav"]
    assert "not spoken" in request.notes[0]
    with pytest.raises(InputError, match=r"--script=.*no\.srt: no such file"):
        Request.parse(script=tmp_path / "no.srt")
