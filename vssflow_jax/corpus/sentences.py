"""What is said in MiniAV: sentences of the GRID grammar, open English, or the lines of a file.

No sentence is in two splits, whatever the seeds. Source of the grammar: Cooke, Barker, Cunningham
and Shao 2006, An audio-visual corpus for speech perception.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from vssflow_jax.common import tables
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import find_existing
from vssflow_jax.corpus import english
from vssflow_jax.text import normalize

SETS = GRID, OPEN = "grid", "open"
GRAMMAR = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)
HELD_OUT = {"test": 4000, "valid": 1000}  # sentences of the grammar that no other split says
SHARES = {"test": 0.04, "valid": 0.02}  # of open sentences and of a file's lines
TEST_FILE = pathlib.Path(__file__).parent / "test_sentences.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentences:
    """A set of sentences.

    Attributes:
      draw: split and randomness to a sentence.
      redraws: how often another one may be drawn for one that is too long for its clip.
    """

    draw: Callable[[str, np.random.Generator], str]
    redraws: int


def load_sentences(name: str) -> Sentences:
    """The sentences that a flag names: `grid`, `open`, or a text file with one a line.

    Raises:
      InputError: a file that cannot be read, has too few lines, or lines without words.
    """
    if name == GRID:
        return Sentences(draw=draw_grid, redraws=0)
    if name == OPEN:
        return Sentences(draw=draw_open, redraws=20)
    return Sentences(draw=_FileLines(name).draw, redraws=20)


# ---- GRID ---------------------------------------------------------------------------------


@functools.cache
def _shuffle_grid() -> np.ndarray:
    """All sentences of the grammar by number, in one fixed random order."""
    count = int(np.prod([len(slot) for slot in GRAMMAR]))
    return np.random.default_rng(0).permutation(count)


def draw_grid(split: str, rng: np.random.Generator) -> str:
    """A random sentence of the GRID grammar."""
    order, test, valid = _shuffle_grid(), HELD_OUT["test"], HELD_OUT["valid"]
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
    return " ".join(words[::-1])


# ---- open English -------------------------------------------------------------------------


@functools.cache
def list_test_sentences() -> tuple[str, ...]:
    """The fixed test set of open English: written by hand, never drawn."""
    return tuple(TEST_FILE.read_text(encoding="utf-8").splitlines())


def _make_key(text: str) -> str:
    """What makes two sentences the same: their words."""
    return " ".join(normalize.words(text))


@functools.cache
def _test_keys() -> frozenset[str]:
    return frozenset(map(_make_key, list_test_sentences()))


def _hash_key(key: str) -> float:
    """A number in [0, 1) that a sentence's words decide."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def assign_split(key: str) -> str:
    """The split that says an open sentence, by the key of its words."""
    place = _hash_key(key)
    if place < SHARES["test"]:
        return "test"
    return "valid" if place < SHARES["test"] + SHARES["valid"] else "train"


def draw_open(split: str, rng: np.random.Generator) -> str:
    """A random sentence of `english`, none of the fixed test set."""
    while True:
        text = english.draw_sentence(rng)
        key = _make_key(text)
        if assign_split(key) == split and key not in _test_keys():
            return text


# ---- files --------------------------------------------------------------------------------


class _FileLines:
    """The different lines of a text file, shared out to the splits by their hash."""

    def __init__(self, path: str):
        lines = {_make_key(line): line for line in read_lines(path, SETS)}
        ordered = [lines[key] for key in sorted(lines, key=_hash_key)]
        if len(ordered) < 3:
            raise InputError(
                f"--sentences={path}: found {len(ordered)} different sentences, expected at "
                "least 3, one for each split"
            )
        test, valid = (max(1, round(SHARES[split] * len(ordered))) for split in ("test", "valid"))
        self.by_split = {
            "test": ordered[:test],
            "valid": ordered[test : test + valid],
            "train": ordered[test + valid :],
        }

    def draw(self, split: str, rng: np.random.Generator) -> str:
        """A random line of a split."""
        lines = self.by_split[split]
        return lines[rng.integers(len(lines))]


def read_lines(path: str, sets: Sequence[str]) -> list[str]:
    """The lines of a text file that are not empty.

    Args:
      path: of the file; ~ is the home folder.
      sets: names that the flag could have in place of a file, for messages.

    Raises:
      InputError: a file that cannot be read, or a line without words.
    """
    expected = f"{', '.join(sets)} or a text file with a sentence a line"
    try:
        text = tables.read_text(find_existing(os.path.expanduser(path)), expected)
    except InputError as error:
        raise InputError(f"--sentences: {error}") from None
    lines = [line.strip() for line in tables.split_lines(text) if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            normalize.words(line)
        except InputError as error:
            reason = str(error).removesuffix(normalize.SKIP_HINT)
            raise InputError(f"--sentences={path}: sentence {number}: {reason}") from None
    return lines
