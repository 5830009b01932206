"""Times of subtitle cues as speech."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text.alignment import RUSHED
from vssflow_jax.text.cues import PAUSE, fit_cues, skip_late_cues
from vssflow_jax.text.durations import predict_total
from vssflow_jax.text.phonemes import pronounce
from vssflow_jax.text.script import Utterance, align_script

TEXT = "set blue at g nine now"
SECONDS = predict_total([s for word in pronounce(TEXT.split()) for s in word], {})


def cue(number, start, end, text=TEXT, **fields):
    location = f"--script=talk.srt cue {number}"
    return Utterance(text=text, start=start, end=end, cue=number, location=location, **fields)


def fit(*script, duration=60.0):
    return fit_cues(script, duration, {}, [None] * len(script))


def test_a_cue_longer_than_its_text_ends_early():
    (line,), notes = fit(cue(1, 2.0, 9.0))
    assert line.start == 2.0 and line.end == pytest.approx(2.0 + SECONDS) and not notes


def test_a_cue_that_holds_its_text_at_a_faster_pace_keeps_its_times():
    (line,), notes = fit(cue(1, 2.0, 2.0 + SECONDS / 1.3))
    assert line.end == pytest.approx(2.0 + SECONDS / 1.3) and not notes


def test_a_cue_that_cannot_hold_its_text_lasts_into_the_gap_with_a_line():
    (line, _), notes = fit(cue(1, 2.0, 2.5), cue(2, 8.0, 10.0))
    assert line.end == pytest.approx(2.0 + SECONDS)
    assert len(notes) == 1 and notes[0].startswith("--script=talk.srt cue 1: ")
    assert "has 0.50 s: it ends at" in notes[0]
    gap = SECONDS / 1.2 + PAUSE
    (line, _), notes = fit(cue(1, 2.0, 2.5), cue(2, 2.0 + gap, 10.0))
    assert line.end == pytest.approx(2.0 + gap - PAUSE) and notes


def test_cues_without_room_are_refused_by_their_numbers():
    with pytest.raises(InputError, match=r"cues 1 \(needs .*, has 0\.50 s\), 3 \(needs"):
        fit(cue(1, 2.0, 2.5), cue(2, 2.5 + PAUSE, 9.0), cue(3, 59.5, 60.0))


def test_a_cue_that_overlaps_the_next_ends_before_it():
    (line, _), _ = fit(cue(1, 2.0, 9.0), cue(2, 2.0 + SECONDS / 1.4, 9.0))
    assert line.end == pytest.approx(2.0 + SECONDS / 1.4)


def test_two_speakers_of_a_cue_share_its_time():
    (first, second), notes = fit(cue(4, 1.0, 1.0 + 2 * SECONDS / 1.2), cue(4, 1.0, 1.0, name="b"))
    assert first.end - first.start == pytest.approx(second.end - second.start)
    assert second.start == pytest.approx(first.end + PAUSE)
    assert second.end == pytest.approx(1.0 + 2 * SECONDS / 1.2) and not notes


def test_cues_at_the_same_time_are_spoken_one_after_another_with_a_line():
    (first, second), notes = fit(cue(1, 1.0, 3.0), cue(2, 1.0, 3.0 + 2 * SECONDS))
    assert first.start == 1.0 and second.start == pytest.approx(first.end + PAUSE)
    assert len(notes) == 1 and "cue 1: found cue 2 at the same time" in notes[0]


def test_no_fitted_cue_is_said_to_be_rushed():
    script, _ = fit(cue(1, 0.0, SECONDS / RUSHED + 2e-3), cue(2, 10.0, 10.1), cue(3, 20.0, 30.0))
    timed = align_script(script, 60.0, {})
    assert not timed.warnings
    assert [span[0] for span in timed.spans] == [0.0, 10.0, 20.0]


def test_lines_of_tables_stay_as_they_are():
    script = [Utterance(text=TEXT, start=1.0, end=1.5), Utterance(text=TEXT)]
    assert fit(*script) == (script, [])
    assert skip_late_cues(script, 1.0) == (script, [])


def test_cues_behind_the_end_of_the_clip_are_a_line():
    script = [cue(1, 1.0, 2.0), cue(2, 10.0, 11.0), cue(3, 12.0, 13.0)]
    kept, notes = skip_late_cues(script, 10.0)
    assert kept == script[:1] and "cues 2, 3 of the subtitles" in notes[0]
    assert "not spoken" in notes[0]
    with pytest.raises(InputError, match="at least one cue"):
        skip_late_cues(script, 0.5)


def test_a_cue_that_the_end_of_the_clip_cuts_off_is_a_line():
    script = [cue(1, 1.0, 4.0), cue(2, 9.5, 12.0)]
    (line,), notes = fit(*script, duration=10.0)
    assert line.cue == 1 and "cue 2: cut off by the clip's end at 10.00 s" in notes[0]
    with pytest.raises(InputError, match=r"cut off .* expected at least one cue"):
        fit(script[1], duration=10.0)
    with pytest.raises(InputError, match="no room for the text of cue 2"):
        fit(script[0], cue(2, 9.5, 10.0), duration=10.0)


def test_text_that_cannot_be_read_is_an_error_with_the_number():
    with pytest.raises(InputError, match=r"cue 7: .*CYRILLIC"):
        fit(cue(7, 1.0, 2.0, text="ж"))
