"""Scripts: the table, lines in time, turns of voices, and the order of variants."""

import numpy as np
import pytest

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import voices
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.ranking import rank
from vssflow_jax.generation.request import (
    Request,
    check_rates,
    conditions_of,
    read_voices,
    stem,
    voices_of,
)
from vssflow_jax.preparation import examples
from vssflow_jax.text.script import Utterance, align_script, find_speaker_changes, read_script

RATE = 16_000


def table(folder, text):
    (folder / "lines.csv").write_text(text)
    return folder / "lines.csv"


def test_table(tmp_path):
    path = table(tmp_path, "start,end,text,speaker\n0.5,2,set blue,a.wav\n,,lay red,\n")
    one, two = read_script(path)
    assert (one.start, one.end, one.text, one.speaker) == (0.5, 2.0, "set blue", tmp_path / "a.wav")
    assert (two.start, two.end, two.speaker) == (None, None, None)
    assert "line 3" in two.where


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,words\n0,a\n", "line 1: found 'start,words'"),
        ("start,text\nsoon,set blue\n", "line 2: found start 'soon'"),
        ("start,text\n-1,set blue\n", "line 2: found start '-1'"),
        ("start,text\n1,set blue,more\n", "line 2: found more or fewer"),
        ("start,text\n", "found 0 lines"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_script(table(tmp_path, text))


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.csv"):
        read_script(tmp_path / "nothing.csv")


def test_lines_follow_each_other():
    script = [
        Utterance(text="set blue at g nine now", start=0.5),
        Utterance(text="lay red by k two soon"),
        Utterance(text="bin red", start=9.0, end=10.0),
    ]
    spoken = align_script(script, None, {})
    assert spoken.spans[0][0] == 0.5 and spoken.spans[2] == (9.0, 10.0)
    assert spoken.spans[0][1] < spoken.spans[1][0] < spoken.spans[1][1] < 9.0
    times = [time for start, end, _ in spoken.intervals for time in (start, end)]
    assert times == sorted(times) and not spoken.warnings


def test_a_line_ends_before_the_next_begins():
    script = [
        Utterance(text="set blue at g nine now", start=0.0, where="line 2"),
        Utterance(text="bin red", start=0.8),
    ]
    spoken = align_script(script, 3.0, {})
    assert spoken.spans[0][1] == 0.8
    assert "line 2" in spoken.warnings[0] and "rushed" in spoken.warnings[0]


def test_a_script_without_lines_has_no_times_whatever_the_voice():
    spoken = align_script((), 5.0, {}, [None])
    assert not spoken.intervals and not spoken.spans and not spoken.warnings


def test_overlapping_lines_are_refused():
    script = [
        Utterance(text="set blue", start=0.0, end=2.0),
        Utterance(text="bin red", start=1.5, where="lines.csv line 3"),
    ]
    with pytest.raises(InputError, match=r"lines\.csv line 3: .*after the end"):
        align_script(script, 5.0, {})


def test_voices_change_in_the_middle_of_the_pause():
    spans = [(0.0, 1.0), (2.0, 3.0), (3.2, 4.0), (5.0, 6.0)]
    assert find_speaker_changes(["a", "b", "b", "a"], spans) == [(0.0, 0), (1.5, 1), (4.5, 3)]


def spoken(name, text="set blue at g nine now"):
    wave = voices.speak(voices.BY_NAME[name], text.split(), 1.0).wave
    return np.pad(0.5 * wave, (RATE // 2, RATE // 2)).astype(np.float32)


def test_voices_of_a_script(tmp_path):
    media.write_wav(tmp_path / "ada.wav", spoken("ada"))
    files = [tmp_path / "ada.wav", None, tmp_path / "ada.wav"]
    read = read_voices(files, "built-in")
    found = voices_of(files, [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)], 125, read)
    assert len(found.embeddings) == 2 and found.embeddings[1] is None
    assert found.frames[[0, 30, 45, 80, 95, 124]].tolist() == [0, 0, 1, 1, 0, 0]


def test_a_voice_needs_an_encoder_for_voices(tmp_path):
    media.write_wav(tmp_path / "ada.wav", spoken("ada"))
    with pytest.raises(InputError, match=r"--speaker=.*ada\.wav: found encoders \(clip=built-in\)"):
        read_voices([tmp_path / "ada.wav"], "clip=built-in")


def test_stems_switch_conditions():
    request = Request.of(text="set blue at g nine now")
    made = conditions_of(
        request, examples.ExampleSettings(), {"phoneme_durations": {}, "rates": {}}
    )
    assert made.record["phonemes"].any() and not stem(made.record, ("clip",))["phonemes"].any()
    assert made.used == ["phonemes"]


def test_other_rates_than_trained_on_are_refused():
    with pytest.raises(InputError, match="sync at 25 a second, expected 24"):
        check_rates({"sync": 24, "clip": 10}, "built-in")
    check_rates({"sync": 25.0, "clip": None}, "built-in")


def test_the_variant_that_says_the_text_comes_first(tmp_path):
    media.write_wav(tmp_path / "voice.wav", spoken("ada", "lay green in r two soon"))
    request = Request.of(text="set blue at g nine now", speaker=tmp_path / "voice.wav")

    def output(wave, seed):
        report = {"spans": [[0.3, len(wave) / RATE - 0.3]], "seed": seed}
        return Output(wave, RATE, report)

    wrong = output(spoken("ada", "bin red by x six please"), 0)
    right = output(spoken("ada"), 1)
    ranked = rank([wrong, right], request, examples.ExampleSettings())
    assert [one.report["seed"] for one in ranked] == [1, 0]
    assert ranked[0].report["scores"]["wer"] < ranked[1].report["scores"]["wer"]
    assert 0 < ranked[0].report["scores"]["speaker_similarity"] <= 1


def test_what_cannot_be_scored_keeps_its_order():
    outputs = [Output(np.zeros(RATE, np.float32), RATE, {"spans": [[0, 1]]}) for _ in range(3)]
    ranked = rank(outputs, Request.of(text="good morning"), examples.ExampleSettings())
    assert [a is b for a, b in zip(ranked, outputs, strict=True)] == [True] * 3
    assert ranked[0].report["scores"] == {}


def test_sound_that_is_not_finite_is_not_saved(tmp_path):
    wave = np.full(10, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        Output(wave, RATE, {}).save(tmp_path / "out.wav")
    assert not list(tmp_path.iterdir())
