"""Text as people type it to the words that are spoken."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

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

MAX_LISTED = 8  # strange characters that a message names

# Behind a preposition and before a digit, A is a letter unless a noun follows ("at a nine now").
# Words of the last set show that none does.
PREPOSITIONS = {"at", "by", "in", "near", "on", "with"}
DIGITS = {num2words(digit) for digit in range(10)}
NOT_NOUNS = {"again", "here", "now", "please", "soon", "then", "there"}

_WORD = re.compile(r"[A-Za-z']+")


def words(text: str) -> list[str]:
    """Spoken words of `text`: lower case, letters and apostrophes only; the letter A is `a.`.

    Numbers, dates, times, money, units, abbreviations and web addresses are read out in English
    (see `verbalize`); accents are removed; punctuation is dropped.

    Raises:
      InputError: nothing to say in it, or characters of another script, emoji and the like,
        which English has no sounds for.
    """
    plain = _remove_accents(text)
    strange = sorted({c for c in plain if not _is_pronounceable(c)})
    if strange:
        listed = ", ".join(map(repr, strange[:MAX_LISTED]))
        more = f" and {len(strange) - MAX_LISTED} more" if len(strange) > MAX_LISTED else ""
        raise InputError(
            f"text: found {listed}{more} in {_shorten(text)}, "
            "expected characters that can be pronounced (Latin letters, numbers)"
        )
    spoken = _mark_letters(_split_words(_spell_signs(verbalize.verbalize(plain))))
    if not spoken:
        raise InputError(f"text: found no words in {_shorten(text)}, expected something to say")
    return spoken


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _remove_accents(text: str) -> str:
    """The text without accents, with one kind of apostrophe."""
    text = text.translate(APOSTROPHES)
    signs = SIGNS.keys() | verbalize.MONEY.keys()
    decomposed = [c if c in signs else unicodedata.normalize("NFKD", c) for c in text]
    bare = "".join(c for c in "".join(decomposed) if not unicodedata.combining(c))
    return bare.translate(PLAIN)


def _is_pronounceable(character: str) -> bool:
    """Whether a plain character is a letter, a digit, a known sign, a space or punctuation."""
    if character.isascii():
        return character.isprintable() or character.isspace()
    if character in SIGNS or character in verbalize.MONEY or character == "\u2212":
        return True
    return unicodedata.category(character)[0] in "PZ" or character in "\u200b\ufeff\u00ad"


def _spell_signs(text: str) -> str:
    """The signs that no rule has read, as words."""
    signs = SIGNS | {sign: f"{unit}s" for sign, (unit, _) in verbalize.MONEY.items()}
    for sign, word in signs.items():
        text = text.replace(sign, f" {word} ")
    return text


def _split_words(text: str) -> list[str]:
    """Words without marks; a letter A that is already marked stays `a.`."""
    tokens = []
    for chunk in text.split():
        if chunk == verbalize.LETTER_A:
            tokens.append(chunk)
        else:
            tokens += [word.strip("'") for word in _WORD.findall(chunk)]
    return [token for token in tokens if token]


def _mark_letters(tokens: list[str]) -> list[str]:
    """Lower case; an A that is a letter, not the article, becomes `a.`."""
    mixed = any(word[1:].islower() or (len(word) > 1 and word.islower()) for word in tokens)
    return [
        verbalize.LETTER_A if _is_letter_a(tokens, place, mixed) else word.lower()
        for place, word in enumerate(tokens)
    ]


def _is_letter_a(tokens: list[str], place: int, mixed: bool) -> bool:
    """Whether a word is the letter A; `mixed`: the text has words in lower case.

    It is: in capitals within a sentence ("vitamin A is"), at the end, behind another single
    letter ("u s a"), and as a label with a number ("at a nine now").
    """
    word = tokens[place]
    if word.lower() != "a" or not place:
        return False
    before = tokens[place - 1].lower()
    after = [later.lower() for later in tokens[place + 1 : place + 3]]
    behind_letter = len(before) == 1 and before != "i"
    is_label = (
        before in PREPOSITIONS and len(after) == 2 and after[0] in DIGITS and after[1] in NOT_NOUNS
    )
    return not after or (word == "A" and mixed) or behind_letter or is_label
