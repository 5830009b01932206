"""The characters of a text: what stands for what, what has no sound, what cannot be read."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

MAX_LISTED = 4  # characters that a message names
ENTITY_PASSES = 3  # "&amp;amp;" was escaped twice

_QUOTES = (("'", "\u2018\u2019\u201a\u201b\u02bc\u00b4`\u2032\u2035\u02b9"),
           ('"', "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\u2036\u02ba\u2039\u203a"))  # fmt: skip
SAME = {character: plain for plain, characters in _QUOTES for character in characters} | {
    "\u2014": " - ", "\u2015": " - ", "\u2212": "-", "\u2215": "/", "\u2217": "*", "\u2236": ":",
    "\u223c": "~", "\u2223": "|", "\u2219": " ", "\u2116": "No.", "\u00ba": "\u00b0",
    "\u207f": "^n", "\u00b5": "\u03bc", "\u2126": "\u03a9", "\u2206": "\u0394", "\x85": "\n",
    "\u066a": "%", "\u066b": ".", "\u066c": ",", "\u204a": "&",
    # without a shape
    "\u2800": "", "\u3164": "", "\u115f": "", "\u1160": "", "\uffa0": "", "\u034f": "",
    # letters whose names in Unicode do not say what they are
    "\u00df": "ss", "\u1e9e": "SS", "\u00f0": "d", "\u00d0": "D", "\u00fe": "th", "\u00de": "Th",
    "\u0131": "i", "\u0259": "e", "\u018f": "E", "\u014b": "ng", "\u014a": "Ng", "\u0138": "k",
    "\u02bb": "",
}  # fmt: skip
# Signs that rules read, beside all of mathematics
KEPT = "\u00b0\u00a7\u00b6\u00a9\u00ae\u2122\u2030\u2031\u266f\u266d\u266e"
PICTURES = re.compile(  # emoji, musical signs, dingbats, boxes
    "[\u2190-\u2bff\u3030\u303d\ufffc\U0001d000-\U0001d24f\U0001f000-\U0001fbff]"
)
TAGS = frozenset((  # that leave their words together
    "a", "abbr", "b", "big", "c", "cite", "code", "del", "em", "font", "i", "ins", "kbd",
    "lang", "mark", "q", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "tt", "u", "v", "var", "voice", "wbr",
))  # fmt: skip
BLOCK_TAGS = frozenset((  # that part them
    "blockquote", "body", "br", "break", "dd", "div", "dl", "dt", "emphasis", "figure", "h1",
    "h2", "h3", "h4", "h5", "h6", "head", "hr", "html", "img", "li", "ol", "p", "phoneme",
    "pre", "prosody", "say-as", "section", "speak", "table", "tbody", "td", "th", "thead",
    "title", "tr", "ul",
))  # fmt: skip
VOICE_TAGS = ("c", "lang", "v", "voice")  # of WebVTT, with a name

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(
    r"<!--[^<>]{0,500}-->|</?([A-Za-z][A-Za-z0-9-]{0,15})([\s./:=][^<>]{0,300}|/)?>"
    r"|<\d\d:\d\d(?::\d\d)?\.\d{3}>"
)
_LATIN = re.compile(
    r"LATIN (SMALL |CAPITAL )?(?:LETTER |LIGATURE )(?:SMALL CAPITAL )?([A-Z]{1,2})(?: WITH .*)?"
)
_GREEK = "[\u0370-\u03ff\u1f00-\u1fff]"
_GREEK_WORD = re.compile(f"{_GREEK}(?:[\u0300-\u036f]{{0,4}}{_GREEK})+")
# 10 000 with a blank that does not break, 10'000, 10_000
_SEPARATOR = re.compile("(?<=\\d)[\u00a0\u2009\u202f'\u2019_](?=\\d{3}(?!\\d))")
_MINUS = re.compile("\u2212(?=\\s?[^\\W\\d_])")  # before a letter
_LOVE = re.compile(
    "(?<=\\b[Ii] )[\u2665\u2764]\ufe0f?(?= \\w)|(?<=\\b[Ww]e )[\u2665\u2764]\ufe0f?(?= \\w)"
)
_FRACTION = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{1,4}[/\u2044][\u2080-\u2089]{1,4}")


class Unreadable(NamedTuple):
    """A character that is not read: itself, and its place in the text, from 1."""

    character: str
    place: int

    def __str__(self) -> str:
        return f"{self.character!r} ({name_character(self.character)}, character {self.place})"


class Plain(NamedTuple):
    """A text in plain characters.

    Attributes:
      text: ASCII, and those other signs that rules read.
      pictures: emoji, musical signs and the like, which nobody says.
      unreadable: characters that have no sound in English; a blank is in their place.
    """

    text: str
    pictures: list[Unreadable]
    unreadable: list[Unreadable]


def name_character(character: str) -> str:
    """A character's name in Unicode, or its number if it has none."""
    return unicodedata.name(character, f"U+{ord(character):04X}")


def list_characters(characters: Iterable[Unreadable]) -> str:
    """Each different character with its name and its first place."""
    first = list({one.character: one for one in reversed(list(characters))}.values())[::-1]
    more = f" and {len(first) - MAX_LISTED} more" if len(first) > MAX_LISTED else ""
    return ", ".join(map(str, first[:MAX_LISTED])) + more


def read_characters(text: str) -> Plain:
    """The text in plain characters: one kind of quotation mark, no accents, tags or entities.

    Characters without width (soft hyphens, joiners, marks of direction) are left out. An
    exponent becomes `^2`.
    """
    resolved, places = _resolve_markup(text)
    greek = {k for match in _GREEK_WORD.finditer(resolved) for k in range(*match.span())}
    pieces, pictures, unreadable = [], [], []
    for index, (character, place) in enumerate(zip(resolved, places, strict=True)):
        plain = None if index in greek else read_character(character)
        if plain is None:
            plain = " "
            is_picture = PICTURES.match(character)
            (pictures if is_picture else unreadable).append(Unreadable(character, place))
        elif len(plain) > 1 and pieces:
            plain = _join(pieces[-1], plain)
        pieces.append(plain)
    return Plain("".join(pieces), pictures, unreadable)


def _join(before: str, plain: str) -> str:
    """A character's plain form behind another's: 10\u00b9\u2070 is 10^10, 3\u00bd is 3 1/2."""
    if plain[0] == "^" and before[:1] == "^" and len(before) > 1:
        return plain[1:]
    return f" {plain}" if "\u2044" in plain and before[-1:].isdigit() else plain


def _resolve_markup(text: str) -> tuple[str, list[int]]:
    """The text without entities and tags, and the place of each character in the original."""
    places = list(range(1, len(text) + 1))
    for _ in range(ENTITY_PASSES):
        text, places = _substitute(_ENTITY, lambda match: html.unescape(match[0]), text, places)
    text, places = _substitute(_TAG, _read_tag, text, places)
    text, places = _substitute(_SEPARATOR, lambda match: ",", text, places)
    text, places = _substitute(_MINUS, lambda match: " minus ", text, places)
    text, places = _substitute(_LOVE, lambda match: "love", text, places)
    return _substitute(
        _FRACTION,
        lambda match: unicodedata.normalize("NFKC", match[0]).replace("/", "\u2044"),
        text,
        places,
    )


def _substitute(
    pattern: re.Pattern, replace: Callable[[re.Match], str], text: str, places: list[int]
) -> tuple[str, list[int]]:
    """`pattern.sub` of a text whose characters have places."""
    pieces, kept, position = [], [], 0
    for match in pattern.finditer(text):
        replacement = replace(match)
        pieces += [text[position : match.start()], replacement]
        kept += places[position : match.start()]
        kept += [places[match.start()]] * len(replacement)
        position = match.end()
    return "".join([*pieces, text[position:]]), kept + places[position:]


def _read_tag(match: re.Match) -> str:
    """Nothing or a blank for a tag of HTML, WebVTT or SSML; others stay."""
    name = (match[1] or "").lower()
    if name == "sup" and re.match(r"[+-]?\d", match.string[match.end() : match.end() + 2]):
        return "^"
    attributes = (match[2] or "").strip("/ ")
    if attributes and "=" not in attributes and attributes[0] != "." and name not in VOICE_TAGS:
        return match[0]  # "<b and c>" is no tag
    if name in TAGS or not name:
        return ""
    if match[0].startswith("</"):  # of a tag that no list has
        return " "
    return " " if name in BLOCK_TAGS else match[0]


@functools.lru_cache(maxsize=4096)
def read_character(character: str) -> str | None:
    """A character in plain ones, which may be none; None if it cannot be read."""
    if character in SAME:
        return SAME[character]
    if character.isascii():
        return character if character.isprintable() or character.isspace() else None
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    decomposition = unicodedata.decomposition(character)
    if character in KEPT or (category in ("Sm", "Sc") and not decomposition.startswith("<")):
        return character
    if category == "Cf" or name.startswith(("COMBINING ", "VARIATION SELECTOR", "EMOJI MODIFIER")):
        return ""
    if category == "Nd":  # the decimal digits of all scripts
        return str(unicodedata.decimal(character))
    if decomposition:
        return _expand(decomposition)
    if category[0] in "PZ" or category == "Sk":
        return {"Pd": "-", "Zl": "\n", "Zp": "\n"}.get(category, " ")
    if name.startswith(("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER ")) and len(name.split()) == 4:
        return character
    if latin := _LATIN.fullmatch(name):
        letters = latin[2].capitalize()
        return letters if latin[1] == "CAPITAL " else letters.lower()
    return None


def _expand(decomposition: str) -> str | None:
    """What a character is made of, such as "<super> 0032", in plain ones."""
    *kind, codes = decomposition.rpartition("> ")[::2]
    parts = [read_character(chr(int(code, 16))) for code in codes.split()]
    if None in parts:
        return None
    plain = "".join(parts)
    is_exponent = kind == ["<super"] and plain[:1] in {*"0123456789+-"}
    return f"^{plain}" if is_exponent else plain
