"""Long texts in pieces: every word is in one, none is cut, and none lasts too long."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import alignment, phonemes, segmentation

WORDS = ["bin", "blue", "at", "f", "two", "now", "place", "red", "in", "a", "zero", "please"]


def speech(rng, words):
    """Times of words with pauses of up to a second between them, and the clip's latent frames."""
    spoken, at = [], rng.uniform(0, 1)
    for symbols in phonemes.pronounce(words):
        spoken += alignment.predict(symbols, at, at + 0.08 * len(symbols), {})
        at = spoken[-1].end + rng.choice([0.0, 0.05, 0.3, 1.0])
    return spoken, round((at + rng.uniform(0, 3)) * 25)


@pytest.mark.parametrize("seed", range(8))
def test_every_word_is_in_one_piece(seed):
    rng = np.random.default_rng(seed)
    words = list(rng.choice(WORDS, 40))
    spoken, total = speech(rng, words)
    found = segmentation.pieces(words, spoken, total, 100)
    assert [word for piece in found for word in piece.words] == words
    assert [p.first for p in found] == [0, *np.cumsum([p.frames for p in found])[:-1]]
    assert sum(p.frames for p in found) == total and max(p.frames for p in found) <= 100
    assert len(found) <= 2 * total / 100 + 2
    back = [(i.start + p.first / 25, i.end + p.first / 25) for p in found for i in p.spoken]
    np.testing.assert_allclose(back, [i[:2] for i in spoken], atol=1e-9)
    for piece in found:
        assert all(0 <= i.start <= i.end <= piece.frames / 25 + 1e-9 for i in piece.spoken)
    for cut in (p.first / 25 for p in found[1:]):
        assert not any(i.start < cut + 0.06 and i.end > cut - 0.06 for i in spoken)


def test_speech_without_a_pause_is_named():
    symbols = [s for word in phonemes.pronounce(WORDS) for s in word]
    spoken = alignment.predict(symbols, 0.5, 4.5, {})
    with pytest.raises(InputError, match=r"no pause of 0.2 s from 0\.00 to 2\.00 s|from 0.4"):
        segmentation.pieces(WORDS, spoken, 125, 50)


def test_an_alignment_of_other_words_is_named():
    spoken = alignment.predict(phonemes.pronounce(["bin"])[0], 0.5, 0.8, {})
    with pytest.raises(InputError, match="for 'blue'"):
        segmentation.pieces(["blue"], spoken, 100, 50)
    with pytest.raises(InputError, match="2 phonemes in the alignment behind the last word"):
        segmentation.pieces(["bin"], [*spoken, *spoken[:2]], 100, 50)
