"""Sentences of the splits, and what open English covers."""

import functools
import itertools
import json
import re
from collections import Counter

import numpy as np
import pytest
from helpers.paths import GOLDEN

from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import english, sentences
from vssflow_jax.text import normalize, phonemes


@functools.cache
def draw(name: str, split: str, count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    drawn = sentences.load_sentences(name)
    return [drawn.draw(split, rng) for _ in range(count)]


@pytest.mark.parametrize(("name", "count"), [("grid", 3000), ("open", 100)])
def test_no_sentence_is_in_two_splits(name, count):
    said = {split: set(draw(name, split, count)) for split in ("train", "valid", "test")}
    for a, b in itertools.combinations(said.values(), 2):
        assert not a & b


def test_grid_sentences_follow_the_grammar():
    for text in draw("grid", "train", 200):
        words = text.split()
        assert all(word in slot for word, slot in zip(words, sentences.GRAMMAR, strict=True))


def test_open_sentences_depend_on_the_seed_alone_and_rarely_repeat():
    first = draw("open", "train", 300, seed=1)
    assert first == draw.__wrapped__("open", "train", 300, seed=1)
    assert len(set(first)) > 294
    assert not set(first) & set(draw("open", "train", 300, seed=2))


def test_open_sentences_are_written_as_sentences_are():
    for text in draw("open", "train", 300):
        assert re.fullmatch(r"[A-Z][A-Za-z', ]+[.?]", text), text
        assert 3 <= len(text.split()) <= 20
        assert not re.search(r"\ba [aeio]", text)
        assert len(normalize.words(text)) == len(text.split())


def test_open_english_has_thousands_of_words_that_can_be_looked_up():
    vocabulary = english.list_vocabulary()
    assert len(vocabulary) > 5000
    assert vocabulary <= phonemes.load_dictionary().keys()
    drawn = Counter(word for text in draw("open", "train", 3000) for word in normalize.words(text))
    assert len(drawn) > 3500


def test_every_rule_and_class_is_used():
    texts = [text for rule in english.load_rules().values() for text in rule]
    used = set(re.findall(r"\{(\w+)", " ".join(texts))) | {english.START}
    assert used == english.load_rules().keys() | english.load_lexicon().keys()


def list_pairs(words) -> set[str]:
    """Pairs of neighboring phonemes without stress in CMUdict's first pronunciations."""
    dictionary, pairs = phonemes.load_dictionary(), set()
    for word in words:
        symbols = re.sub(r"\d", "", dictionary[word]).split()
        pairs.update(map(" ".join, itertools.pairwise(symbols)))
    return pairs


def test_open_english_has_the_phoneme_pairs_of_frequent_words():
    """Of 904 pairs in the 9,717 most frequent words, names and abbreviations have the rest."""
    frequent = set(json.loads((GOLDEN / "frequent_phoneme_pairs.json").read_text()))
    covered = list_pairs(english.list_vocabulary()) & frequent
    assert len(covered) / len(frequent) > 0.96
    drawn = {word for text in draw("open", "train", 3000) for word in normalize.words(text)}
    assert len(list_pairs(drawn) & frequent) / len(frequent) > 0.9


@pytest.mark.parametrize(
    ("verb", "past", "ing"),
    [
        ("stop", "stopped", "stopping"),
        ("visit", "visited", "visiting"),
        ("carry", "carried", "carrying"),
        ("agree", "agreed", "agreeing"),
        ("lie", "lied", "lying"),
        ("prefer", "preferred", "preferring"),
        ("bake", "baked", "baking"),
        ("play", "played", "playing"),
        ("fix", "fixed", "fixing"),
    ],
)
def test_verbs_are_inflected_as_spelling_has_it(verb, past, ing):
    assert english.inflect([verb], "past") == english.inflect([verb], "part") == past
    assert english.inflect([verb], "ing") == ing


def test_irregular_forms_and_plurals():
    assert english.inflect(["take", "took", "taken"], "past") == "took"
    assert english.inflect(["take", "took", "taken"], "part") == "taken"
    plurals = {"city": "cities", "day": "days", "church": "churches", "box": "boxes", "cat": "cats"}
    assert {word: english.inflect([word], "s") for word in plurals} == plurals
    assert english.inflect(["mouse", "mice"], "s") == "mice"


# ---- the fixed test set -------------------------------------------------------------------


def test_the_test_set_is_of_usual_sentences_that_are_never_drawn():
    texts = sentences.list_test_sentences()
    assert len(texts) >= 200 and len(set(texts)) == len(texts)
    for text in texts:
        assert 4 <= len(text.split()) <= 14
        assert re.fullmatch(r"[A-Z][A-Za-z', ]+\.", text), text
    for split in ("train", "valid", "test"):
        assert not set(texts) & set(draw("open", split, 100))


def test_a_drawn_sentence_of_the_test_set_is_drawn_again(monkeypatch):
    known = sentences.list_test_sentences()[0]
    others = iter([known, known.lower(), "A dog slept on the porch.", "The cat sat by the door."])
    monkeypatch.setattr(sentences.english, "draw_sentence", lambda rng: next(others))
    monkeypatch.setattr(sentences, "assign_split", lambda text: "train")
    assert draw("open", "train", 1) == ["A dog slept on the porch."]


# ---- files --------------------------------------------------------------------------------


def test_lines_of_a_file_are_shared_out_to_the_splits(tmp_path):
    lines = [f"the number {k} bus is late" for k in range(40)]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, lines[0], ""]))
    said = {
        split: set(draw(str(tmp_path / "lines.txt"), split, 400))
        for split in ("train", "valid", "test")
    }
    assert set.union(*said.values()) == set(lines)
    assert sum(map(len, said.values())) == len(lines)
    assert {split: len(texts) for split, texts in said.items()} == {
        "train": 37, "valid": 1, "test": 2,
    }  # fmt: skip


def test_files_that_cannot_be_said_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected grid, open or a text file"):
        sentences.load_sentences(str(tmp_path / "absent.txt"))
    (tmp_path / "two.txt").write_text("one line\nanother line\n")
    with pytest.raises(InputError, match="found 2 different sentences"):
        sentences.load_sentences(str(tmp_path / "two.txt"))
    (tmp_path / "signs.txt").write_text("one line\n…\nthird\n")
    with pytest.raises(InputError, match="sentence 2"):
        sentences.load_sentences(str(tmp_path / "signs.txt"))
