"""Phoneme times from lips: near the true ones, for one utterance and for several."""

import itertools

import numpy as np
import pytest

from vssflow_jax.corpus import lip_tracks, visemes, voices
from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack
from vssflow_jax.features import lip_alignment
from vssflow_jax.text import alignment, phonemes
from vssflow_jax.text.durations import DEFAULT_DURATIONS, DurationModel
from vssflow_jax.text.script import Utterance, align_script

LOOK = voices.load_voices("espeak").voices[0].look
TEXTS = ("they found a small boat under the bridge", "she wants to buy a new piano")
SECONDS = 4.0


def say(texts, seed, seconds=SECONDS, pause=0.0):
    """True times of texts said one after another, and the track of a face that says them."""
    rng, intervals, start = np.random.default_rng(seed), [], 0.3 + 0.1 * seed
    for text in texts:
        words = phonemes.pronounce(text.split())
        symbols = [symbol for word in words for symbol in word]
        placed = alignment.place_phonemes(symbols, start, None, {})
        spread = np.exp(rng.normal(0, 0.25, len(symbols)))
        edges = start + np.cumsum([0, *(spread * [i.end - i.start for i in placed])])
        intervals += [
            alignment.Interval(*row) for row in zip(edges[:-1], edges[1:], symbols, strict=True)
        ]
        start = edges[-1] + pause
    shapes = visemes.trace_mouth(intervals, round(seconds * 25), 25.0)
    return intervals, lip_tracks.track_lips(LOOK, shapes, rng)


def follow(texts, track, seconds=SECONDS, durations=None):
    script = [Utterance(text=text) for text in texts]
    model = DurationModel({}) if durations is None else durations
    timed = align_script(script, seconds, model)
    return timed, lip_alignment.follow_lips(timed, script, track, model)


def measure_error(intervals, truth):
    """Mean error of the boundaries, seconds."""
    pairs = zip(intervals, truth, strict=True)
    return np.mean([[abs(a.start - b.start), abs(a.end - b.end)] for a, b in pairs])


def test_boundaries_are_much_closer_than_predicted_ones():
    errors = []
    for seed, text in itertools.product(range(6), TEXTS):
        truth, track = say([text], seed)
        timed, followed = follow([text], track)
        assert [i.symbol for i in followed.intervals] == [i.symbol for i in truth]
        errors.append([measure_error(x.intervals, truth) for x in (timed, followed)])
    predicted, seen = np.mean(errors, axis=0)
    assert seen < 0.04 and seen < predicted / 3


def test_pauses_between_utterances_are_found():
    truth, track = say(TEXTS, 1, seconds=8.0, pause=1.0)
    _, followed = follow(TEXTS, track, seconds=8.0)
    assert measure_error(followed.intervals, truth) < 0.06
    (_, first_end), (second_start, _) = followed.spans
    count = sum(map(len, phonemes.pronounce(TEXTS[0].split())))
    assert first_end == pytest.approx(truth[count - 1].end, abs=0.12)
    assert second_start == pytest.approx(truth[count].start, abs=0.12)


def test_times_are_in_order_and_keep_every_phoneme():
    _, track = say([TEXTS[0]], 0)
    _, followed = follow([TEXTS[1]], track)  # another text than the mouth says
    assert all(a.end <= b.start for a, b in itertools.pairwise(followed.intervals))
    assert all(i.end - i.start + 1e-9 >= 0.04 for i in followed.intervals)
    assert followed.intervals[0].start >= 0 and followed.intervals[-1].end <= SECONDS


def test_frames_without_a_face_are_passed_over():
    truth, track = say([TEXTS[0]], 2)
    seen = track.seen & (np.arange(len(track.seen)) % 20 >= 4)
    measurements = np.where(seen[:, None], track.measurements, 9).astype(np.float32)
    _, followed = follow([TEXTS[0]], LipTrack(measurements, seen))
    assert measure_error(followed.intervals, truth) < 0.08


def test_a_mouth_that_does_not_move_is_not_followed():
    still = LipTrack(np.full((100, len(MEASUREMENTS)), 0.1, np.float32), np.ones(100, bool))
    assert follow([TEXTS[0]], still)[1] is None
    assert follow([TEXTS[0]], None)[1] is None


def test_a_mouth_that_speaks_much_faster_than_usual_gives_a_warning():
    _, track = say([TEXTS[0]], 0, seconds=8.0)
    slow = {symbol: 2 * seconds for symbol, seconds in DEFAULT_DURATIONS.items()}
    timed, followed = follow([TEXTS[0]], track, 8.0, DurationModel(slow))
    assert not timed.warnings and "the speech will be rushed" in followed.warnings[0]


def test_subwords_have_no_visemes(monkeypatch):
    monkeypatch.setattr(lip_alignment, "has_tokenizer", lambda durations: True)
    _, track = say([TEXTS[0]], 0)
    assert follow([TEXTS[0]], track)[1] is None
