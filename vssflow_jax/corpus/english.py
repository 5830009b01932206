"""Random English sentences, by rules and a lexicon.

`english_lexicon.txt` lists words by class, `english_grammar.txt` rules; both say how they are
written.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from vssflow_jax.text import phonemes

FOLDER = pathlib.Path(__file__).parent
START = "sentence"
VOWELS = "aeiou"

_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
_ARTICLE = re.compile(r"\b([Aa]) ([\w']+)")


@functools.cache
def load_lexicon() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Words by class, each with the irregular forms that the lexicon lists for it."""
    text = (FOLDER / "english_lexicon.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    classes = {}
    for section in "\n".join(lines).split("[")[1:]:
        name, _, words = section.partition("]")
        classes[name] = tuple(tuple(word.split("/")) for word in words.split())
    return classes


@functools.cache
def load_rules() -> dict[str, tuple[str, ...]]:
    """Alternatives of each rule; one of weight n stands in it n times."""
    alternatives: dict[str, list[str]] = {}
    for line in (FOLDER / "english_grammar.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, text = line.partition(" = ")
        weight, star, rest = text.partition("*")
        repeated = [rest] * int(weight) if star else [text]
        alternatives.setdefault(name, []).extend(repeated)
    return {name: tuple(texts) for name, texts in alternatives.items()}


# ---- forms of words -----------------------------------------------------------------------


@functools.cache
def list_forms(name: str, form: str | None) -> tuple[str, ...]:
    """The words of a class in a form, those of them that CMUdict has.

    Args:
      name: of the class.
      form: None for the base; `s` plural; `past`, `part`, `ing` of verbs.
    """
    words = (inflect(entry, form) for entry in load_lexicon()[name])
    return tuple(word for word in words if word.lower() in phonemes.load_dictionary())


def inflect(entry: Sequence[str], form: str | None) -> str:
    """A form of a lexicon entry; `form` as in `list_forms`."""
    base, *listed = entry
    if form is None:
        return base
    if form == "ing":
        return _add_suffix(base[:-2] + "y" if base.endswith("ie") else base, "ing")
    if listed:
        return listed[-1] if form == "part" else listed[0]
    return _pluralize(base) if form == "s" else _add_suffix(base, "ed")


def _add_suffix(verb: str, suffix: str) -> str:
    """A verb with -ed or -ing, its last letter doubled, dropped or changed as spelling has it."""
    if verb.endswith(("ee", "oe", "ye")):
        return verb + (suffix if suffix == "ing" else "d")
    if verb.endswith("e"):
        return verb[:-1] + suffix
    if verb.endswith("y") and verb[-2] not in VOWELS and suffix == "ed":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles_last_letter(verb) else "") + suffix


def _doubles_last_letter(verb: str) -> bool:
    """Whether a verb ends in a short stressed syllable, as "stop" and "prefer" do."""
    if not re.search(r"([^aeiou]|qu)[aeiou][^aeiouwxy]$", verb):
        return False
    symbols = phonemes.load_dictionary().get(verb, "").split()
    vowels = [symbol for symbol in symbols if symbol[-1].isdigit()]
    return bool(vowels) and vowels[-1].endswith("1")


def _pluralize(noun: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


# ---- sentences ----------------------------------------------------------------------------


def expand_text(text: str, rng: np.random.Generator) -> str:
    """A text with every slot filled, by drawing among rules and words."""

    def fill(slot: re.Match) -> str:
        name, form = slot[1], slot[2]
        choices = load_rules().get(name) or list_forms(name, form)
        return expand_text(choices[rng.integers(len(choices))], rng)

    return _SLOT.sub(fill, text)


def draw_sentence(rng: np.random.Generator) -> str:
    """A random sentence, from a capital to a full stop or a question mark."""
    text = _ARTICLE.sub(_add_n, expand_text("{" + START + "}", rng))
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")


def _add_n(match: re.Match) -> str:
    article, word = match[1], match[2]
    vowel = phonemes.load_dictionary()[word.lower()].split()[0][-1].isdigit()
    return f"{article}{'n' if vowel else ''} {word}"


@functools.cache
def list_vocabulary() -> frozenset[str]:
    """Every word, in every form, that sentences may have; lower case."""
    texts = [text for alternatives in load_rules().values() for text in alternatives]
    words = {word for text in texts for word in re.findall(r"[\w']+", _SLOT.sub(" ", text))}
    for slot in {(slot[1], slot[2]) for text in texts for slot in _SLOT.finditer(text)}:
        if slot[0] in load_lexicon():
            words.update(list_forms(*slot))
    return frozenset(word.lower() for word in words | {"an"})
