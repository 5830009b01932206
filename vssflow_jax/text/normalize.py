"""Text as people type it to the words that are spoken."""

from __future__ import annotations

import re
import unicodedata

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import verbalize

SIGNS = {
    "&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "#": "number",
    "°": "degrees", "\u00d7": "times", "\u2044": "over",
}  # fmt: skip
APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"))
# Letters that have no decomposition into a plain one and a mark.
_PLAIN = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th",
          "\u0131": "i"}  # fmt: skip
PLAIN = str.maketrans(_PLAIN | {c.upper(): p.capitalize() for c, p in _PLAIN.items() if c != "ß"})

GRID = ({"at", "by", "in", "with"}, {"zero", "one", "two", "three", "four", "five", "six", "seven",
        "eight", "nine"}, {"again", "now", "please", "soon"})  # fmt: skip
LONGEST = 8  # strange characters that a message names

_WORD = re.compile(r"[A-Za-z']+")


def words(text: str) -> list[str]:
    """Spoken words of `text`: lower case, letters and apostrophes only; the letter A is `a.`.

    What is no word (numbers, dates, times, money, units, abbreviations, addresses of the web) is
    read out in English (see `written`); accents are taken off; punctuation falls away.

    Raises:
      InputError: nothing to say in it, or characters of another script, emoji and the like,
        which English has no sounds for.
    """
    plain = _plain(text)
    strange = sorted({c for c in plain if not _speakable(c)})
    if strange:
        listed = ", ".join(map(repr, strange[:LONGEST]))
        more = f" and {len(strange) - LONGEST} more" if len(strange) > LONGEST else ""
        raise InputError(
            f"text: found {listed}{more} in {_short(text)}, "
            "expected characters that can be pronounced (Latin letters, numbers)"
        )
    found = _letters_apart(_tokens(_spell(plain)))
    if not found:
        raise InputError(f"text: found no words in {_short(text)}, expected something to say")
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _plain(text: str) -> str:
    """The text without accents, with one kind of apostrophe."""
    text = text.translate(APOSTROPHES)
    signs = SIGNS.keys() | verbalize.MONEY.keys()
    kept = [c if c in signs else unicodedata.normalize("NFKD", c) for c in text]
    bare = "".join(c for c in "".join(kept) if not unicodedata.combining(c))
    return bare.translate(PLAIN)


def _speakable(character: str) -> bool:
    """Whether a plain character is a letter, a digit, a known sign, a space or punctuation."""
    if character.isascii():
        return character.isprintable() or character.isspace()
    if character in SIGNS or character in verbalize.MONEY or character == "\u2212":
        return True
    return unicodedata.category(character)[0] in "PZ" or character in "\u200b\ufeff\u00ad"


def _spell(text: str) -> str:
    """Everything that is no word as words."""
    text = verbalize.read_out(text)
    signs = SIGNS | {sign: f"{unit}s" for sign, (unit, _) in verbalize.MONEY.items()}
    for sign, word in signs.items():
        text = text.replace(sign, f" {word} ")
    return text


def _tokens(text: str) -> list[str]:
    """Words as they are written, without marks; the letter A that is known as such is `a.`."""
    found = []
    for piece in text.split():
        if piece == verbalize.LETTER_A:
            found.append(piece)
        else:
            found += [word.strip("'") for word in _WORD.findall(piece)]
    return [word for word in found if word]


def _letters_apart(tokens: list[str]) -> list[str]:
    """Lower case; an A that cannot be the article becomes the letter.

    It is the letter in capitals within a sentence ("vitamin A is"), at the end, behind another
    single letter ("u s a"), and where a GRID sentence has one ("at a nine now").
    """
    mixed = any(word[1:].islower() or (len(word) > 1 and word.islower()) for word in tokens)
    found = []
    for place, word in enumerate(tokens):
        before = tokens[place - 1].lower() if place else ""
        after = [later.lower() for later in tokens[place + 1 : place + 3]]
        grid = before in GRID[0] and len(after) == 2 and after[0] in GRID[1] and after[1] in GRID[2]
        letter = word.lower() == "a" and bool(place) and (
            not after or (word == "A" and mixed) or (len(before) == 1 and before != "i") or grid
        )  # fmt: skip
        found.append(verbalize.LETTER_A if letter else word.lower())
    return found
