"""Words to ARPAbet: the inventory, the dictionary, and words outside of it."""

import numpy as np

from vssflow_jax.text import phonemes


def test_the_inventory_is_that_of_the_published_weights():
    assert len(phonemes.SYMBOLS) == len(set(phonemes.SYMBOLS)) == 71
    assert phonemes.SYMBOLS[phonemes.BLANK] == "<blank>"
    expected = {1: "AA0", 2: "DH", 34: "T", 47: "S", 58: "L", 60: "ER1", 70: "AE2"}
    assert {number: phonemes.SYMBOLS[number] for number in expected} == expected


def test_a_pronunciation_is_the_first_of_the_dictionary():
    assert phonemes.pronounce(["set", "blue", "a"]) == [
        ("S", "EH1", "T"),
        ("B", "L", "UW1"),
        ("AH0",),
    ]


def test_unknown_words_are_pronounced_by_rule():
    assert "blorpish" not in phonemes.load_dictionary()
    (symbols,) = phonemes.pronounce(["blorpish"])
    assert symbols[:2] == ("B", "L") and symbols[-1] == "SH"
    assert phonemes.symbols_to_ids(symbols).dtype == np.int32


def test_the_end_of_a_very_long_word_is_spoken():
    (once,), (thrice,) = phonemes.pronounce(["mi" * 100]), phonemes.pronounce(["mi" * 300])
    assert len(thrice) == 3 * len(once) == 600


def test_numerals_that_stand_alone_are_spelled():
    assert phonemes.pronounce(["iv"]) == [("AY1", "V", "IY1")]


def test_the_inventory_covers_the_dictionary():
    used = {symbol for entry in phonemes.load_dictionary().values() for symbol in entry.split()}
    assert used <= set(phonemes.SYMBOLS)
