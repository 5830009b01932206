"""Phoneme times on the latent grid: order, overlap, and any length."""

import itertools
import tracemalloc

import numpy as np

from vssflow_jax.text import alignment, grid, phonemes
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.grid import phonemes_to_frames

SENTENCE = "S EH1 T B L UW1 AE1 T JH IY1 N AY1 N N AW1".split()  # noqa: SIM905


def draw_intervals(generator, count, seconds):
    """`count` phonemes with pauses within `seconds`; some far shorter than a frame."""
    edges = np.sort(generator.uniform(0, seconds, 2 * count))
    if generator.random() < 0.5:  # without pauses
        edges[2::2] = edges[1:-1:2]
    names = generator.choice(phonemes.SYMBOLS[1:59], count)
    return [Interval(a, b, str(s)) for a, b, s in zip(edges[::2], edges[1::2], names, strict=True)]


def remove_repetitions(ids):
    """Ids in order without repetitions and silence."""
    return [number for number, _ in itertools.groupby(int(number) for number in ids if number)]


def test_the_grid_keeps_every_phoneme_in_order():
    generator = np.random.default_rng(0)
    for _ in range(200):
        intervals = draw_intervals(generator, generator.integers(1, 40), 2.0)
        frames = phonemes_to_frames(intervals, 50)
        expected = [phonemes.IDS[i.symbol] for i in intervals]
        assert frames.shape == (50,) and frames.dtype == np.int32
        assert remove_repetitions(frames) == remove_repetitions(expected)


def test_long_phonemes_lie_where_they_overlap_most():
    frames = phonemes_to_frames([Interval(0.10, 0.31, "S"), Interval(0.31, 0.70, "T")], 25)
    expected = np.zeros(25, int)
    expected[2:8], expected[8:17] = phonemes.IDS["S"], phonemes.IDS["T"]
    np.testing.assert_array_equal(frames[3:17], expected[3:17])
    assert not frames[:2].any() and not frames[18:].any()


def test_the_grid_has_the_length_of_the_clip():
    intervals = alignment.place_phonemes(SENTENCE, 0.5, 1.7, {})
    assert not phonemes_to_frames([], 10).any()
    assert phonemes_to_frames(intervals, 0).shape == (0,)
    assert not phonemes_to_frames(intervals, 10).any(), "the clip ends before the speech"
    dense = phonemes_to_frames(alignment.place_phonemes(SENTENCE, 0.0, 0.2, {}), 5)
    assert dense.shape == (5,) and dense.all()
    cut = phonemes_to_frames(intervals, 30)
    assert len(cut) == 30 and cut[-1] and cut[-1] != phonemes.IDS["AW1"]


def draw_speech(generator, seconds):
    """Phonemes of some 90 ms without a pause, every tenth run of them far too dense for frames."""
    lengths = generator.gamma(3, 0.03, int(20 * seconds))
    for first in range(0, len(lengths), 200):
        lengths[first : first + 20] = 0.004
    edges = 0.1 + np.cumsum(lengths)
    edges = edges[edges < seconds]
    names = generator.choice(phonemes.SYMBOLS[1:59], len(edges) - 1)
    return [
        Interval(a, b, str(s)) for (a, b), s in zip(itertools.pairwise(edges), names, strict=True)
    ]


def test_candidates_near_a_frame_give_the_path_of_all_phonemes(monkeypatch):
    generator = np.random.default_rng(1)
    intervals = [draw_speech(generator, seconds) for seconds in (0.5, 3.0, 20.0, 21.0)]
    near = [phonemes_to_frames(row, 550) for row in intervals]
    monkeypatch.setattr(grid, "MARGIN", 1000.0)
    for row, frames in zip(intervals, near, strict=True):
        np.testing.assert_array_equal(frames, phonemes_to_frames(row, 550))


def test_memory_grows_with_the_length_and_not_with_its_square():
    """An hour of speech in one text: a table of all states would be 50 GB."""
    peaks = []
    for seconds in (10, 100):
        intervals = draw_speech(np.random.default_rng(2), seconds)
        tracemalloc.start()
        frames = phonemes_to_frames(intervals, 25 * seconds)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        spoken = remove_repetitions(frames)
        expected = remove_repetitions(phonemes.IDS[i.symbol] for i in intervals)
        assert spoken == expected
    assert peaks[1] < 15 * peaks[0]
