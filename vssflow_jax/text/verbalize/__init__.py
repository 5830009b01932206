"""English as it is written to the words that a reader says.

A table of rules, one a kind of text (`RULES`). From left to right, the first rule that matches at
a place reads what it matches, and the scan goes on behind it; what no rule reads is punctuation.
So no rule sees another's words, and each costs a constant time a place. Ambiguous text is read as
in American English; a rule looks at the neighboring words at most.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from vssflow_jax.text.verbalize import (
    abbreviations,
    dates,
    money,
    numbers,
    roman,
    signs,
    units,
    web,
    words,
)
from vssflow_jax.text.verbalize.abbreviations import LETTER_A
from vssflow_jax.text.verbalize.rule import Rule

__all__ = ("LETTER_A", "RULES", "Omission", "verbalize")

RULES: tuple[Rule, ...] = (
    *signs.EARLY_RULES,
    *web.RULES,
    *numbers.RULES,
    *dates.RULES,
    *numbers.SEQUENCES,
    *money.RULES,
    *units.RULES,
    *numbers.LATE_RULES,
    *abbreviations.RULES,
    *roman.RULES,
    *words.RULES,
    *signs.RULES,
)


class Omission(NamedTuple):
    """What is left out: its kind and its text."""

    kind: str
    text: str


_ANY = re.compile("|".join(f"(?P<rule{n}>{rule.pattern})" for n, rule in enumerate(RULES)))


def verbalize(text: str) -> tuple[str, list[Omission]]:
    """The words of a text, between blanks and punctuation, and what it leaves out."""
    pieces, omissions, position = [], [], 0
    while first := _ANY.search(text, position):
        pieces.append(text[position : first.start()])
        position, words_read, omission = _read_place(text, first)
        pieces.append(f" {words_read} ")
        omissions += omission
    return "".join([*pieces, text[position:]]), omissions


@functools.cache
def _compile_pattern(number: int) -> re.Pattern:
    """A rule's pattern, when first needed: most texts need few of them."""
    return re.compile(RULES[number].pattern)


def _read_place(text: str, first: re.Match) -> tuple[int, str, list[Omission]]:
    """Where the reading of a place ends, its words, and what is left out there."""
    start = first.start()
    for number in range(int(first.lastgroup.removeprefix("rule")), len(RULES)):
        rule, match = RULES[number], _compile_pattern(number).match(text, start)
        if match is None:
            continue
        if rule.read is None:
            return match.end(), "", [Omission(rule.kind, match[0])]
        reading = rule.read(match)
        if reading is not None:
            return match.end(), reading, []
    return start + 1, text[start], []
