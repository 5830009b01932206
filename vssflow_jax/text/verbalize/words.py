"""Words as they are written: capitals, camel case, formulas, letters that are drawn out."""

from __future__ import annotations

import functools
import itertools
import re

from num2words import num2words

from vssflow_jax.text.phonemes import load_dictionary
from vssflow_jax.text.verbalize.abbreviations import INITIALISMS, spell_letters
from vssflow_jax.text.verbalize.numbers import spell_cardinal
from vssflow_jax.text.verbalize.roman import UNMISTAKABLE, parse_roman
from vssflow_jax.text.verbalize.rule import Rule, one_of, replace_by
from vssflow_jax.text.verbalize.units import ABBREVIATIONS, UNITS, pluralize

NAMES = {"JAX": "jax", "iOS": "i o s"}  # that the general rules read wrongly
SHORT = {  # in capitals or not, and with or without a period
    "vs": "versus", "etc": "et cetera", "aka": "also known as",
    "approx": "approximately", "pts": "points",
    **{symbol: pluralize(UNITS[symbol]) for symbol in ABBREVIATIONS},
    **{numeral: num2words(parse_roman(numeral.upper())) for numeral in UNMISTAKABLE},
}  # fmt: skip
# What is meant by a word with letters drawn out, where the doubled letter is a word too
DRAWN_OUT = frozenset((
    "ah", "bad", "be", "best", "but", "do", "go", "got", "had", "has", "he", "her", "him",
    "his", "hot", "how", "is", "it", "just", "let", "lot", "man", "me", "met", "my", "no",
    "not", "now", "oh", "on", "or", "out", "ran", "run", "sad", "sat", "set", "she", "so",
    "sun", "that", "the", "this", "up", "us", "was", "we", "what", "why", "yes", "yet", "you",
))  # fmt: skip
MAX_RUNS = 6  # letters that are drawn out in one word, each of which may be single or double
ELEMENTS = (
    "Ag", "Al", "Ar", "Au", "B", "Ba", "Be", "Br", "C", "Ca", "Cl", "Co", "Cr", "Cs", "Cu", "F",
    "Fe", "H", "He", "Hg", "I", "K", "Li", "Mg", "Mn", "N", "Na", "Ne", "Ni", "O", "P", "Pb",
    "Pt", "Rb", "S", "Se", "Si", "Sn", "Ti", "U", "V", "W", "Zn",
)  # fmt: skip
_ELEMENT = one_of(ELEMENTS)
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z']+|[A-Z]")
_DRAWN = re.compile(r"([a-z])\1{2,}")
_ONSETS = "[BCFGKPS]L|[BCDFGKPTW]R|[CGPRSTW]H|S[CKMNPTW]|[DT]W|KN|PS"  # pairs that begin words
_UNSPEAKABLE = re.compile(
    rf"^[^AEIOU]*$|^(?=.{{1,5}}$)(?:(?!{_ONSETS})[^AEIOUY]{{2}}|.*(?:[^AEIOUY]{{3}}|[AEIOU]{{3}}|Q[^U]))"
)


@functools.lru_cache(maxsize=4)
def _has_lower_case(text: str) -> bool:
    return any(c.islower() for c in text)


def _read_word(match: re.Match) -> str:
    return read_word(match[0], _has_lower_case(match.string))


def read_word(word: str, is_mixed: bool = True) -> str:
    """A written word as one word or more: NASA, f b i's, mac book, so for "sooo".

    Args:
      word: letters and apostrophes.
      is_mixed: whether the text around it has small letters, so that capitals mean something.
    """
    lower = word.lower()
    is_capital = word.isupper() and len(word) > 1
    if is_capital and is_mixed and word in INITIALISMS:
        return spell_letters(word)
    if word in NAMES or lower in SHORT:
        return NAMES.get(word) or SHORT[lower]
    if lower in load_dictionary() or lower == "www":
        return word
    is_drawn = _DRAWN.search(lower) is not None
    if is_drawn and not (is_capital and is_mixed):
        return read_word(_shorten(lower), is_mixed)
    if plural := re.fullmatch(r"([A-Z]{2,6})'?s", word):  # DVDs, the CEO's
        return f"{read_word(plural[1], is_mixed)}'s"
    if re.fullmatch("[A-Z]{2,4}[a-z]", word):  # IMDb
        return spell_letters(word)
    if is_capital and (_UNSPEAKABLE.search(word) or (is_mixed and len(word) <= 3)):
        return spell_letters(word)
    parts = _CAMEL.findall(word)
    if len(parts) > 1 and all(p.isupper() or p.lower() in load_dictionary() for p in parts):
        return " ".join(read_word(part, is_mixed) for part in parts)
    return read_word(_shorten(lower), is_mixed) if is_drawn else word


def _shorten(word: str) -> str:
    """The word that is meant: each letter that is drawn out once or twice."""
    runs = [match[0] for match in re.finditer(r"(.)\1*", word)]
    choices = [[run] if len(run) < 3 else [run[:2], run[:1]] for run in runs]
    if sum(len(choice) > 1 for choice in choices) > MAX_RUNS:
        return "".join(choice[-1] for choice in choices)
    spellings = ["".join(choice) for choice in itertools.product(*choices)]
    for known in (DRAWN_OUT, load_dictionary()):
        for spelling in spellings:
            if spelling in known:
                return spelling
    return spellings[-1]


def _read_formula(match: re.Match) -> str | None:
    """Letters and numbers of CO2; not of COP26."""
    formula = match[0].partition("^")[0]
    start = re.match("[A-Z]*", formula.upper())[0]
    if len(start) > 2 and start.lower() in load_dictionary():
        return None
    return " ".join(
        spell_cardinal(part) if part.isdigit() else spell_letters(part)
        for part in re.findall(r"[A-Za-z]+|\d+", formula)
    )


RULES = (
    Rule("name", r"(?i:(?<!\w)wi-fi(?!\w))", replace_by("wifi")),
    Rule(
        "initials",
        r"(?<!\w)([A-Z]{1,3})&([A-Z]{1,3})('s)?(?!\w)",
        lambda m: f"{spell_letters(m[1])} and {spell_letters(m[2])}{m[3] or ''}",
    ),
    Rule("plus plus", r"(?<!\w)([A-Za-z])\+\+", lambda m: f"{spell_letters(m[1])} plus plus"),
    Rule(
        "grade",
        r"(?:(?<=\b[Aa] )[BCD]|(?<=\b[Aa]n )[AF])-(?![\w-]| (?:and|or) )",
        lambda m: f"{spell_letters(m[0][0])} minus",
    ),
    Rule("sharp", r"(?<!\w)([A-G])(?:#|\u266f)(?!\w)", lambda m: f"{spell_letters(m[1])} sharp"),
    Rule(
        "ion",
        rf"(?<!\w)((?:{_ELEMENT}\d?){{1,4}})\^(\d?)([+-])(?!\w)",
        lambda m: f"{_read_formula(m)} {spell_cardinal(m[2])} {'plus' if m[3] == '+' else 'minus'}",
    ),
    Rule(
        "formula",
        rf"(?<!\w)(?:{_ELEMENT}\d{{0,3}}){{0,8}}{_ELEMENT}\d{{1,3}}(?:{_ELEMENT}\d{{0,3}}){{0,8}}"
        r"(?![\w'])",
        _read_formula,
    ),
    Rule("word", r"[A-Za-z]+(?:'[A-Za-z]+)*", _read_word),
)
