"""Rules for the values of config fields: what is expected, in words and as a predicate."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """The values that a field may have.

    Attributes:
      expected: the values in words, for messages and the documentation.
      test: whether a value is one of them; it may raise a TypeError for values of other types.
    """

    expected: str
    test: Callable[[Any], bool]

    def holds(self, value: Any) -> bool:
        """Whether a value is allowed."""
        try:
            return bool(self.test(value))
        except TypeError:
            return False


def one_of(*words: str) -> Rule:
    """One of some words."""
    quoted = [f'"{word}"' for word in words]
    return Rule(" or ".join([", ".join(quoted[:-1]), quoted[-1]]), lambda value: value in words)


def at_least(low: float) -> Rule:
    """A finite number of `low` or more."""
    return Rule(f"at least {low}", lambda value: low <= value < math.inf)


def between(low: float, high: float) -> Rule:
    """A number from `low` to `high`."""
    return Rule(f"{low} to {high}", lambda value: low <= value <= high)


def each(rule: Rule) -> Rule:
    """A list whose items obey a rule; it may be empty."""
    return Rule(f"a list, each {rule.expected}", lambda values: all(map(rule.holds, values)))


def some(rule: Rule) -> Rule:
    """A list with at least one item, whose items obey a rule."""
    items = each(rule)
    return Rule(f"{items.expected}, not empty", lambda values: values and items.holds(values))


TIMES = "times that ascend from 0 to 1, such as 0,0.1,0.4,1"


def parse_times(value: str | Sequence[float]) -> tuple[float, ...] | None:
    """The times of a solver's steps, from numbers or from text with commas.

    None unless they ascend from 0 to 1.
    """
    try:
        times = tuple(map(float, value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        return None
    ascend = all(a < b for a, b in itertools.pairwise(times))
    return times if len(times) > 1 and ascend and (times[0], times[-1]) == (0, 1) else None


def one_of_or_times(*words: str) -> Rule:
    """One of some words, or times as text."""
    names = one_of(*words)
    return Rule(
        f"{names.expected}, or {TIMES}",
        lambda value: names.holds(value) or parse_times(value) is not None,
    )


ANY = Rule("", lambda value: True)  # any value of the field's type
FINITE = Rule("a finite number", math.isfinite)
POSITIVE = Rule("more than 0", lambda value: 0 < value < math.inf)
FRACTION = Rule("0 to 1", lambda value: 0 <= value <= 1)
DECAY = Rule("0 to less than 1", lambda value: 0 <= value < 1)
SEED = Rule("0 to 2147483647", lambda value: 0 <= value < 2**31)
DEVICES = Rule("at least 1, or -1", lambda value: value >= 1 or value == -1)
