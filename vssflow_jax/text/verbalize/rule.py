"""A row of the table of readings, and what its patterns are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Rule(NamedTuple):
    """How one kind of text is read.

    Attributes:
      kind: its name in messages.
      pattern: its regular expression. Repetitions are bounded, so that an attempt at one place of
        a text takes a constant time; it has no named groups and no references to groups.
      read: its words, of the pattern's match; None as result: the match is something else after
        all. None instead of a function: it is left out, and the caller is told.
    """

    kind: str
    pattern: str
    read: Callable[[re.Match], str | None] | None


def one_of(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first."""
    return f"(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})"


def replace_by(words: str) -> Callable[[re.Match], str]:
    """A reading that is always the same."""
    return lambda match: words
