"""Roman numerals behind the names of rulers, works and chapters."""

from __future__ import annotations

import re

from num2words import num2words

from vssflow_jax.text.verbalize.numbers import spell_ordinal, spell_year
from vssflow_jax.text.verbalize.rule import Rule

RULERS = frozenset((  # names and offices whose numbers are ordinals
    "Alexander", "Alfonso", "Benedict", "Boniface", "Carl", "Catherine", "Charles", "Christian",
    "Clement", "Constantine", "Cyrus", "Darius", "Edward", "Elizabeth", "Ferdinand", "Francis",
    "Frederick", "Friedrich", "George", "Gregory", "Gustav", "Haakon", "Harald", "Henry",
    "Innocent", "Ivan", "James", "John", "Joseph", "Juan", "Julius", "Leo", "Leopold", "Louis",
    "Ludwig", "Margaret", "Margrethe", "Mary", "Mehmed", "Michael", "Napoleon", "Nicholas",
    "Olaf", "Otto", "Paul", "Pedro", "Peter", "Philip", "Pius", "Ptolemy", "Ramesses",
    "Richard", "Robert", "Rudolf", "Sixtus", "Thomas", "Urban", "Victor", "Wilhelm", "William",
    "King", "Queen", "Pope", "Emperor", "Empress", "Tsar", "Czar", "Kaiser", "Sultan", "Prince",
))  # fmt: skip
NOUNS = (  # counted things; behind them one letter is a numeral too
    "Act", "Apollo", "Appendix", "Article", "Book", "Bowl", "Ch", "Chapter", "Class", "Division",
    "Episode", "Fig", "Figure", "Grade", "Group", "Iphone", "Level", "Mark", "Part", "Phase",
    "Scene", "Sec", "Section", "Stage", "Step", "Table", "Title", "Type", "Unit", "Vol",
    "Volume", "War",
)  # fmt: skip
FUNCTION_WORDS = ("The", "A", "An", "In", "On", "At", "Of", "For", "And", "Or", "Is", "My", "By",
                  "To", "As", "If", "But", "Not", "Size")  # fmt: skip
UNMISTAKABLE = ("ii", "iii", "vii", "viii", "xii", "xiii", "xiv", "xvi", "xvii", "xviii", "xix")
LETTERS = (1000, "M"), (500, "D"), (100, "C"), (50, "L"), (10, "X"), (5, "V"), (1, "I")

_TENS = r"(?:XC|XL|L?X{1,3}|L)"
_ONES = r"(?:IX|IV|VI{0,3}|I{1,3})"
_NUMERAL = rf"(?:{_TENS}{_ONES}?|{_ONES})"  # 1 to 99
_YEAR = rf"M{{1,2}}(?:CM|CD|D?C{{0,3}}){_TENS}?{_ONES}?"
_BEHIND = re.compile(r"(?:([\w'-]{1,30})\s)?([A-Za-z][\w'-]{0,30})(\W{1,5})$")
LOOK_BACK = 70  # characters


def parse_roman(letters: str) -> int:
    """The number of a numeral in capitals."""
    worth = {letter: value for value, letter in LETTERS}
    values = [worth[letter] for letter in letters]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


def read_behind_noun(noun: str, word: str) -> str:
    """The word, or its number if it is a numeral of two letters or more ("chapter iv")."""
    is_counted = noun in NOUNS and len(word) > 1
    is_numeral = is_counted and re.fullmatch(_NUMERAL, word.upper())
    return num2words(parse_roman(word.upper())) if is_numeral else word


def _read_numeral(match: re.Match) -> str | None:
    """Ordinal behind a ruler, else cardinal; None where it is a word or initials after all."""
    numeral, ending = match[1], match[2] or ""
    number = parse_roman(numeral)
    before = match.string[max(match.start() - LOOK_BACK, 0) : match.start()]
    behind = _BEHIND.search(before.replace("\u00a7", "Section "))
    first, last, gap = behind.groups() if behind else ("", "", "")
    if last.capitalize() in NOUNS:
        return num2words(number) + ending
    is_name = last[:1].isupper() and gap.isspace() and last.capitalize() not in FUNCTION_WORDS
    if not is_name or numeral in ("I", "L"):
        return None
    if {last.capitalize(), (first or "").capitalize()} & RULERS:
        return f"the {spell_ordinal(number)}{ending}"
    return None if len(numeral) == 1 or numeral == "XL" else num2words(number) + ending


def _read_year(match: re.Match) -> str | None:
    number = parse_roman(match[0])
    return spell_year(str(number)) if len(match[0]) > 3 and number >= 1500 else None


_END = r"(?![\w'-]|\.\w)"
RULES = (
    Rule(
        "Roman numeral",
        rf"(?<![\w'.-])({_NUMERAL})('s)?(?!\.\s?[A-Z]){_END}",
        _read_numeral,
    ),
    Rule("Roman year", rf"(?<!\w){_YEAR}{_END}", _read_year),
)
