"""What the benchmark of edits replaces, and how it counts word errors."""

import numpy as np
import pytest

from benchmarks.editing import REPLACEMENTS, count_errors, make_replacement


def test_replacements_change_the_words_between_two_parts():
    for before, old, new, behind in REPLACEMENTS:
        item = make_replacement(before, old, new, behind)
        assert " ".join(item.sentence.split()[item.first : item.last + 1]) == old
        assert item.text == f"{before} {new} {behind}"
        assert [len(part) for part in item.parts] == [len(x.split()) for x in (before, new, behind)]


@pytest.mark.parametrize(
    ("transcript", "errors"),
    [
        ("She poured hot milk.", [0, 0]),
        ("She poured hot silk", [0, 1]),
        ("She pours a hot milk", [2, 0]),
        ("", [2, 2]),
    ],
)
def test_word_errors_are_counted_where_they_are(transcript, errors):
    parts = [["she"], ["poured", "hot"], ["milk"]]
    np.testing.assert_array_equal(count_errors(parts, transcript), errors)
