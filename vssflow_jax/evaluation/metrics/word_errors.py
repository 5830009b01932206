"""Word errors of a transcript against the text: normalization, counting, homophones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jiwer

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics.spelling import unify_spelling
from vssflow_jax.text import normalize
from vssflow_jax.text.phonemes import list_pronunciations

NORMALIZATION = (
    "both sides: lower case; numbers, signs and abbreviations spelled out in English; accents and "
    "punctuation taken off, letters and apostrophes kept; contractions written out; American "
    "spelling"
)


class WordErrors(NamedTuple):
    """Errors of a transcript, those with homophones as equals, and words of the reference."""

    errors: int
    errors_homophones_equal: int
    words: int


def normalize_words(text: str) -> list[str]:
    """Normalized words of a text or transcript; may be empty."""
    try:
        words = normalize.words(text, normalize.SKIP)
    except InputError:  # no words
        return []
    return unify_spelling(word.rstrip(".") for word in words)  # "a." is the letter


def count_word_errors(reference: str, transcript: str) -> WordErrors:
    """Substitutions, deletions and insertions, and the words of the reference.

    Both sides are normalized alike. An empty transcript counts as the deletion of every word.
    Raises ValueError for a reference without words.
    """
    words, transcribed = normalize_words(reference), normalize_words(transcript)
    if not words:
        raise ValueError(f"reference {reference!r} has no words")
    counts = jiwer.process_words(" ".join(words), " ".join(transcribed))
    return WordErrors(
        errors=counts.substitutions + counts.deletions + counts.insertions,
        errors_homophones_equal=_edit_distance(words, transcribed),
        words=len(words),
    )


def are_homophones(word: str, other: str) -> bool:
    """Whether two words are the same, or share one of their pronunciations in CMUdict."""
    return word == other or bool(list_pronunciations(word) & list_pronunciations(other))


def _edit_distance(words: Sequence[str], transcribed: Sequence[str]) -> int:
    """Levenshtein distance with homophones as equals, which no package offers."""
    costs = list(range(len(transcribed) + 1))
    for row, word in enumerate(words, 1):
        diagonal, costs[0] = costs[0], row
        for column, other in enumerate(transcribed, 1):
            substitution = diagonal + (not are_homophones(word, other))
            diagonal = costs[column]
            costs[column] = min(substitution, diagonal + 1, costs[column - 1] + 1)
    return costs[-1]
