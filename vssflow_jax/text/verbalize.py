"""Numbers, dates, times, money and abbreviations in an English text, spelled as words.

Each rule is a pattern and a function of its match; rules run in order over the entire text, so
that "$5.50" is money before it is a number. `num2words` spells the numbers. Ambiguous text is
read as in American English, and no rule looks further than the neighboring words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from num2words import num2words

MAX_DIGITS = 15  # longer numbers are read digit by digit
LETTER_A = "a."  # CMUdict's name of the letter; "a" is the article

MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"),
         "¥": ("yen", "")}  # fmt: skip
PLURALS = {"penny": "pence", "yen": "yen", "foot": "feet", "inch": "inches"}
MAGNITUDES = {
    "k": "thousand", "m": "million", "b": "billion", "bn": "billion", "t": "trillion",
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
}  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
UNITS = {
    "km/h": "kilometer per hour", "mph": "mile per hour", "m/s": "meter per second",
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "kg": "kilogram",
    "mg": "milligram", "g": "gram", "ml": "milliliter", "lb": "pound", "lbs": "pound",
    "oz": "ounce", "ft": "foot", "mi": "mile", "kHz": "kilohertz", "MHz": "megahertz",
    "GHz": "gigahertz", "Hz": "hertz", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte",
    "TB": "terabyte", "kW": "kilowatt", "ms": "millisecond", "sec": "second", "min": "minute",
    "hrs": "hour", "°C": "degree Celsius", "°F": "degree Fahrenheit", "°": "degree",
    "m": "meter", "s": "second", "h": "hour", "l": "liter", "V": "volt", "W": "watt",
}  # fmt: skip
INVARIANT_UNITS = ("hertz", "kilohertz", "megahertz", "gigahertz")  # their plural is the same
TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "Prof": "professor",
    "Capt": "captain", "Gen": "general", "Sgt": "sergeant", "Lt": "lieutenant", "Col": "colonel",
    "Rev": "reverend", "Gov": "governor", "Sen": "senator",
}  # fmt: skip
ABBREVIATIONS = {
    "etc": "et cetera", "vs": "versus", "e.g": "for example", "i.e": "that is", "jr": "junior",
    "sr": "senior", "approx": "approximately", "dept": "department", "inc": "incorporated",
    "ltd": "limited", "corp": "corporation", "co": "company", "ave": "avenue", "rd": "road",
    "blvd": "boulevard", "mt": "mount", "ft": "fort", "est": "established", "vol": "volume",
}  # fmt: skip
INITIALISMS = ("US", "IT", "AM", "PM")  # words only where they are not in capitals
REGNAL_NAMES = (
    "Alexander", "Benedict", "Catherine", "Charles", "Edward", "Elizabeth", "Frederick", "George",
    "Henry", "James", "John", "Leo", "Louis", "Mary", "Nicholas", "Paul", "Peter", "Philip",
    "Pius", "Richard", "William",
)  # fmt: skip
NUMBERED_NOUNS = (
    "Act", "Article", "Book", "Chapter", "Class", "Episode", "Part", "Phase", "Scene", "Section",
    "Type", "Volume", "War",
)  # fmt: skip
WEB_SIGNS = {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore"}

NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"
DASH = "[-\u2010-\u2015\u2212]"
_MONTH = rf"({'|'.join(MONTHS)}|{'|'.join(m[:3] for m in MONTHS)}|Sept)\.?"
_ROMAN = r"([IVX]{2,}|V|X)"  # a single I is a pronoun, but behind "Chapter"


def _one_of(words) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# ---- numbers ------------------------------------------------------------------------------


def spell_cardinal(number: str) -> str:
    """A number in digits, with or without commas and decimals."""
    integer, _, fraction = number.replace(",", "").partition(".")
    if len(integer) > MAX_DIGITS or (len(integer) > 1 and integer[0] == "0"):
        words = spell_digits(integer)
    else:
        words = num2words(int(integer))
    return f"{words} point {spell_digits(fraction)}" if fraction else words


def spell_digits(number: str) -> str:
    """One digit after the other; other characters are left out."""
    return " ".join(num2words(int(digit)) for digit in number if digit.isdigit())


def spell_ordinal(number: str | int) -> str:
    """First, second, ..."""
    return num2words(int(number), to="ordinal")


def spell_year(number: str) -> str:
    """A year as it is read: nineteen oh five, two thousand and seven, twenty twenty four."""
    return num2words(int(number), to="year")


def spell_quantity(number: str, unit: str) -> str:
    """A number of units: one foot, two feet, five kilometers per hour."""
    head, *rest = unit.split(" ", 1)
    if number != "1" and head not in INVARIANT_UNITS:
        head = PLURALS.get(head, head + "s")
    return " ".join([spell_cardinal(number), head, *rest])


def _spell_number(number: str) -> str:
    """A year if it may be one, else a cardinal."""
    if len(number) == 4 and number.isdigit() and 1100 <= int(number) < 2100:
        return spell_year(number)
    return spell_cardinal(number)


def _parse_roman(letters: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in letters]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


# ---- rules --------------------------------------------------------------------------------


def _read_money(match: re.Match) -> str:
    sign, amount, magnitude = match[1], match[2].replace(",", ""), match[3]
    unit, part = MONEY[sign]
    if magnitude:
        plural = PLURALS.get(unit, unit + "s")
        return f"{spell_cardinal(amount)} {MAGNITUDES[magnitude.lower()]} {plural}"
    integer, _, cents = amount.partition(".")
    if len(cents) != 2 or not part:
        return spell_quantity(amount, unit)
    words = [spell_quantity(integer, unit)] if int(integer) or not int(cents) else []
    words += [spell_quantity(str(int(cents)), part)] if int(cents) else []
    return " and ".join(words)


def _read_clock(match: re.Match) -> str:
    hours, minutes, half = match[1], match[2], match[3]
    if int(hours) > 24 or int(minutes or 0) > 59:
        return match[0]
    words = [num2words(int(hours))]
    if minutes and minutes != "00":
        words += ["oh"] * (minutes[0] == "0") + [num2words(int(minutes))]
    elif not half:
        words += ["o'clock" if int(hours) <= 12 else "hundred hours"]
    return " ".join([*words, *([LETTER_A if half[0] in "aA" else "p", "m"] if half else [])])


def _spell_date(month: str, day: str, year: str | None) -> str:
    name = next((m for m in MONTHS if m.startswith(month[:3])), month)
    return " ".join([name, spell_ordinal(day), *([spell_year(year)] if year else [])])


def _read_slashed_date(match: re.Match) -> str:
    month, day = int(match[1]), int(match[2])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return _spell_date(MONTHS[month - 1], str(day), match[3])


def _read_iso_date(match: re.Match) -> str:
    if not (1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31):
        return match[0]
    return _spell_date(MONTHS[int(match[2]) - 1], match[3], match[1])


def _read_decade(match: re.Match) -> str:
    century, tens = match[1] or "", match[2]
    if century and tens == "00":
        return "two thousands" if century == "20" else f"{num2words(int(century))} hundreds"
    if tens == "00":
        return match[0]
    plural = num2words(int(tens)).removesuffix("y") + "ies" if tens != "10" else "tens"
    return f"{num2words(int(century))} {plural}" if century else plural


def _read_fraction(match: re.Match) -> str:
    integer, top, bottom = match[1], match[2], match[3]
    if not 2 <= int(bottom) <= 100 or int(top) >= int(bottom):
        return f"{spell_cardinal(top)} over {spell_cardinal(bottom)}"
    name = {"2": "half", "4": "quarter"}.get(bottom, spell_ordinal(bottom))
    plural = {"half": "halves"}.get(name, name + "s")
    words = f"{spell_cardinal(top)} {name if top == '1' else plural}"
    return f"{spell_cardinal(integer)} and {words}" if integer else words


def _read_web_address(match: re.Match) -> str:
    text = match[0].rstrip(".,;:!?")
    words = re.sub(r"^https?://", "", text)
    for sign, name in WEB_SIGNS.items():
        words = words.replace(sign, f" {name} ")
    return words + match[0][len(text) :]


def _read_saint_or_doctor(match: re.Match) -> str:
    """St. and Dr. before a name are titles, behind one a place."""
    return {"St": "saint", "Dr": "doctor"}[match[1]] + " "


def _spell_letters(match: re.Match) -> str:
    letters = (letter for letter in match[0] if letter.isalpha())
    return " ".join(LETTER_A if letter in "aA" else letter for letter in letters)


def _read_chapter(match: re.Match) -> str:
    return f"{match[1]} {num2words(_parse_roman(match[2]))}"


def _read_regnal_name(match: re.Match) -> str:
    return f"{match[1]} the {spell_ordinal(_parse_roman(match[2]))}"


def _read_quantity(match: re.Match) -> str:
    return spell_quantity(match[1], UNITS[match[2]])


def _read_abbreviation(match: re.Match) -> str:
    return ABBREVIATIONS[match[1].lower()]


def _read_title(match: re.Match) -> str:
    return TITLES[match[1] or match[2]]


def _read_phone_number(match: re.Match) -> str:
    return ("plus " if match[0].startswith("+") else "") + spell_digits(match[0])


Rule = tuple[re.Pattern, Callable[[re.Match], str]]
RULES: tuple[Rule, ...] = tuple(
    (re.compile(pattern), function)
    for pattern, function in (
        (r"\b\S+@\S+\.\w+|\bhttps?://\S+|\bwww\.\S+|\b\w+\.(?:com|org|net)\b", _read_web_address),
        (rf"([{''.join(MONEY)}])\s?({NUMBER})(?:\s?({_one_of(MAGNITUDES)})\b)?", _read_money),
        (r"\b(\d{1,2}):(\d{2})(?:\s?([AaPp])\.?[Mm]\b\.?)?(?![:\d])", _read_clock),
        (r"\b(\d{1,2})()\s?([AaPp])\.?[Mm]\b\.?", _read_clock),
        (r"\b(\d{4})-(\d{2})-(\d{2})\b", _read_iso_date),
        (r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b", _read_slashed_date),
        (rf"\b{_MONTH}\s(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(\d{{4}}))?\b(?!:)",
         lambda m: _spell_date(m[1], m[2], m[3])),
        (rf"\b(\d{{1,2}})\s({'|'.join(MONTHS)})\b(?:\s(\d{{4}})\b)?",
         lambda m: f"the {spell_ordinal(m[1])} of {m[2]} {spell_year(m[3]) if m[3] else ''}"),
        (r"(?<![\w'])'?(\d\d)?(\d0)'?s\b", _read_decade),
        (r"(?:\+\d{1,3}[\s-])?(?:\(\d{3}\)\s?|\b\d{3}[\s-])?\b\d{3}-\d{4}\b", _read_phone_number),
        (r"(?:\b(\d+)\s)?(?<![\d./])\b(\d{1,3})[/\u2044](\d{1,3})\b(?!/)", _read_fraction),
        (r"\b(\d)'\s?(\d{1,2})\"", lambda m: f"{spell_cardinal(m[1])} foot {spell_cardinal(m[2])}"),
        (r"(?i)\b(\d+)(?:st|nd|rd|th)\b", lambda m: spell_ordinal(m[1])),
        (rf"(?<![\w.]){DASH}(?=\d)", lambda _: "minus "),
        (rf"\b({NUMBER})\s?({_one_of(UNITS)})(?![\w/])", _read_quantity),
        (rf"\b(\d+){DASH}(\d+)\b", lambda m: f"{_spell_number(m[1])} to {_spell_number(m[2])}"),
        (r"\b\d+(?:\.\d+){2,}\b", lambda m: " point ".join(map(spell_cardinal, m[0].split(".")))),
        (r"\b(St|Dr)\.\s(?=[A-Z])", _read_saint_or_doctor),
        (r"\bSt\b\.?(?=[\s,.;!?]|$)", lambda _: "street"),
        (r"\bDr\.(?=[\s,;!?]|$)", lambda _: "drive"),
        (rf"\b(Mr|Mrs|Ms|Dr)\b\.?(?=\s[A-Z])|\b({_one_of(TITLES)})\.(?=\s[A-Z])", _read_title),
        (r"\b[Nn]o\.\s?(?=\d)|#(?=\d)", lambda _: "number "),
        (rf"(?i)\b({_one_of(ABBREVIATIONS)})\.(?=\W|$)", _read_abbreviation),
        (r"(?i)\bvs\b", lambda _: "versus"),
        (rf"\b({'|'.join(NUMBERED_NOUNS)})\s([IVX]+)\b", _read_chapter),
        (rf"\b({'|'.join(REGNAL_NAMES)})\s{_ROMAN}\b", _read_regnal_name),
        (r"\b(?:[A-Za-z]\.){2,}", _spell_letters),
        (r"\b[Aa](?=\d)", lambda _: f"{LETTER_A} "),
        (NUMBER, lambda m: f" {_spell_number(m[0])} "),
    )
)  # fmt: skip
_CAPITALS = re.compile(rf"\b(?:{'|'.join(INITIALISMS)})\b")


def verbalize(text: str) -> str:
    """The text with numbers, signs and abbreviations replaced by the words a reader says."""
    for pattern, function in RULES:
        text = pattern.sub(function, text)
    if any(c.islower() for c in text):  # a text in capitals shows no initialisms
        text = _CAPITALS.sub(_spell_letters, text)
    return text
