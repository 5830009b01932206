"""The phonemes of hibari and Kokoro (misaki's alphabet), their ARPAbet and their times.

hibari's rules turn words into phonemes in their context: weak forms, parts of speech, stress.
A phoneme is one character; `ɜɹ` and `əɹ` within a word are one phoneme, ER. Networks take the
characters as tokens and give a number of frames for each.
"""

# ruff: noqa: RUF001

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vssflow_jax.corpus import phoneme_times
from vssflow_jax.text import phonemes

_VOWELS = {
    "A": "EY", "I": "AY", "O": "OW", "Q": "OW", "W": "AW", "Y": "OY", "æ": "AE", "a": "AE",
    "ɑ": "AA", "ɒ": "AO", "ɔ": "AO", "ə": "AH", "ɐ": "AH", "ʌ": "AH", "ᵊ": "AH", "ɛ": "EH",
    "e": "EH", "ɜ": "ER", "ɚ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "u": "UW", "ʊ": "UH",
}  # fmt: skip
_CONSONANTS = {
    "T": "T", "ɾ": "T", "ʔ": "T", "ʤ": "JH", "ʧ": "CH", "ɡ": "G", "ŋ": "NG", "ɹ": "R", "ʃ": "SH",
    "ʒ": "ZH", "ð": "DH", "θ": "TH", "j": "Y", "h": "HH", "x": "K",
    **{c: c.upper() for c in "bdfklmnpstvwz"},
}  # fmt: skip
_STRESS = {"ˈ": "1", "ˌ": "2"}
_LENGTH = "ː"
_PUNCTUATION = frozenset(';:,.!?—…"“”()')
_SPELLINGS = {
    "AA": "ɑ", "AE": "æ", "AO": "ɔ", "AW": "W", "AY": "I", "CH": "ʧ", "DH": "ð", "EH": "ɛ",
    "EY": "A", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "NG": "ŋ", "OW": "O",
    "OY": "Y", "R": "ɹ", "SH": "ʃ", "TH": "θ", "UH": "ʊ", "UW": "u", "Y": "j", "ZH": "ʒ",
}  # fmt: skip
_MARKS = {"1": "ˈ", "2": "ˌ"}
END = "."  # what a sentence ends with, so that its melody falls

WORDS_OF_ONE_LETTER = ("a", "i", "o")
# The sound of a token comes this many frames before its place in the sum of frames, in Kokoro and
# in hibari, which learned from it: measured on fricatives (zero crossings), vowels and stops
# (energy), 5 to 6 hundredths of a second in all of them.
LAG = 2


class Phone(NamedTuple):
    """An ARPAbet symbol and the characters of a phoneme string that it takes: first and end."""

    symbol: str
    first: int
    end: int


# ---- symbols ------------------------------------------------------------------------------


def parse_phones(string: str) -> list[Phone]:
    """The ARPAbet symbols of a word's phoneme string, in order.

    A mark of stress belongs to the vowel behind it, a mark of length to the symbol before it.
    """
    phones: list[Phone] = []
    stress, first = "0", None
    for place, character in enumerate(string):
        if character in _STRESS:
            stress, first = _STRESS[character], place
            continue
        begin, end = place if first is None else first, place + 1
        if character == _LENGTH and phones:
            phones[-1] = phones[-1]._replace(end=end)
        elif character == "ɹ" and place and string[place - 1] in "ɜə":
            phones[-1] = Phone("ER" + phones[-1].symbol[-1], phones[-1].first, end)
        elif character in _VOWELS:
            phones.append(Phone(_VOWELS[character] + stress, begin, end))
        elif character in _CONSONANTS:
            phones.append(Phone(_CONSONANTS[character], begin, end))
        stress, first = "0", None
    return phones


def spell_arpabet(symbols: Sequence[str]) -> str:
    """The phoneme string of a word. Example: spell_arpabet(["S", "EH1", "T"]) == "sˈɛt"."""
    return "".join(map(_spell_symbol, symbols))


def _spell_symbol(symbol: str) -> str:
    bare, mark = symbol.rstrip("012"), _MARKS.get(symbol[-1], "")
    if bare == "AH":
        return mark + ("ʌ" if mark else "ə")
    if bare == "ER":
        return mark + ("ɜɹ" if mark else "əɹ")
    return mark + _SPELLINGS.get(bare, bare.lower())


# ---- words --------------------------------------------------------------------------------


@functools.cache
def _load_rules():
    from hibari.g2p import G2P

    return G2P()


def phonemize(words: Sequence[str]) -> list[str]:
    """The phoneme string of each word of a sentence, words as `text.normalize` gives them.

    Letters, and what the rules cannot say, are pronounced as CMUdict or eSpeak has them.
    """
    known = [spell_arpabet(_pronounce(word)) if _is_letter(word) else None for word in words]
    strings = _apply_rules(words, known)
    return [
        string or spell_arpabet(_pronounce(word))
        for word, string in zip(words, strings, strict=True)
    ]


def _is_letter(word: str) -> bool:
    return word.endswith(".") or (len(word) == 1 and word not in WORDS_OF_ONE_LETTER)


def _pronounce(word: str) -> tuple[str, ...]:
    return phonemes.pronounce([word])[0]


def _apply_rules(words: Sequence[str], known: Sequence[str | None]) -> list[str]:
    rules = _load_rules()
    text = " ".join(
        _capitalize_pronoun(word) if string is None else f"[{word.strip('.')}](/{string}/)"
        for word, string in zip(words, known, strict=True)
    )
    strings = [""]
    for token in rules.phonemize_tokens(rules.tokenize(text + END)):
        strings[-1] += "".join(c for c in token.phonemes or "" if c not in _PUNCTUATION)
        if token.whitespace:
            strings.append("")
    if len(strings) != len(words):
        raise ValueError(f"{text!r}: found {len(strings)} words, expected {len(words)}")
    return strings


def _capitalize_pronoun(word: str) -> str:
    """The rules know the pronoun I by its capital."""
    return word.capitalize() if word == "i" or word.startswith("i'") else word


# ---- times --------------------------------------------------------------------------------


def join_words(strings: Sequence[str]) -> str:
    """The phoneme string of a sentence."""
    return " ".join(strings) + END


@functools.cache
def _load_numbers() -> dict[str, int]:
    from hibari import tts

    path = pathlib.Path(tts.ASSETS) / "vocab.json"
    return json.loads(path.read_text(encoding="utf-8"))


def encode_tokens(string: str) -> np.ndarray:
    """Numbers of a phoneme string's characters, 0 at both ends: int64 [n + 2]."""
    numbers = _load_numbers()
    return np.array([0, *(numbers[character] for character in string), 0], np.int64)


def place_sounds(
    strings: Sequence[str],
    words: Sequence[str],
    frames: np.ndarray,
    frame_seconds: float,
) -> list[phoneme_times.Sound]:
    """The sounds of a sentence with their times.

    Each word has the symbols of the text front end, as training and sampling have them, where
    they agree with what is said; where they do not (the verb "close", say), what is said.

    Args:
      strings: phonemes of the words; the tokens are those of `join_words`, with one more at
        either end.
      words: their spellings.
      frames: of each token.
      frame_seconds: length of a frame.

    Raises:
      ValueError: the tokens are not those of the sentence.
    """
    count = len(join_words(strings)) + 2
    if len(frames) != count:
        raise ValueError(f"found frames of {len(frames)} tokens, expected {count}")
    ends = np.maximum(np.cumsum(frames) - LAG, 0) * frame_seconds
    sounds, place = [], 0
    for string, expected in zip(strings, phonemes.pronounce(words), strict=True):
        spoken = [
            (float(ends[place + p.first]), float(ends[place + p.end]), p.symbol)
            for p in parse_phones(string)
        ]
        agree = phoneme_times.agree([symbol for *_, symbol in spoken], expected)
        sounds += phoneme_times.align_word(spoken, expected) if agree else spoken
        place += len(string) + 1
    return phoneme_times.close_breaks(sounds)
