"""The sentences of MiniAV: the grammar of the GRID corpus, and which split says which of them.

Source: Cooke, Barker, Cunningham and Shao 2006, An audio-visual corpus for speech perception.
"""

from __future__ import annotations

import functools

import numpy as np

GRAMMAR = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)
LETTER_PLACE = 3  # of the letter in a sentence
HELD_OUT = {"test": 4000, "valid": 1000}  # sentences that no other split says


@functools.cache
def _shuffle_sentences() -> np.ndarray:
    """All sentences by number, in one fixed random order."""
    count = int(np.prod([len(slot) for slot in GRAMMAR]))
    return np.random.default_rng(0).permutation(count)


def draw_sentence(split: str, rng: np.random.Generator) -> list[str]:
    """A random sentence of a split; the splits' sentences are disjoint for every seed."""
    order, test, valid = _shuffle_sentences(), HELD_OUT["test"], HELD_OUT["valid"]
    first, last = {
        "test": (0, test),
        "valid": (test, test + valid),
        "train": (test + valid, len(order)),
    }[split]
    number = int(order[rng.integers(first, last)])
    words = []
    for slot in reversed(GRAMMAR):
        number, choice = divmod(number, len(slot))
        words.append(slot[choice])
    return words[::-1]
