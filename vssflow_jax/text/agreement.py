"""Whether an alignment says the words of a text, whatever the accent."""

from __future__ import annotations

import collections
import difflib
from collections.abc import Sequence

from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval

MIN_PHONEMES = 3  # of a word that counts as replaced: shorter ones may be pronounced otherwise
MIN_AGREEMENT = 0.5  # share of the phonemes of both that are the same, in order
MIN_EXTRA = 3  # phonemes in a row that no word has, to count as words
MAX_LISTED = 4  # words that a line names


def find_mismatch(words: Sequence[str], intervals: Sequence[Interval]) -> str:
    """What differs between a text and its alignment, in words; empty if they agree.

    A word is missing if less than half of its phonemes are in the alignment, in order. Speakers
    pronounce words in other ways than the dictionary, so that some differences do not count.

    Args:
      words: as `text.normalize` gives them.
      intervals: the alignment.
    """
    pronounced = phonemes.pronounce(words)
    owners = [number for number, word in enumerate(pronounced) for _ in word]
    expected = [symbol.rstrip("012") for word in pronounced for symbol in word]
    actual = [interval.symbol.rstrip("012") for interval in intervals]
    if expected == actual:
        return ""
    matches, replaced, extra = collections.Counter(), set(), 0
    matcher = difflib.SequenceMatcher(None, expected, actual, autojunk=False)
    if matcher.ratio() < MIN_AGREEMENT:
        return "says other words than the text"
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            matches.update(owners[first:last])
        elif kind == "replace":
            replaced.update(owners[first:last])
        if end - begin - (last - first) >= MIN_EXTRA:
            extra += end - begin - (last - first)
    missing = [
        word
        for number, word in enumerate(words)
        if 2 * matches[number] < len(pronounced[number])
        and (number not in replaced or len(pronounced[number]) >= MIN_PHONEMES)
    ]
    parts = []
    if missing:
        more = f" and {len(missing) - MAX_LISTED} more" if len(missing) > MAX_LISTED else ""
        parts.append(f"lacks {', '.join(map(repr, missing[:MAX_LISTED]))}{more} of the text")
    if extra:
        parts.append(f"has {extra} phonemes more than the text")
    return " and ".join(parts)
