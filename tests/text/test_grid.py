"""Phoneme times on the latent grid: order, overlap, and any length."""

import itertools

import numpy as np

from vssflow_jax.text import alignment, phonemes
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
