"""Subtitle files of the three common kinds, as editors, players and websites write them."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.media.subtitles import MAX_BYTES, MAX_CHARACTERS, read_cues

SRT = """1
00:00:01,000 --> 00:00:02,500
[Anna] <i>Hello</i> there
you

2
00:00:03,000 --> 00:00:04,500  X1:100 X2:200
The answer is

42

3
00:00:05,000 --> 00:00:06,000
Route --> west
66
"""
VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE a comment
of two lines

intro
00:01.000 --> 00:02.500 align:start
<v Anna>Hello &amp; welcome

NOTE another

00:00:03.000 --> 00:00:04.000
word<00:00:03.200><c> by</c><00:00:03.500><c> word</c>
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.00,0:00:04.00,Top,,0,0,0,,later, with a comma
Comment: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.50,Default, Anna ,0,0,0,,{\\i1}Hello{\\i0}\\Nthere\\hyou
"""


def write(folder, text, suffix=".srt", encoding="utf-8"):
    path = folder / f"talk{suffix}"
    path.write_bytes(text.encode(encoding))
    return path


def test_subrip(tmp_path):
    cues, notes = read_cues(write(tmp_path, SRT))
    assert [(cue.number, cue.start, cue.end) for cue in cues] == [
        (1, 1.0, 2.5),
        (2, 3.0, 4.5),
        (3, 5.0, 6.0),
    ]
    texts = ["[Anna] <i>Hello</i> there\nyou", "The answer is\n42", "Route --> west\n66"]
    assert [cue.text for cue in cues] == texts and not notes


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends(tmp_path, ending, encoding):
    expected = read_cues(write(tmp_path, SRT))
    path = write(tmp_path, SRT.replace("\n", ending), encoding=encoding)
    assert read_cues(path) == expected


def test_an_old_encoding_is_a_line(tmp_path):
    path = write(tmp_path, SRT.replace("Hello", "“Zoë”"), encoding="cp1252")
    cues, notes = read_cues(path)
    assert "“Zoë”" in cues[0].text and "read as Windows-1252" in notes[0]
    with pytest.raises(InputError, match="not UTF-8"):
        read_cues(write(tmp_path, SRT.replace("there", "привет, как дела?"), encoding="cp1251"))


def test_webvtt_comments_and_names_of_cues_are_no_text(tmp_path):
    cues, notes = read_cues(write(tmp_path, VTT, ".vtt"))
    assert [(cue.number, cue.start, cue.end) for cue in cues] == [(1, 1.0, 2.5), (2, 3.0, 4.0)]
    assert cues[0].text == "<v Anna>Hello &amp; welcome" and not notes
    assert cues[1].text == "word<00:00:03.200><c> by</c><00:00:03.500><c> word</c>"


@pytest.mark.parametrize("suffix", [".ass", ".SSA"])
def test_substation_names_styles_and_order(tmp_path, suffix):
    text = (
        ASS if suffix == ".ass" else ASS.replace("Layer,", "Marked,").replace(": 0,", ": Marked=0,")
    )
    cues, notes = read_cues(write(tmp_path, text, suffix))
    assert [(cue.number, cue.start, cue.end) for cue in cues] == [(2, 1.0, 2.5), (1, 3.0, 4.0)]
    assert (cues[0].actor, cues[0].style) == ("Anna", "Default")
    assert cues[0].text == "{\\i1}Hello{\\i0}\nthere you"
    assert (cues[1].text, cues[1].style) == ("later, with a comma", "Top") and not notes


@pytest.mark.parametrize("text", [SRT, VTT, ASS])
def test_the_text_says_what_kind_of_subtitles_it_is(tmp_path, text):
    cues = {str(read_cues(write(tmp_path, text, suffix))) for suffix in (".srt", ".vtt", ".ass")}
    assert len(cues) == 1


def test_cues_that_cannot_be_read_are_a_line(tmp_path):
    empty = "1\n00:00:01,000 --> 00:00:02,000\n\n" + SRT.replace("3\n00:00:05", "3\n00:00:5x")
    cues, notes = read_cues(write(tmp_path, empty))
    assert [cue.number for cue in cues] == [2, 3]
    assert "found 2 of 4 cues without a text" in notes[0]
    broken = ASS.replace("0:00:03.00,0:00:04.00", "soon,later")
    cues, notes = read_cues(write(tmp_path, broken, ".ass"))
    assert len(cues) == 1 and "found 1 of 2 cues" in notes[0]


def test_a_cue_that_ends_before_it_starts_lasts_until_the_next(tmp_path):
    cues, _ = read_cues(write(tmp_path, SRT.replace("00:00:02,500", "00:00:00,500")))
    assert (cues[0].start, round(cues[0].end, 1)) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("", ".srt", "found no cues"),
        ("hello\n", ".vtt", "found no cues"),
        ("[Events]\nFormat: Start, End, Text\nDialogue: 1,2,a\n", ".ass", "line 2: found fields"),
        (SRT.replace("there", "a" * (MAX_CHARACTERS + 1)), ".srt", "cue 1: found 5"),
        (SRT + "\0", ".srt", "not text"),
        ("1\n" * (MAX_BYTES // 2 + 1), ".srt", "expected at most 10000000"),
    ],
)
def test_files_that_are_refused(tmp_path, text, suffix, message):
    with pytest.raises(InputError, match=message):
        read_cues(write(tmp_path, text, suffix))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no\.srt: no such file, expected subtitles"):
        read_cues(tmp_path / "no.srt")
