"""Whether an alignment says a text's words."""

import pytest

from vssflow_jax.text import phonemes
from vssflow_jax.text.agreement import find_mismatch
from vssflow_jax.text.alignment import Interval

SENTENCE = "set the blue table at g nine now"


def align(symbols):
    return [Interval(k, k + 1, symbol) for k, symbol in enumerate(symbols)]


def say(text):
    return [symbol for word in phonemes.pronounce(text.split()) for symbol in word]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("set the table at g nine now", "lacks 'blue' of the text"),
        ("set the blue table at g nine", "lacks 'now' of the text"),
        ("place red by k two soon", "says other words than the text"),
        (f"{SENTENCE} please", "has 4 phonemes more than the text"),
        (f"well then {SENTENCE}", "has 6 phonemes more than the text"),
        ("set at g nine now", "lacks 'the', 'blue', 'table' of the text"),
        ("", "says other words than the text"),
    ],
)
def test_other_words_are_named(said, words):
    assert words in find_mismatch(SENTENCE.split(), align(say(said)))


@pytest.mark.parametrize(
    ("dictionary", "spoken"),
    [
        ("S EH1 T", "S EH2 T"),  # stress
        ("DH AH0", "DH IY0"),  # another vowel
        ("B L UW1", "B L Y UW1"),  # one phoneme more
        ("T EY1 B AH0 L", "T EY1 B L"),  # one less
        ("N AW1", "N AE1"),
    ],
)
def test_other_pronunciations_are_the_same_words(dictionary, spoken):
    symbols = " ".join(say(SENTENCE))
    assert dictionary in symbols
    assert not find_mismatch(SENTENCE.split(), align(symbols.replace(dictionary, spoken).split()))
