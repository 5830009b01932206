"""Numbers: cardinals, ordinals, decimals, fractions, powers, ranges, sums."""

from __future__ import annotations

import re

from num2words import num2words

from vssflow_jax.text.verbalize.rule import Rule, one_of, replace_by

MAX_DIGITS = 15  # longer numbers are read digit by digit
DIGIT_WORDS = tuple(num2words(digit) for digit in range(10))

# 1,234,567 or 12,34,567 or 1 234 000 or 1234567
INTEGER = (
    r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,2}(?:,\d{2}){1,4},\d{3}|\d{1,3}(?: \d{3}){0,4} 000"
    rf"|\d{{1,{MAX_DIGITS}}})(?!\d)"
)
DECIMAL = rf"(?:{INTEGER}(?:\.\d{{1,60}})?|(?<![\w.])\.\d{{1,60}})"
FRACTION = r"(?:\d{1,4} )?\d{1,4}[/\u2044]\d{1,4}(?![\d/])"
SCIENTIFIC = (
    r"\d{1,15}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3}|\s?[x\u00d7*]\s?10\^[+-]?\d{1,3})(?![\w.])"
)
VALUE = rf"(?:{SCIENTIFIC}|{FRACTION}|{DECIMAL})"
TO = "(?:-| - )"  # between the ends of a range

IDIOMS = ("24/7", "24/7/365", "9/11", "50/50", "20/20", "80/20", "60/40", "50-50", "24-7", "911")
DIALED = ("call", "called", "calling", "dial", "dialed", "dialing", "phone", "ring", "text")
# Behind these words, a raised number is a power and no mark of a footnote.
_MEASURED = "".join(
    f"(?<!{word})"
    for word in ("meter", "meters", "feet", "inches", "miles", "sin", "cos", "tan", "log")
)
MAGNITUDES = {
    "k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion",
    "t": "trillion", "tn": "trillion", "thousand": "thousand", "million": "million",
    "billion": "billion", "trillion": "trillion", "lakh": "lakh", "crore": "crore",
}  # fmt: skip


def spell_value(number: str) -> str:
    """A number in any of the notations of VALUE."""
    if "/" in number or "\u2044" in number:
        return spell_fraction(number)
    if "^" in number or "e" in number.lower():
        factor, power = re.split(r"[eE]|\s?[x\u00d7*]\s?10\^", number)
        return f"{spell_cardinal(factor)} times ten {spell_power(power)}"
    return spell_cardinal(number)


def spell_cardinal(number: str) -> str:
    """A number in digits, with or without separators and decimals."""
    integer, _, decimals = re.sub("[, ]", "", number).partition(".")
    if len(integer) > MAX_DIGITS or (len(integer) > 1 and integer[0] == "0"):
        words = spell_digits(integer)
    else:
        words = num2words(int(integer)) if integer else ""
    return f"{words} point {spell_digits(decimals)}" if decimals else words


def spell_digits(number: str) -> str:
    """One digit after the other; other characters are left out."""
    return " ".join(DIGIT_WORDS[int(digit)] for digit in number if digit.isdecimal())


def pluralize(words: str) -> str:
    """Several of a number: twenties, sixes, fifty twos."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def spell_ordinal(number: str | int) -> str:
    """First, second, ..."""
    return num2words(int(number), to="ordinal")


def spell_year(number: str) -> str:
    """A year as it is read: nineteen oh five, two thousand and seven, twenty twenty four."""
    return num2words(int(number), to="year")


def spell_number(number: str) -> str:
    """A year if it may be one, else a value."""
    is_year = len(number) == 4 and number.isdigit() and 1100 <= int(number) < 2100
    return spell_year(number) if is_year else spell_value(number)


def spell_power(exponent: str) -> str:
    """Squared, cubed, to the fourth, to the minus fifth of ten."""
    digits = exponent.lstrip("+-")
    if exponent.startswith("-"):
        return f"to the minus {spell_cardinal(str(int(digits)))}"
    if int(digits) in (2, 3):
        return "squared" if int(digits) == 2 else "cubed"
    return f"to the {spell_ordinal(digits)}"


def spell_fraction(number: str) -> str:
    """One half, three and a half, seven over three."""
    head, bottom = re.split(r"[/\u2044]", number)
    *integer, top = head.split(" ")
    if top == bottom and not integer:
        return f"{spell_cardinal(top)} out of {spell_cardinal(bottom)}"
    has_name = 2 <= int(bottom) <= 100 or (top == "1" and int(bottom) <= 1000)
    if not has_name or int(top) >= int(bottom):
        return " ".join([*map(spell_cardinal, [*integer, top]), "over", spell_cardinal(bottom)])
    name = {"2": "half", "4": "quarter"}.get(bottom, spell_ordinal(bottom))
    plural = "halves" if name == "half" else name + "s"
    words = f"{spell_cardinal(top)} {name if top == '1' else plural}"
    if not integer:
        return words
    return f"{spell_cardinal(integer[0])} and {'a half' if words == 'one half' else words}"


def spell_magnitude(letters: str | None) -> str:
    """Thousand for k and so on; nothing for nothing."""
    return MAGNITUDES[letters.lower()] if letters else ""


def _read_sequence(match: re.Match) -> str:
    """9-1-1, 36-24-36 or 978-0-13: small numbers are read as such, others digit by digit."""
    groups = match[0].split("-")
    small = all(len(group) <= 2 and group[0] != "0" for group in groups)
    return " ".join(map(spell_cardinal if small else spell_digits, groups))


def _read_version(match: re.Match) -> str:
    parts = match[0].split(".")
    return (" dot " if len(parts) == 4 else " point ").join(map(spell_cardinal, parts))


def _read_lines(match: re.Match) -> str:
    """The lines of a picture in pairs of digits: ten eighty, nineteen twenty by ten eighty."""
    return " by ".join(
        " ".join(map(spell_cardinal, [side[:-2], side[-2:]])) for side in match[0].split("x")
    )


def _read_range(match: re.Match) -> str:
    before = match.string[max(match.start() - 2, 0) : match.start()].strip()
    is_sum = match[3] is not None or before[-1:] in {*"=+*\u00d7\u00f7"}  # "5 - 3 ="
    word = "minus" if is_sum else "to"
    return f"{spell_number(match[1])} {word} {spell_number(match[2])}"


RULES = (
    Rule("long number", r"\d{16,}", lambda m: spell_digits(m[0])),
    Rule(
        "idiom",
        rf"(?<![\w./-]){one_of(IDIOMS)}(?![\w/%-]|[.,]\d)",
        lambda m: (
            spell_digits(m[0])
            if m[0] == "911"
            else " ".join(map(spell_cardinal, re.findall(r"\d+", m[0])))
        ),
    ),
    Rule(
        "dialed number",
        rf"(?i:(?<!\w)({one_of(DIALED)}\s))(\d{{3,6}})(?![\w.,:/%-])",
        lambda m: m[1] + spell_digits(m[2]),
    ),
)
SEQUENCES = (  # of numbers, that are no dates
    Rule(
        "plural of a name",  # MP3s, B-52s
        r"(?:(?<=[A-Za-z])|(?<=[A-Za-z]-))(\d{1,3})s(?!\w)",
        lambda m: pluralize(spell_cardinal(m[1])),
    ),
    Rule(
        "thousands",
        r"\d{1,3}\.\d{3}\.\d{3}(?!\.?\d)",
        lambda m: spell_cardinal(m[0].replace(".", "")),
    ),
    Rule(
        "meter",
        r"(?<![\w./])(\d{1,2})/(\d{1,2})(?=\s(?:time|beat|meter)(?!\w))",
        lambda m: f"{spell_cardinal(m[1])} {spell_cardinal(m[2])}",
    ),
    Rule(
        "rating",
        r"(?<![\w./])(\d{1,3}(?:\.\d)?)/(10|100)(?![\w/]|\.\d|\sof)",
        lambda m: f"{spell_cardinal(m[1])} out of {spell_cardinal(m[2])}",
    ),
    Rule("version", r"\d{1,5}(?:\.\d{1,5}){2,4}(?!\.?\d)", _read_version),
    Rule("sequence of numbers", r"\d{1,8}(?:-\d{1,8}){2,8}(?![\w-])", _read_sequence),
)
LATE_RULES = (  # for what dates, units and money have left
    Rule("size of a picture", r"(?<!\w)\d{1,2}[1-9]\dx\d{1,2}[1-9]\d(?!\w)", _read_lines),
    Rule("lines of a picture", r"(?<!\w)\d{1,2}[1-9]\d(?=[pi](?!\w))", _read_lines),
    Rule(
        "product",
        rf"({DECIMAL})(?:\s([x\u00d7*])\s|([x\u00d7*]))(?=\.?\d)(?!10\^)",
        lambda m: f"{spell_value(m[1])} {'by' if 'x' in m.groups() else 'times'}",
    ),
    Rule(
        "multiple",
        rf"({DECIMAL})[x\u00d7](?!\w|\s?[+=*/^-])",
        lambda m: f"{spell_value(m[1])} times",
    ),
    Rule("range", rf"({VALUE}){TO}({VALUE})(?!-\d)(\s?(?==))?", _read_range),
    Rule(
        "ordinal",
        rf"({INTEGER})(?i:st|nd|rd|th)(?!\w)",
        lambda m: spell_ordinal(re.sub("[, ]", "", m[1])),
    ),
    Rule(
        "millions",
        rf"({DECIMAL})(bn|mn|tn|M)(?!\w)",
        lambda m: f"{spell_value(m[1])} {spell_magnitude(m[2])}",
    ),
    Rule(
        "mark of a footnote", rf"(?:{_MEASURED}(?<=[a-z]{{3}})|(?<=[.,;:!?\"']))\^\d{{1,3}}", None
    ),
    Rule("power", r"(?<=[\w)])\^([+-]?\d{1,3})", lambda m: spell_power(m[1])),
    Rule("power", r"(?<=[\w)])\^(?=[A-Za-z])", replace_by("to the")),
    Rule("fraction", rf"({FRACTION})(?:ths|rds)(?!\w)", lambda m: spell_fraction(m[1])),
    Rule("number", VALUE, lambda m: spell_number(m[0])),
)
