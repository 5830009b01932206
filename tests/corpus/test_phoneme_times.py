"""Times of CMUdict's symbols."""

import itertools

import numpy as np
import pytest

from vssflow_jax.corpus import phoneme_times
from vssflow_jax.text import espeak, phonemes


def test_align_shares_and_merges_times():
    spoken = [(0.0, 0.1, "F"), (0.1, 0.3, "AO1")]
    merged = phoneme_times.align_word(spoken, ["F", "AO1", "R"])
    assert [s for *_, s in merged] == ["F", "AO1", "R"]
    np.testing.assert_allclose([s[:2] for s in merged], [(0, 0.1), (0.1, 0.2), (0.2, 0.3)])
    extra = phoneme_times.align_word(
        [(0, 0.1, "AE1"), (0.1, 0.2, "T"), (0.2, 0.3, "HH")], ["AE1", "T"]
    )
    assert extra == [(0, 0.1, "AE1"), (0.1, 0.3, "T")]


def test_align_refuses_a_first_word_without_sound():
    with pytest.raises(ValueError, match="word 0"):
        phoneme_times.align_words([], [("S", "EH1", "T")])


def test_words_that_espeak_says_as_one_share_its_sounds():
    words = ["the", "end", "of", "the", "road"]
    phones = espeak.speak(words, "en-us").phones
    assert {phone.word for phone in phones} == {0, 1, 2, 4}  # "of the" is one
    pronunciations = phonemes.pronounce(words)
    sounds = phoneme_times.align_words(phones, pronunciations)
    assert [symbol for *_, symbol in sounds] == list(itertools.chain(*pronunciations))
    assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(sounds))
