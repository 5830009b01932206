"""Word errors: what the normalization makes equal, and what it keeps apart."""

import numpy as np
import pytest

from vssflow_jax.corpus.sentences import list_test_sentences
from vssflow_jax.evaluation.metrics import spelling, word_errors
from vssflow_jax.evaluation.metrics.word_errors import count_word_errors

SENTENCE = "set blue at g nine now"


@pytest.mark.parametrize(
    ("transcript", "errors"),
    [
        (SENTENCE, 0),
        ("set red at g nine now", 1),
        ("set red by g two soon", 4),
        ("set blue at g nine", 1),
        ("set blue at g nine now now", 1),
        ("", 6),
    ],
)
def test_substitutions_deletions_and_insertions_count(transcript, errors):
    assert count_word_errors(SENTENCE, transcript) == (errors, errors, 6)


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("Set blue, at G nine: now!", "set blue at g nine now"),
        ("set blue at g nine now", "Set blue at G 9 now."),
        ("She paid twenty five dollars.", "She paid $25."),
        ("The train leaves at three thirty", "The train leaves at 3:30"),
        ("Doctor Smith was first", "Dr. Smith was 1st"),
        ("The grey theatre's colour", "the gray theater's color"),
        ("They travelled to organise the centre", "They traveled to organize the center"),
        ("He analysed the catalogue", "He analyzed the catalog"),
        ("Her neighbour's favourite harbour", "Her neighbor's favorite harbor"),
        ("I do not know; she will not say", "I don't know, she won't say"),
        ("It's late and we're tired", "It is late and we are tired"),
        ("they\u2019ve found the caf\u00e9", "They have found the cafe"),
        ("We cannot go", "we can't go"),
        ("okay", "OK"),
    ],
)
def test_writing_does_not_count(text, transcript):
    for pair in ((text, transcript), (transcript, text)):
        assert count_word_errors(*pair).errors == 0


@pytest.mark.parametrize(
    "pair",
    [
        ("filled", "filed"), ("four", "for"), ("flour", "flower"), ("baker's", "bakers"),
        ("wise", "wize"), ("holly", "holy"), ("polled", "poled"), ("shoes", "shows"),
    ],
)  # fmt: skip
def test_different_words_stay_different(pair):
    assert spelling.americanize(pair[0]) != spelling.americanize(pair[1])


def test_the_possessive_is_no_contraction():
    assert spelling.unify_spelling(["baker's", "it's", "shouldn't've", "let's"]) == [
        "baker's", "it", "is", "should", "not", "have", "let", "us",
    ]  # fmt: skip


def test_the_american_words_of_the_test_sentences_are_left_as_they_are():
    words = {word for text in list_test_sentences() for word in word_errors.normalize_words(text)}
    changed = {word for word in words if spelling.americanize(word) != word}
    assert not changed
    assert len(words) > 500


def test_other_scripts_count_as_nothing():
    assert count_word_errors(SENTENCE, "\u4e00\u4e8c") == (6, 6, 6)


def test_a_reference_without_words_is_an_error():
    with pytest.raises(ValueError, match="no words"):
        count_word_errors(" ?! ", "set")


@pytest.mark.parametrize(
    ("text", "transcript", "errors", "homophones_equal"),
    [
        ("the knight ate a pear", "the night eight a pair", 3, 0),
        ("their house is by the sea", "there house is bye the see", 3, 0),
        ("the knight ate", "the fight ate", 1, 1),
        ("read the letter", "red the letter", 1, 0),
        ("qwrtz", "qwrtx", 1, 1),
    ],
)
def test_homophones_are_equal_in_the_second_count_alone(text, transcript, errors, homophones_equal):
    counts = count_word_errors(text, transcript)
    assert (counts.errors, counts.errors_homophones_equal) == (errors, homophones_equal)


def test_homophones_never_add_errors_and_other_words_count_alike():
    rng = np.random.default_rng(0)
    for _ in range(50):
        text, transcript = (
            " ".join(rng.choice(["sun", "moon", "tree", "stone"], rng.integers(1, 8)))
            for _ in range(2)
        )
        counts = count_word_errors(text, transcript)
        assert counts.errors == counts.errors_homophones_equal
