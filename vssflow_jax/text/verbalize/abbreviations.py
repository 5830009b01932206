"""Abbreviations, titles and initialisms."""

from __future__ import annotations

import re

from vssflow_jax.text.verbalize.numbers import spell_digits
from vssflow_jax.text.verbalize.rule import Rule, one_of, replace_by

LETTER_A = "a."  # CMUdict's name of the letter; "a" is the article

TITLES = {  # before a name; with a period or, some, without
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Prof": "professor", "Capt": "captain",
    "Gen": "general", "Sgt": "sergeant", "Lt": "lieutenant", "Col": "colonel", "Maj": "major",
    "Cpl": "corporal", "Pvt": "private", "Adm": "admiral", "Cmdr": "commander",
    "Rev": "reverend", "Gov": "governor", "Sen": "senator", "Rep": "representative",
    "Pres": "president", "Hon": "honorable", "Fr": "father", "Amb": "ambassador",
    "Mt": "mount", "Ft": "fort",
}  # fmt: skip
ANYWHERE = ("Mr", "Mrs", "Ms")  # and these without a period before a name
STREETS = {  # before a name, behind one
    "St": ("saint", "street"), "Dr": ("doctor", "drive"), "Ave": ("", "avenue"),
    "Blvd": ("", "boulevard"), "Rd": ("", "road"), "Ln": ("", "lane"), "Hwy": ("", "highway"),
    "Pkwy": ("", "parkway"), "Ct": ("", "court"), "Pl": ("", "place"), "Sq": ("", "square"),
}  # fmt: skip
ABBREVIATIONS = {  # with a period
    "etc": "et cetera", "vs": "versus", "e.g": "for example", "i.e": "that is",
    "jr": "junior", "sr": "senior", "approx": "approximately", "dept": "department",
    "govt": "government", "assn": "association", "assoc": "association", "asst": "assistant",
    "inc": "incorporated", "ltd": "limited", "corp": "corporation", "co": "company",
    "bros": "brothers", "intl": "international", "natl": "national", "univ": "university",
    "ave": "avenue", "rd": "road", "blvd": "boulevard", "hwy": "highway",
    "ste": "suite", "bldg": "building", "apt": "apartment", "est": "established",
    "vol": "volume", "ed": "edition", "cf": "compare", "viz": "namely",
    "max": "maximum", "min": "minimum", "avg": "average", "temp": "temperature",
    "misc": "miscellaneous", "incl": "including", "excl": "excluding", "esp": "especially",
    "orig": "originally",
    "tel": "telephone", "ext": "extension", "no": "number",
    "nos": "numbers", "fig": "figure", "figs": "figures", "ch": "chapter", "sec": "section",
    "ca": "circa", "c": "circa", "p": "page", "pp": "pages", "pg": "page", "v": "versus",
    "a.k.a": "also known as", "w.r.t": "with respect to", "esq": "esquire", "eq": "equation",
}  # fmt: skip
# Of those, read before numbers only
BEFORE_NUMBERS = ("no", "nos", "fig", "figs", "ch", "sec", "ca", "c", "p", "pp", "pg", "vol",
                  "ed", "ext", "eq", "est", "apt", "ste", "hwy", "tel")  # fmt: skip
WORDS = ("ed", "max", "min", "temp", "tel", "ch", "v")  # and these if the sentence goes on
SHORTHAND = {  # without a period
    "w/": "with", "w/o": "without", "w/out": "without", "b/c": "because", "c/o": "care of",
    "n/a": "not applicable", "N/A": "not applicable", "WWI": "world war one",
    "WWII": "world war two", "WW1": "world war one", "WW2": "world war two", "'em": "them",
    "'til": "till", "'cause": "because", "'bout": "about", "'n'": "and", "'n": "and",
    "'tis": "it is", "'twas": "it was",
}  # fmt: skip
TIME_ZONES = ("EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "ET", "CT", "MT", "PT",
              "GMT", "UTC", "CET", "CEST", "BST", "IST", "JST")  # fmt: skip
DEGREES = ("Ph.D", "Ph. D", "M.Sc", "B.Sc", "D.Phil", "Ed.D", "Psy.D", "M.Ed", "B.Ed", "M.Eng")
# Words in lower case; in capitals, within a text that is not all in capitals, initials
INITIALISMS = frozenset((
    "US", "IT", "AM", "PM", "AI", "ID", "LA", "AC", "DC", "OS", "BC", "BCE", "AD", "CE",
))  # fmt: skip


LIKE_WORDS = ("OK", "OR", "IN", "ME", "HI", "OH", "ID")  # states only before a zip code
STATES = {  # behind a town or before a zip code
    "AL": "alabama", "AK": "alaska", "AZ": "arizona", "AR": "arkansas", "CA": "california",
    "CO": "colorado", "CT": "connecticut", "DE": "delaware", "FL": "florida", "GA": "georgia",
    "HI": "hawaii", "ID": "idaho", "IL": "illinois", "IN": "indiana", "IA": "iowa",
    "KS": "kansas", "KY": "kentucky", "LA": "louisiana", "ME": "maine", "MD": "maryland",
    "MA": "massachusetts", "MI": "michigan", "MN": "minnesota", "MS": "mississippi",
    "MO": "missouri", "MT": "montana", "NE": "nebraska", "NV": "nevada", "NH": "new hampshire",
    "NJ": "new jersey", "NM": "new mexico", "NY": "new york", "NC": "north carolina",
    "ND": "north dakota", "OH": "ohio", "OK": "oklahoma", "OR": "oregon", "PA": "pennsylvania",
    "RI": "rhode island", "SC": "south carolina", "SD": "south dakota", "TN": "tennessee",
    "TX": "texas", "UT": "utah", "VT": "vermont", "VA": "virginia", "WA": "washington",
    "WV": "west virginia", "WI": "wisconsin", "WY": "wyoming", "DC": "d c",
}  # fmt: skip


def spell_letters(letters: str) -> str:
    """The letters of a word, each as a word; the letter A is `a.`."""
    return " ".join(LETTER_A if c in "aA" else c for c in letters if c.isalpha())


_LAST_WORD = re.compile(r"(\w[\w'-]{0,30})[.,]?\s$")
_SENTENCE = re.compile(r"(?:^|[.!?:\n]\s?)$")


def _read_street(match: re.Match) -> str | None:
    """St. and Dr. before a name are titles, behind one a place."""
    title, place = STREETS[match[1]]
    before = match.string[max(match.start() - 40, 0) : match.start()]
    word = _LAST_WORD.search(before)
    if word is not None and word[1][0].isdigit():
        return place
    if word is not None and word[1] in TITLES:
        return title
    starts_sentence = word is None or _SENTENCE.search(before[: word.start()])
    precedes_name = match[2] is not None
    if word is not None and word[1][0].isupper() and not (starts_sentence and precedes_name):
        return place
    if not title:
        return place if match[0].endswith(".") else None
    return title if precedes_name or title == "doctor" else place


def _read_state(match: re.Match) -> str | None:
    state, zip_code = match.groups()
    before = match.string[max(match.start() - 20, 0) : match.start()]
    if not zip_code and (state in LIKE_WORDS or not re.search(r"\b[A-Z][a-z]{2,15}, $", before)):
        return None
    return f"{STATES[state]} {spell_digits(zip_code or '')}"


def _read_abbreviation(match: re.Match) -> str:
    return ABBREVIATIONS[match[1].lower()]


_ANYWHERE = [a for a in ABBREVIATIONS if a not in {*BEFORE_NUMBERS, *WORDS}]
_START = r"(?<![\w'.])"
RULES = (
    Rule(
        "street or title",
        rf"(?<![\w'])({one_of(STREETS)})(?:\.(?!\w)|(?=\s[A-Z])|(?=[,;!?]|\s?$))(\s(?=[A-Z]))?",
        _read_street,
    ),
    Rule("title", rf"(?<![\w'])({one_of(ANYWHERE)})(?:\.|(?=\s[A-Z]))", lambda m: TITLES[m[1]]),
    Rule("title", rf"(?<![\w'])({one_of(TITLES)})\.\s?(?=[A-Z])", lambda m: TITLES[m[1]]),
    Rule(
        "abbreviation",
        rf"(?i:{_START}({one_of(BEFORE_NUMBERS)})\.\s?(?=[#(]?\d|(?-i:[IVX]{{1,5}}|[ivx]{{2,5}})(?!\w)|(?-i:[A-Z]{{1,4}}-?\d)))"
        rf"|{_START}(N[oO])\s(?=\d)",
        lambda m: ABBREVIATIONS[(m[1] or m[2]).lower()],
    ),
    Rule("abbreviation", rf"(?i:{_START}({one_of(_ANYWHERE)}))\.(?!\w)", _read_abbreviation),
    Rule(
        "abbreviation",
        rf"(?i:{_START}({one_of(WORDS)}))\.(?=\s?[a-z\d,;:)])",
        _read_abbreviation,
    ),
    Rule(
        "shorthand",
        rf"(?<![\w/.]){one_of(SHORTHAND)}(?![\w/])|(?<![\w/.])w/(?=[a-z]{{3}})",
        lambda m: SHORTHAND[m[0]],
    ),
    Rule(
        "state",
        rf"(?<![\w'.-])({one_of(STATES)})(?:\s(\d{{5}}(?:-\d{{4}})?))?(?![\w'-])",
        _read_state,
    ),
    Rule(
        "letter A",
        rf"{_START}(?:[Aa](?=\d)|[Aa]\.(?![\w.])|A(?=-\w|\+|/|\s(?:vs\.?|and|or|to)\s[B-Z](?!\w))|a(?=/[a-z](?!\w)))",
        replace_by(LETTER_A),
    ),
    Rule(
        "time zone",
        rf"(?<=[Mm.\d]\s){one_of(TIME_ZONES)}(?!\w)",
        lambda m: spell_letters(m[0]),
    ),
    Rule("initials", rf"{_START}{one_of(DEGREES)}\.?(?!\w)", lambda m: spell_letters(m[0])),
    Rule(
        "initials",
        r"(?<![\w'])(?:[A-Za-z]\.){2,12}[A-Za-z]?(?![A-Za-z])",
        lambda m: spell_letters(m[0]),
    ),
)
