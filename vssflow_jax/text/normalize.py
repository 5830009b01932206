"""Text as people type it to the words that are spoken."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from vssflow_jax.errors import InputError

SIGNS = {
    "&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "#": "number",
    "°": "degrees", "\u00d7": "times", "\u2044": "over",
}  # fmt: skip
MONEY = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen"}
APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"))
LONGEST_NUMBER = 15  # digits; longer ones are read digit by digit, like a telephone number
# Letters that have no decomposition into a plain one and a mark.
PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d",
                       "þ": "th", "\u0131": "i"})  # fmt: skip

_MONEY = re.compile(rf"([{''.join(MONEY)}])\s?(\d[\d,]*(?:\.\d+)?)")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_NUMBER = re.compile(r"(?<![\w.])[-\u2212](?=\d)|\d+(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_WORD = re.compile(r"[a-z']+")


def words(text: str) -> list[str]:
    """Spoken words of `text`: lower case, letters and apostrophes only.

    Numbers, ordinals, years, times of day and amounts are spelled out in English; accents are
    taken off; punctuation falls away.

    Raises:
      InputError: nothing to say in it, or characters of another script, emoji and the like,
        which English has no sounds for.
    """
    plain = _plain(text)
    strange = sorted({c for c in plain if not _speakable(c)})
    if strange:
        raise InputError(
            f"text: found {' '.join(strange)!r} in {_short(text)}, "
            "expected characters that can be pronounced (Latin letters, numbers)"
        )
    spoken = _spell(plain)
    found = [word.strip("'") for word in _WORD.findall(spoken)]
    found = [word for word in found if word]
    if not found:
        raise InputError(f"text: found no words in {_short(text)}, expected something to say")
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _plain(text: str) -> str:
    """Lower case without accents, with one kind of apostrophe."""
    text = text.translate(APOSTROPHES)
    signs = SIGNS.keys() | MONEY.keys()
    kept = [c if c in signs else unicodedata.normalize("NFKD", c) for c in text]
    bare = "".join(c for c in "".join(kept) if not unicodedata.combining(c))
    return bare.lower().translate(PLAIN)


def _speakable(character: str) -> bool:
    """Whether a plain character is a letter, a digit, a known sign, a space or punctuation."""
    if character.isascii():
        return character.isprintable() or character.isspace()
    if character in SIGNS or character in MONEY or character == "\u2212":
        return True
    return unicodedata.category(character)[0] in "PZ" or character in "\u200b\ufeff\u00ad"


def _spell(text: str) -> str:
    """Numbers and signs as words."""
    text = _MONEY.sub(lambda m: f"{m[2]} {MONEY[m[1]]} ", text)
    text = _ORDINAL.sub(lambda m: f" {_number(m[1], to='ordinal')} ", text)
    text = _CLOCK.sub(lambda m: f" {_clock(m[1], m[2])} ", text)
    text = _NUMBER.sub(lambda m: f" {_cardinal(m[0])} ", text)
    for sign, word in (SIGNS | MONEY).items():
        text = text.replace(sign, f" {word} ")
    return text


def _clock(hours: str, minutes: str) -> str:
    if minutes == "00":
        return f"{_number(hours)} o'clock"
    return f"{_number(hours)} {'oh ' if minutes[0] == '0' else ''}{_number(str(int(minutes)))}"


def _cardinal(number: str) -> str:
    if number in "-\u2212":
        return "minus"
    digits = number.replace(",", "")
    if len(digits) == 4 and digits.isdigit() and "," not in number and 1100 <= int(digits) < 2100:
        return _number(digits, to="year")
    return _number(digits)


def _number(digits: str, to: str = "cardinal") -> str:
    whole, _, fraction = digits.partition(".")
    if len(whole) > LONGEST_NUMBER or (len(whole) > 1 and whole[0] == "0"):
        spelled = " ".join(num2words(int(digit)) for digit in whole)
    else:
        spelled = num2words(int(whole), to=to)
    if fraction:
        spelled += " point " + " ".join(num2words(int(digit)) for digit in fraction)
    return spelled
