"""Cues that are heard late or early move to their starts; all else stays where it is."""

import numpy as np
import pytest
from helpers import fixtures
from hypothesis import given, settings
from hypothesis import strategies as st

from vssflow_jax.common.waves import to_mono
from vssflow_jax.generation.cue_onsets import (
    MAX_DELAY,
    SPEECH_FADE,
    SPEECH_MARGINS,
    measure_delay,
    move_cues,
)
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.word_times import TimedUtterance, TimedWord

STEP = 0.01  # seconds of a block
LENGTH = 0.6  # seconds of an utterance
RATE = 16_000


def make_utterance(start):
    """Two phonemes."""
    middle, end = start + LENGTH / 2, start + LENGTH
    phonemes = (Interval(start, middle, "P"), Interval(middle, end, "L"))
    return TimedUtterance(text="a", speaker="", words=(TimedWord(start, end, "a", phonemes),))


def make_speech(starts, delays, rate=RATE, channels=None):
    """Noise for each utterance, so much later than its start, among silence 60 dB softer."""
    rng, length = np.random.default_rng(0), round((starts[-1] + 2 * LENGTH) * rate)
    shape = (length,) if channels is None else (length, channels)
    levels = np.full(length, 1e-4)
    for start, delay in zip(starts, delays, strict=True):
        levels[round((start + delay) * rate) : round((start + LENGTH) * rate)] = 0.1
    wave = rng.standard_normal(shape) * (levels if channels is None else levels[:, None])
    return wave.astype(np.float32)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    delays=st.lists(st.integers(-9, 25).map(lambda n: n * STEP), min_size=1, max_size=3),
    gap=st.sampled_from([0.12, 0.4, 2.0]),
    rate=st.sampled_from([RATE, 44_100]),
    channels=st.sampled_from([None, 2]),
)
def test_every_cue_is_audible_near_its_start(delays, gap, rate, channels):
    starts = [0.5 + number * (LENGTH + gap) for number in range(len(delays))]
    wave = make_speech(starts, delays, rate, channels)
    lines = [make_utterance(start) for start in starts]
    moved, placed, notes = move_cues(wave, rate, lines, range(1, len(starts) + 1))
    assert moved.shape == wave.shape and moved.dtype == np.float32
    mono, before = to_mono(moved, rate, RATE), 0.0
    for start, delay, line in zip(starts, delays, placed, strict=True):
        earliest = min(before + SPEECH_MARGINS[1], start) if before else 0.0
        delay = max(delay, earliest - start)  # what comes earlier may be of the line before
        shift = np.clip(delay, -MAX_DELAY, MAX_DELAY) - delay
        assert line.start - start == pytest.approx(shift, abs=1.5 * STEP)
        heard = line.start + measure_delay(mono, line.start, line.end, earliest)
        assert abs(heard - start) <= MAX_DELAY + 1.5 * STEP
        before = start + LENGTH
    assert len(notes) == (placed != lines)


def test_the_sound_and_its_times_move_together_and_the_rest_stays():
    starts = [1.0, 2.5, 4.0]
    wave, lines = make_speech(starts, [0.03, 0.17, 0.17]), [make_utterance(s) for s in starts]
    moved, placed, (note,) = move_cues(wave, RATE, lines, [1, 2, None])
    assert note.startswith("cue 2 (120 ms earlier) of the subtitles: ")
    assert (placed[0], placed[2]) == (lines[0], lines[2])
    shift = round(0.12 * RATE)
    part = slice(round(2.5 * RATE), round((2.5 + LENGTH) * RATE))
    np.testing.assert_allclose(moved[part.start - shift : part.stop - shift], wave[part], atol=1e-3)
    times = [x for word in placed[1].words for x in (word, *word.phonemes)]
    before = [x for word in lines[1].words for x in (word, *word.phonemes)]
    np.testing.assert_allclose([x[:2] for x in times], np.array([x[:2] for x in before]) - 0.12)
    first = round((2.5 - 0.12 - SPEECH_MARGINS[0] - SPEECH_FADE) * RATE)
    last = round((2.5 + LENGTH + SPEECH_MARGINS[1] + SPEECH_FADE) * RATE)
    np.testing.assert_array_equal(moved[:first], wave[:first])
    np.testing.assert_array_equal(moved[last:], wave[last:])


def test_an_early_cue_moves_later_and_sounds_over_what_follows():
    wave, line = make_speech([1.0], [-0.09]), make_utterance(1.0)
    moved, (placed,), (note,) = move_cues(wave, RATE, [line], [7])
    assert placed.start == pytest.approx(1.04) and "cue 7 (40 ms later)" in note
    part, shift = slice(round(0.91 * RATE), round(1.6 * RATE)), round(0.04 * RATE)
    np.testing.assert_allclose(moved[part.start + shift : part.stop + shift], wave[part], atol=1e-3)


def test_a_cue_without_silence_before_it_stays():
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    moved, placed, notes = move_cues(noise, RATE, [make_utterance(0.5)], [1])
    assert moved is noise and placed == [make_utterance(0.5)] and not notes


def test_no_time_is_before_the_clip():
    wave, line = make_speech([0.0], [0.15]), make_utterance(0.0)
    moved, (placed,), _ = move_cues(wave, RATE, [line], [1])
    assert placed.start == 0.0 and placed.end == pytest.approx(LENGTH - 0.1)
    assert measure_delay(moved, placed.start, placed.end) == pytest.approx(MAX_DELAY)


def test_silence_stays_silence():
    wave, line = np.zeros(2 * RATE, np.float32), make_utterance(0.5)
    moved, placed, notes = move_cues(wave, RATE, [line], [1])
    assert not moved.any() and placed == [line] and not notes
    assert measure_delay(wave, 0.5, 1.0) == measure_delay(wave[:0], 0.5, 1.0) == 0.0


class LateSpeech:
    """A synthesizer that speaks 0.2 s after every phoneme that it is asked for.

    Other sound is half as loud, and everywhere.
    """

    def __init__(self, synthesizer):
        self.synthesizer = synthesizer

    def __getattr__(self, name):
        return getattr(self.synthesizer, name)

    def __call__(self, job, sampling, progress):
        rng, size, waves = np.random.default_rng(0), RATE // 25, []
        for record in job.records:
            frames = np.zeros(job.num_frames)
            frames[: len(record["phonemes"])] = record["phonemes"] > 0
            level = 0.2 * np.roll(frames, 5) + 0.1 * ("clip" in record)
            waves.append(level.repeat(size) * rng.standard_normal(len(level) * size))
        return [wave.astype(np.float32) for wave in waves]


@pytest.mark.parametrize("way", ["speech", "apart", "together"])
def test_late_cues_move_where_speech_is_generated_by_itself(generator, monkeypatch, tmp_path, way):
    monkeypatch.setattr(generator, "synthesizer", LateSpeech(generator.synthesizer))
    cue = "00:00:01,000 --> 00:00:03,000\n"
    (tmp_path / "talk.srt").write_text(f"1\n{cue}set blue\n")
    request = {"script": tmp_path / "talk.srt", "duration": 4.0}
    if way != "speech":
        request["video"] = fixtures.write_video(tmp_path / "in.mp4", seconds=4)
    output = generator(**request, stems=True, joint="together" if way == "speech" else way)
    lines = [line for line in output.report["warnings"] if "moved" in line]
    start, sound = output.utterances[0].start, output.stems["speech"]
    assert output.report["spans"][0][0] == output.report["alignment"][0][0] == start
    if way == "together":
        assert start == 1.0 and not lines
        return
    assert lines == ["cue 1 (150 ms earlier) of the subtitles: moved, to be audible at the start"]
    assert start == pytest.approx(0.85)
    heard = start + measure_delay(sound, start, output.utterances[0].end)
    assert heard == pytest.approx(1.0 + MAX_DELAY, abs=STEP)
    if way == "apart":
        np.testing.assert_allclose(output.wave, sound + output.stems["sound"], atol=1e-6)
