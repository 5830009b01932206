"""Other words in a span of a script whose words have times."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text.word_times import TimedUtterance, TimedWord

# Seconds of a phoneme beyond a border that do not count, so that borders may be rounded times of
# words: half a latent frame, since every phoneme that is left keeps at least one.
TOLERANCE = 0.5 / LATENT_RATE


def replace_words(
    utterances: Sequence[TimedUtterance], start: float, end: float, replacement: TimedUtterance
) -> list[TimedUtterance]:
    """The words before a span, the replacement, and the words behind it.

    What a word has within the span is left out, and what is left of a phoneme if that is less than
    TOLERANCE. An utterance that reaches into the span is the words that are left of it.
    """
    before = [part for line in utterances for part in _crop_utterance(line, 0.0, start)]
    after = [part for line in utterances for part in _crop_utterance(line, end, math.inf)]
    return [*before, replacement, *after]


def list_cut_words(
    utterances: Sequence[TimedUtterance], start: float, end: float
) -> list[TimedWord]:
    """The words that the start or the end of a span is within."""
    return [
        word
        for line in utterances
        for word in line.words
        if any(word.start + TOLERANCE < x < word.end - TOLERANCE for x in (start, end))
    ]


def list_neighbors(
    utterances: Sequence[TimedUtterance], start: float, end: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Phonemes before and behind a span in the utterances that it begins and ends within."""
    before = [part for line in utterances for part in _crop_utterance(line, 0.0, start)
              if line.end > start + TOLERANCE]  # fmt: skip
    behind = [part for line in utterances for part in _crop_utterance(line, end, math.inf)
              if line.start < end - TOLERANCE]  # fmt: skip
    return _list_symbols(before), _list_symbols(behind)


def _list_symbols(utterances: Sequence[TimedUtterance]) -> tuple[str, ...]:
    """The phonemes of utterances."""
    return tuple(x.symbol for line in utterances for word in line.words for x in word.phonemes)


def _crop_utterance(line: TimedUtterance, start: float, end: float) -> Iterator[TimedUtterance]:
    """The part of an utterance that is said between two times, if any."""
    words = tuple(word for old in line.words for word in _crop_word(old, start, end))
    if words == line.words:
        yield line
    elif words:
        text = " ".join(word.text for word in words)
        yield dataclasses.replace(line, text=text, words=words)


def _crop_word(word: TimedWord, start: float, end: float) -> Iterator[TimedWord]:
    """The part of a word that is said between two times, if any."""
    phonemes = tuple(
        phoneme._replace(start=max(phoneme.start, start), end=min(phoneme.end, end))
        for phoneme in word.phonemes
        if min(phoneme.end, end) - max(phoneme.start, start)
        >= min(TOLERANCE, phoneme.end - phoneme.start)
    )
    if phonemes:
        yield TimedWord(phonemes[0].start, phonemes[-1].end, word.text, phonemes)
