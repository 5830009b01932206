"""Long texts in segments: every word is in one, none is cut, and none lasts too long."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import alignment, phonemes, segmentation

WORDS = ["bin", "blue", "at", "f", "two", "now", "place", "red", "in", "a", "zero", "please"]
RATE, MAX_FRAMES = 25, 100


def random_speech(rng, words):
    """Times of words with pauses of up to a second between them, and the clip's latent frames."""
    intervals, position = [], rng.uniform(0, 1)
    for symbols in phonemes.pronounce(words):
        end = position + 0.08 * len(symbols)
        intervals += alignment.place_phonemes(symbols, position, end, {})
        position = intervals[-1].end + rng.choice([0.0, 0.05, 0.3, 1.0])
    return intervals, round((position + rng.uniform(0, 3)) * RATE)


@pytest.mark.parametrize("seed", range(8))
def test_every_word_is_in_one_segment(seed):
    rng = np.random.default_rng(seed)
    words = list(rng.choice(WORDS, 40))
    intervals, frames = random_speech(rng, words)
    segments = segmentation.split_at_pauses(words, intervals, frames, MAX_FRAMES)
    assert [word for segment in segments for word in segment.words] == words
    lengths = [segment.frames for segment in segments]
    assert [segment.start for segment in segments] == [0, *np.cumsum(lengths)[:-1]]
    assert sum(lengths) == frames and max(lengths) <= MAX_FRAMES
    assert len(segments) <= 2 * frames / MAX_FRAMES + 2
    shifted = [
        (i.start + segment.start / RATE, i.end + segment.start / RATE)
        for segment in segments
        for i in segment.intervals
    ]
    np.testing.assert_allclose(shifted, [i[:2] for i in intervals], atol=1e-9)
    for segment in segments:
        last = segment.frames / RATE + 1e-9
        assert all(0 <= i.start <= i.end <= last for i in segment.intervals)
    for cut in (segment.start / RATE for segment in segments[1:]):
        assert not any(i.start < cut + 0.06 and i.end > cut - 0.06 for i in intervals)


def test_speech_without_a_pause_is_named():
    symbols = [s for word in phonemes.pronounce(WORDS) for s in word]
    intervals = alignment.place_phonemes(symbols, 0.5, 4.5, {})
    with pytest.raises(InputError, match=r"no pause of 0.2 s from 0\.00 to 2\.00 s|from 0.4"):
        segmentation.split_at_pauses(WORDS, intervals, 125, 50)


def test_an_alignment_of_other_words_is_named():
    intervals = alignment.place_phonemes(phonemes.pronounce(["bin"])[0], 0.5, 0.8, {})
    with pytest.raises(InputError, match="for 'blue'"):
        segmentation.split_at_pauses(["blue"], intervals, 100, 50)
    with pytest.raises(InputError, match="2 phonemes in the alignment behind the last word"):
        segmentation.split_at_pauses(["bin"], [*intervals, *intervals[:2]], 100, 50)
