"""Scripts: the table, lines in time, and changes of the speaker."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text.script import Utterance, align_script, find_speaker_changes, read_script


def table(folder, text):
    (folder / "lines.csv").write_text(text)
    return folder / "lines.csv"


def test_table(tmp_path):
    path = table(tmp_path, "start,end,text,speaker\n0.5,2,set blue,a.wav\n,,lay red,\n")
    one, two = read_script(path)
    assert (one.start, one.end, one.text, one.speaker) == (0.5, 2.0, "set blue", tmp_path / "a.wav")
    assert (two.start, two.end, two.speaker) == (None, None, None)
    assert "line 3" in two.location


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,words\n0,a\n", "line 1: found 'start,words'"),
        ("start,text\nsoon,set blue\n", "line 2: found start 'soon'"),
        ("start,text\n-1,set blue\n", "line 2: found start '-1'"),
        ("start,text\n1,set blue,more\n", "line 2: found 3 fields, expected 2"),
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
    script_times = align_script(script, None, {})
    assert script_times.spans[0][0] == 0.5 and script_times.spans[2] == (9.0, 10.0)
    assert script_times.spans[0][1] < script_times.spans[1][0] < script_times.spans[1][1] < 9.0
    times = [time for start, end, _ in script_times.intervals for time in (start, end)]
    assert times == sorted(times) and not script_times.warnings


def test_a_line_ends_before_the_next_begins():
    script = [
        Utterance(text="set blue at g nine now", start=0.0, location="line 2"),
        Utterance(text="bin red", start=0.8),
    ]
    script_times = align_script(script, 3.0, {})
    assert script_times.spans[0][1] == 0.8
    assert "line 2" in script_times.warnings[0] and "rushed" in script_times.warnings[0]


def test_a_script_without_lines_has_no_times_whatever_the_voice():
    script_times = align_script((), 5.0, {}, [None])
    assert not script_times.intervals and not script_times.spans and not script_times.warnings


def test_overlapping_lines_are_refused():
    script = [
        Utterance(text="set blue", start=0.0, end=2.0),
        Utterance(text="bin red", start=1.5, location="lines.csv line 3"),
    ]
    with pytest.raises(InputError, match=r"lines\.csv line 3: .*after the end"):
        align_script(script, 5.0, {})


def test_voices_change_in_the_middle_of_the_pause():
    spans = [(0.0, 1.0), (2.0, 3.0), (3.2, 4.0), (5.0, 6.0)]
    assert find_speaker_changes(["a", "b", "b", "a"], spans) == [(0.0, 0), (1.5, 1), (4.5, 3)]


def test_a_line_that_ends_at_zero_is_an_error():
    with pytest.raises(InputError, match="0"):
        align_script([Utterance(text="set blue", end=0.0)], 5.0, {})
