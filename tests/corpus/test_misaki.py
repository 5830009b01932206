"""misaki's alphabet, its ARPAbet and the times of tokens."""

# ruff: noqa: RUF001

import numpy as np
import pytest

from vssflow_jax.corpus import misaki, phoneme_times
from vssflow_jax.text import phonemes


def symbols(string: str) -> list[str]:
    return [phone.symbol for phone in misaki.parse_phones(string)]


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("mˈɔɹnɪŋ", "M AO1 R N IH0 NG"),
        ("fˈIəɹ", "F AY1 ER0"),
        ("bˈɜɹd", "B ER1 D"),
        ("əɹˈWnd", "ER0 AW1 N D"),
        ("ʤˈʌʤmᵊnt", "JH AH1 JH M AH0 N T"),
        ("wˈɔːTəɹ", "W AO1 T ER0"),
        ("ˌʌndəɹstˈænd", "AH2 N D ER0 S T AE1 N D"),
    ],
)
def test_phoneme_strings_are_arpabet(string, expected):
    assert symbols(string) == expected.split()


def test_every_phoneme_can_be_spelled_and_read_back():
    for symbol in phonemes.SYMBOLS:
        if symbol not in ("sil", "<blank>"):
            bare = symbol.rstrip("012")
            assert symbols(misaki.spell_arpabet([symbol])) == [symbol], bare


def test_phones_cover_their_string_with_marks_of_stress_and_length():
    string = "ˌʌndəɹstˈæːnd"
    phones = misaki.parse_phones(string)
    assert "".join(string[phone.first : phone.end] for phone in phones) == string


def test_rules_know_context_letters_and_new_words():
    pytest.importorskip("hibari")
    assert misaki.phonemize(["i", "read", "the", "apple"])[2] == "ði"  # before a vowel
    letters = misaki.phonemize(["bin", "blue", "at", "a.", "nine"])
    assert letters[3] == "ˈA" and len(letters) == 5
    assert all(misaki.phonemize(["vssflow", "don't", "kubernetes", "i'm"]))


def test_times_follow_the_tokens_and_what_differs_is_labeled_as_it_is_said():
    strings = ["klˈOz", "ðə", "dˈɔɹ"]  # the verb; CMUdict has the adjective
    frames = np.ones(len(misaki.join_words(strings)) + 2)
    frames[0] = 1 + misaki.LAG  # silence
    sounds = misaki.place_sounds(strings, ["close", "the", "door"], frames, 0.1)
    assert [symbol for *_, symbol in sounds] == ["K", "L", "OW1", "Z", "DH", "AH0", "D", "AO1", "R"]
    assert sounds[0][:2] == pytest.approx((0.1, 0.2))
    assert sounds[2][:2] == pytest.approx((0.3, 0.5))  # stress mark and vowel
    assert sounds[3][:2] == pytest.approx((0.5, 0.6))  # a space of 0.1 s is a pause
    with pytest.raises(ValueError, match="tokens"):
        misaki.place_sounds(strings, ["close", "the", "door"], frames[1:], 0.1)


@pytest.mark.parametrize(
    ("spoken", "expected", "same"),
    [
        ("T AH0", "T UW1", True),
        ("AE0 N D", "AH0 N D", True),
        ("S EH1 V ER0 AH0 L", "S EH1 V R AH0 L", False),
        ("D AO1 G", "D AA1 G", True),
        ("W IH1 N D", "W AY1 N D", False),
        ("K L OW1 Z", "K L OW1 S", False),
        ("B AH1 T N", "B AH1 T AH0 N", True),
    ],
)
def test_words_agree_up_to_weak_and_merged_vowels(spoken, expected, same):
    assert phoneme_times.agree(spoken.split(), expected.split()) == same
