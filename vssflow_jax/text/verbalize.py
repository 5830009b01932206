"""English as it is written to English as it is read out: money, dates, times, abbreviations.

Each rule is a pattern and a function of its match; rules run in order over the whole text, so
that "$5.50" is money before it is a number. `num2words` spells the numbers. What may be read in
several ways is read as in American English, and a list of names stays a list: no rule guesses
from more than the words beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from num2words import num2words

LONGEST = 15  # digits of a number; longer ones are read digit by digit
LETTER_A = "a."  # the letter, which CMUdict calls so; "a" is the article

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
WHOLE = ("hertz", "kilohertz", "megahertz", "gigahertz")  # no plural
TITLES = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Dr": "doctor", "Prof": "professor",
    "Capt": "captain", "Gen": "general", "Sgt": "sergeant", "Lt": "lieutenant", "Col": "colonel",
    "Rev": "reverend", "Gov": "governor", "Sen": "senator",
}  # fmt: skip
SHORT = {
    "etc": "et cetera", "vs": "versus", "e.g": "for example", "i.e": "that is", "jr": "junior",
    "sr": "senior", "approx": "approximately", "dept": "department", "inc": "incorporated",
    "ltd": "limited", "corp": "corporation", "co": "company", "ave": "avenue", "rd": "road",
    "blvd": "boulevard", "mt": "mount", "ft": "fort", "est": "established", "vol": "volume",
}  # fmt: skip
SPELLED = ("US", "IT", "AM", "PM")  # in capitals they are no words
KINGS = (
    "Alexander", "Benedict", "Catherine", "Charles", "Edward", "Elizabeth", "Frederick", "George",
    "Henry", "James", "John", "Leo", "Louis", "Mary", "Nicholas", "Paul", "Peter", "Philip",
    "Pius", "Richard", "William",
)  # fmt: skip
COUNTED = (
    "Act", "Article", "Book", "Chapter", "Class", "Episode", "Part", "Phase", "Scene", "Section",
    "Type", "Volume", "War",
)  # fmt: skip
WEB = {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore"}

NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"
DASH = "[-\u2010-\u2015\u2212]"
_MONTH = rf"({'|'.join(MONTHS)}|{'|'.join(m[:3] for m in MONTHS)}|Sept)\.?"
_ROMAN = r"([IVX]{2,}|V|X)"  # a single I is a pronoun, but behind "Chapter"


def _either(words) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# ---- numbers ------------------------------------------------------------------------------


def cardinal(number: str) -> str:
    """A number in digits, with or without commas and decimals."""
    whole, _, fraction = number.replace(",", "").partition(".")
    if len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        spoken = digits(whole)
    else:
        spoken = num2words(int(whole))
    return f"{spoken} point {digits(fraction)}" if fraction else spoken


def digits(number: str) -> str:
    """One digit after the other; what is no digit is left out."""
    return " ".join(num2words(int(digit)) for digit in number if digit.isdigit())


def ordinal(number: str | int) -> str:
    """First, second, ..."""
    return num2words(int(number), to="ordinal")


def year(number: str) -> str:
    """A year as it is read: nineteen oh five, two thousand and seven, twenty twenty four."""
    return num2words(int(number), to="year")


def several(number: str, unit: str) -> str:
    """A number of units: one foot, two feet, five kilometers per hour."""
    head, *rest = unit.split(" ", 1)
    if number != "1" and head not in WHOLE:
        head = PLURALS.get(head, head + "s")
    return " ".join([cardinal(number), head, *rest])


def _plain(number: str) -> str:
    if len(number) == 4 and number.isdigit() and 1100 <= int(number) < 2100:
        return year(number)
    return cardinal(number)


def _roman(letters: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in letters]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


# ---- rules --------------------------------------------------------------------------------


def _money(match: re.Match) -> str:
    sign, amount, magnitude = match[1], match[2].replace(",", ""), match[3]
    unit, part = MONEY[sign]
    if magnitude:
        return f"{cardinal(amount)} {MAGNITUDES[magnitude.lower()]} {PLURALS.get(unit, unit + 's')}"
    whole, _, cents = amount.partition(".")
    if len(cents) != 2 or not part:
        return several(amount, unit)
    spoken = [several(whole, unit)] if int(whole) or not int(cents) else []
    spoken += [several(str(int(cents)), part)] if int(cents) else []
    return " and ".join(spoken)


def _clock(match: re.Match) -> str:
    hours, minutes, half = match[1], match[2], match[3]
    if int(hours) > 24 or int(minutes or 0) > 59:
        return match[0]
    said = [num2words(int(hours))]
    if minutes and minutes != "00":
        said += ["oh"] * (minutes[0] == "0") + [num2words(int(minutes))]
    elif not half:
        said += ["o'clock" if int(hours) <= 12 else "hundred hours"]
    return " ".join([*said, *([LETTER_A if half[0] in "aA" else "p", "m"] if half else [])])


def _date(month: str, day: str, year_: str | None) -> str:
    name = next((m for m in MONTHS if m.startswith(month[:3])), month)
    return " ".join([name, ordinal(day), *([year(year_)] if year_ else [])])


def _slashed(match: re.Match) -> str:
    month, day = int(match[1]), int(match[2])
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return _date(MONTHS[month - 1], str(day), match[3])


def _iso(match: re.Match) -> str:
    if not (1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31):
        return match[0]
    return _date(MONTHS[int(match[2]) - 1], match[3], match[1])


def _decade(match: re.Match) -> str:
    century, tens = match[1] or "", match[2]
    if century and tens == "00":
        return "two thousands" if century == "20" else f"{num2words(int(century))} hundreds"
    if tens == "00":
        return match[0]
    plural = num2words(int(tens)).removesuffix("y") + "ies" if tens != "10" else "tens"
    return f"{num2words(int(century))} {plural}" if century else plural


def _fraction(match: re.Match) -> str:
    whole, top, bottom = match[1], match[2], match[3]
    if not 2 <= int(bottom) <= 100 or int(top) >= int(bottom):
        return f"{cardinal(top)} over {cardinal(bottom)}"
    name = {"2": "half", "4": "quarter"}.get(bottom, ordinal(bottom))
    plural = {"half": "halves"}.get(name, name + "s")
    said = f"{cardinal(top)} {name if top == '1' else plural}"
    return f"{cardinal(whole)} and {said}" if whole else said


def _web(match: re.Match) -> str:
    text = match[0].rstrip(".,;:!?")
    said = re.sub(r"^https?://", "", text)
    for sign, word in (
        ("@", "at"),
        (".", "dot"),
        ("/", "slash"),
        ("-", "dash"),
        ("_", "underscore"),
    ):
        said = said.replace(sign, f" {word} ")
    return said + match[0][len(text) :]


def _street(match: re.Match) -> str:
    """St. and Dr. before a name are titles, behind one a place."""
    return {"St": "saint", "Dr": "doctor"}[match[1]] + " "


def _letters(match: re.Match) -> str:
    letters = (letter for letter in match[0] if letter.isalpha())
    return " ".join(LETTER_A if letter in "aA" else letter for letter in letters)


def _chapter(match: re.Match) -> str:
    return f"{match[1]} {num2words(_roman(match[2]))}"


def _title(match: re.Match) -> str:
    return TITLES[match[1] or match[2]]


def _digits_of(match: re.Match) -> str:
    return ("plus " if match[0].startswith("+") else "") + digits(match[0])


Rule = tuple[re.Pattern, Callable[[re.Match], str]]
RULES: tuple[Rule, ...] = tuple(
    (re.compile(pattern), function)
    for pattern, function in (
        (r"\b\S+@\S+\.\w+|\bhttps?://\S+|\bwww\.\S+|\b\w+\.(?:com|org|net)\b", _web),
        (rf"([{''.join(MONEY)}])\s?({NUMBER})(?:\s?({_either(MAGNITUDES)})\b)?", _money),
        (r"\b(\d{1,2}):(\d{2})(?:\s?([AaPp])\.?[Mm]\b\.?)?(?![:\d])", _clock),
        (r"\b(\d{1,2})()\s?([AaPp])\.?[Mm]\b\.?", _clock),
        (r"\b(\d{4})-(\d{2})-(\d{2})\b", _iso),
        (r"\b(\d{1,2})/(\d{1,2})/(\d{4})\b", _slashed),
        (rf"\b{_MONTH}\s(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(\d{{4}}))?\b(?!:)",
         lambda m: _date(m[1], m[2], m[3])),
        (rf"\b(\d{{1,2}})\s({'|'.join(MONTHS)})\b(?:\s(\d{{4}})\b)?",
         lambda m: f"the {ordinal(m[1])} of {m[2]} {year(m[3]) if m[3] else ''}"),
        (r"(?<![\w'])'?(\d\d)?(\d0)'?s\b", _decade),
        (r"(?:\+\d{1,3}[\s-])?(?:\(\d{3}\)\s?|\b\d{3}[\s-])?\b\d{3}-\d{4}\b", _digits_of),
        (r"(?:\b(\d+)\s)?(?<![\d./])\b(\d{1,3})[/\u2044](\d{1,3})\b(?!/)", _fraction),
        (r"\b(\d)'\s?(\d{1,2})\"", lambda m: f"{cardinal(m[1])} foot {cardinal(m[2])}"),
        (r"(?i)\b(\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1])),
        (rf"(?<![\w.]){DASH}(?=\d)", lambda _: "minus "),
        (rf"\b({NUMBER})\s?({_either(UNITS)})(?![\w/])", lambda m: several(m[1], UNITS[m[2]])),
        (rf"\b(\d+){DASH}(\d+)\b", lambda m: f"{_plain(m[1])} to {_plain(m[2])}"),
        (r"\b\d+(?:\.\d+){2,}\b", lambda m: " point ".join(map(cardinal, m[0].split(".")))),
        (r"\b(St|Dr)\.\s(?=[A-Z])", _street),
        (r"\bSt\b\.?(?=[\s,.;!?]|$)", lambda _: "street"),
        (r"\bDr\.(?=[\s,;!?]|$)", lambda _: "drive"),
        (rf"\b(Mr|Mrs|Ms|Dr)\b\.?(?=\s[A-Z])|\b({_either(TITLES)})\.(?=\s[A-Z])", _title),
        (r"\b[Nn]o\.\s?(?=\d)|#(?=\d)", lambda _: "number "),
        (rf"(?i)\b({_either(SHORT)})\.(?=\W|$)", lambda m: SHORT[m[1].lower()]),
        (r"(?i)\bvs\b", lambda _: "versus"),
        (rf"\b({'|'.join(COUNTED)})\s([IVX]+)\b", _chapter),
        (rf"\b({'|'.join(KINGS)})\s{_ROMAN}\b", lambda m: f"{m[1]} the {ordinal(_roman(m[2]))}"),
        (r"\b(?:[A-Za-z]\.){2,}", _letters),
        (r"\b[Aa](?=\d)", lambda _: f"{LETTER_A} "),
        (NUMBER, lambda m: f" {_plain(m[0])} "),
    )
)  # fmt: skip
_CAPITALS = re.compile(rf"\b(?:{'|'.join(SPELLED)})\b")


def read_out(text: str) -> str:
    """The text with everything that is no word written as the words that are said."""
    for pattern, function in RULES:
        text = pattern.sub(function, text)
    if any(c.islower() for c in text):  # in a text of capitals they say nothing
        text = _CAPITALS.sub(_letters, text)
    return text
