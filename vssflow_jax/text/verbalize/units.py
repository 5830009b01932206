"""Quantities: a number with a unit of measurement, its powers and quotients."""

from __future__ import annotations

import re

from vssflow_jax.text.verbalize.numbers import (
    FRACTION,
    TO,
    VALUE,
    spell_cardinal,
    spell_value,
)
from vssflow_jax.text.verbalize.rule import Rule, one_of, replace_by

PREFIXES = {
    "p": "pico", "n": "nano", "\u03bc": "micro", "m": "milli", "c": "centi", "d": "deci",
    "h": "hecto", "k": "kilo", "K": "kilo", "M": "mega", "G": "giga", "T": "tera",
}  # fmt: skip
PREFIXED = {  # name, and the prefixes that are in use
    "m": ("meter", "n\u03bcmcdkK"), "g": ("gram", "n\u03bcmkK"), "l": ("liter", "\u03bcmcdh"),
    "L": ("liter", "\u03bcmcd"), "s": ("second", "n\u03bcm"), "Hz": ("hertz", "kKMGT"),
    "hz": ("hertz", "kKMG"), "W": ("watt", "mkKMGT"), "V": ("volt", "mkKM"),
    "A": ("amp", "\u03bcmk"), "J": ("joule", "kM"), "N": ("newton", "kM"),
    "Pa": ("pascal", "hkM"), "B": ("byte", "kKMGT"), "b": ("bit", "kKMGT"),
    "bps": ("bit per second", "kKMGT"), "F": ("farad", "pn\u03bc"), "\u03a9": ("ohm", "kKM"),
    "mol": ("mole", "m"), "cal": ("calorie", "k"), "eV": ("electron volt", "kMGT"),
    "Wh": ("watt hour", "kKMGT"), "Ah": ("amp hour", "m"), "Sv": ("sievert", "\u03bcm"),
}  # fmt: skip
ALONE = ("m", "g", "l", "L", "s", "Hz", "W", "V", "Pa", "bps", "\u03a9", "mol", "cal", "eV")
UNITS = {prefix + unit: PREFIXES[prefix] + name for unit, (name, prefixes) in PREFIXED.items()
         for prefix in prefixes} | {unit: PREFIXED[unit][0] for unit in ALONE} | {
    "k\u03a9": "kilohm", "M\u03a9": "megohm", "kb": "kilobyte", "mb": "megabyte",
    "gb": "gigabyte", "tb": "terabyte",
    "mbps": "megabit per second", "db": "decibel", "kw": "kilowatt", "kwh": "kilowatt hour",
    "%": "percent", "\u2030": "per mille", "\u00b0": "degree", "\u00b0C": "degree celsius",
    "\u00b0F": "degree fahrenheit", "\u00b0 C": "degree celsius", "\u00b0 F": "degree fahrenheit",
    "kmh": "kilometer per hour", "km/h": "kilometer per hour", "kph": "kilometer per hour",
    "mph": "mile per hour", "ft": "foot", "yd": "yard", "yds": "yard", "mi": "mile",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "fl oz": "fluid ounce", "fl. oz": "fluid ounce",
    "gal": "gallon", "qt": "quart", "pt": "pint", "tsp": "teaspoon", "tbsp": "tablespoon",
    "cc": "cubic centimeter", "ha": "hectare", "sec": "second", "secs": "second",
    "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "wk": "week",
    "wks": "week", "mo": "month", "mos": "month", "yr": "year", "yrs": "year",
    "ft-lb": "foot pound", "ft-lbs": "foot pound", "mmHg": "millimeter of mercury",
    "dB": "decibel", "bpm": "beat per minute", "rpm": "revolution per minute",
    "fps": "frame per second", "psi": "pound per square inch", "hp": "horsepower",
    "px": "pixel", "dpi": "dot per inch", "ppm": "part per million", "MP": "megapixel",
    "l/100km": "liter per one hundred kilometers", "L/100km": "liter per one hundred kilometers",
    "l/100 km": "liter per one hundred kilometers", "L/100 km": "liter per one hundred kilometers",
    "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte",
}  # fmt: skip
PLURALS = {
    "foot": "feet", "inch": "inches", "percent": "percent", "per mille": "per mille",
    "degree celsius": "degrees celsius", "degree fahrenheit": "degrees fahrenheit",
    "horsepower": "horsepower", "electron volt": "electron volts",
}  # fmt: skip
LENGTHS = {"m", "mm", "cm", "dm", "km", "ft", "in", "mi", "yd", "yds"}  # their powers are areas
PERIODS = {
    "s": "second", "sec": "second", "second": "second", "min": "minute", "minute": "minute",
    "h": "hour", "hr": "hour", "hour": "hour", "day": "day", "night": "night", "wk": "week",
    "week": "week", "mo": "month", "month": "month", "yr": "year", "year": "year",
    "person": "person", "kg": "kilogram", "lb": "pound", "km": "kilometer", "mile": "mile",
}  # fmt: skip
_ABBREVIATED = [symbol for symbol, name in PERIODS.items() if symbol != name]
ABBREVIATIONS = (
    "kg",
    "km",
    "cm",
    "mph",
    "lbs",
    "oz",
    "ml",
    "mg",
    "kcal",
    "hrs",
    "mins",
    "secs",
    "yrs",
)  # never words, as "mm" is in "mm, good"
NOT_WORDS = (  # read without a number as well
    "km/h", "kWh", "kHz", "MHz", "GHz", "kB", "KB", "MB", "GB", "TB", "m/s", "\u00b0C",
    "\u00b0F", "\u00b0",
)  # fmt: skip

_SYMBOL = one_of([*UNITS, "in"])
UNIT = rf"{_SYMBOL}\.?(?:\^?[23])?(?:/{_SYMBOL}(?:\^?[23])?)?"
_PARTS = re.compile(rf"({_SYMBOL})\.?\^?([23])?(?:/({_SYMBOL})\^?([23])?)?")
END = r"(?![A-Za-z0-9\u0370-\u03ff^])(?!'\w)"
QUOTES_WITHIN = 200  # characters in which an open quotation is looked for


def name_unit(symbol: str) -> str:
    """A unit's name in the singular: square meter, mile per hour, meter per second squared."""
    if symbol in UNITS:
        return UNITS[symbol]
    top, power, bottom, bottom_power = _PARTS.fullmatch(symbol).groups()
    name = _name_power(top, power)
    return f"{name} per {_name_power(bottom, bottom_power)}" if bottom else name


def _name_power(symbol: str, power: str | None) -> str:
    name = "inch" if symbol == "in" else UNITS[symbol]
    if not power:
        return name
    if symbol in LENGTHS:
        return f"{'square' if power == '2' else 'cubic'} {name}"
    return f"{name} {'squared' if power == '2' else 'cubed'}"


def pluralize(name: str) -> str:
    """The plural of a unit's name: square feet, miles per hour."""
    if name in PLURALS:
        return PLURALS[name]
    name, per, rest = re.fullmatch("(.*?)( per | of |$)(.*)", name).groups()
    adjective, blank, noun = name.rpartition(" ")
    plural = noun if noun.endswith("hertz") else PLURALS.get(noun, noun + "s")
    return f"{adjective}{blank}{plural}{per}{rest}"


def spell_quantity(number: str, unit: str) -> str:
    """A number of units: one foot, two feet, half a kilometer."""
    words = spell_value(number)
    if re.fullmatch(FRACTION, number) and " " not in number and "over" not in words:
        if unit in ("percent", "per mille"):
            return f"{words} {unit}"
        article = "an" if unit[0] in "aeio" or unit.startswith("hour") else "a"
        return f"half {article} {unit}" if words == "one half" else f"{words} of {article} {unit}"
    return f"{words} {unit if number == '1' else pluralize(unit)}"


def _follows_article(match: re.Match) -> bool:
    """Whether the word before a match is "a" or "an": "an 8 km run", not "ran 8 km"."""
    return bool(re.search(r"\ban? $", match.string[max(match.start() - 4, 0) : match.start()]))


def _read_range(match: re.Match) -> str | None:
    low, high, gap, symbol = match.groups()
    if symbol == "in" and gap:  # "1-5 in 10"
        return None
    return f"{spell_value(low)} to {spell_quantity(high, name_unit(symbol.rstrip('.')))}"


def _read_quantity(match: re.Match) -> str | None:
    number, gap, symbol = match.groups()
    number = re.sub(r"^(\d+),(\d{1,2})$", r"\1.\2", number)  # 5,5 km
    if symbol == "in" and gap:  # "5 in a row"
        return None
    name = name_unit(symbol.rstrip("."))
    if gap == "-" or _follows_article(match):  # "a 10-km run", "a 10 km run"
        return f"{spell_value(number)} {name}"
    return spell_quantity(number, name)


def _read_area(match: re.Match) -> str:
    number, kind, symbol = match.groups()
    adjective = "square" if kind == "sq" else "cubic"
    return spell_quantity(number, f"{adjective} {'inch' if symbol == 'in' else UNITS[symbol]}")


def _read_mark(match: re.Match) -> str | None:
    """5" is five inches and 5' five feet, unless the sign closes a quotation."""
    number, mark = match.groups()
    before = match.string[max(match.start() - QUOTES_WITHIN, 0) : match.start()]
    if mark == "'" and re.search(r"(?<!\w)'\w", before):
        return None
    if mark == '"' and _is_quotation_open(before):
        return None
    name = "foot" if mark == "'" else "inch"
    if _follows_article(match) or re.fullmatch(FRACTION, number):
        return f"{spell_value(number)} {name}"
    return spell_quantity(number, name)


def _is_quotation_open(text: str) -> bool:
    """Whether a text ends within a quotation, which no sign behind a number opens."""
    is_open = False
    for sign in re.finditer('"', text):
        is_inch = not is_open and text[sign.start() - 1 : sign.start()].isdigit()
        is_open = not (is_open or is_inch)
    return is_open


def _read_by(match: re.Match) -> str | None:
    before = match.string[max(match.start() - 6, 0) : match.start()]
    return "by" if re.search(r"\d\s?(?:[cmk]?m|in|ft|yd|\"|')\s?$", before) else None


RULES = (
    Rule(
        "height",
        r"(?<!\w)(\d{1,3})'\s?(\d{1,2}(?:\.\d)?)(?:\"|'')?(?![\w'])",
        lambda m: f"{spell_cardinal(m[1])} foot {spell_cardinal(m[2])}",
    ),
    Rule(
        "height",
        r"(\d{1,3})\s?(?:ft\.?|feet|foot)\s?(\d{1,2})(?:(?<=ft\d)|(?<=ft\d\d)"
        r"|\s?in(?:\.|ch|ches)?)(?!\w)",
        lambda m: f"{spell_quantity(m[1], 'foot')} {spell_quantity(m[2], 'inch')}",
    ),
    Rule(
        "dimensions",
        rf"({VALUE})\"\s?[x\u00d7]\s?({VALUE})\"|({VALUE})'\s?[x\u00d7]\s?({VALUE})'",
        lambda m: (
            f"{spell_value(m[1] or m[3])} by "
            + spell_quantity(m[2] or m[4], "inch" if m[1] else "foot")
        ),
    ),
    Rule("inches or feet", rf"({VALUE})(\"|''|\s?in\.(?=\s[a-z(])|'(?=\s[a-z]))", _read_mark),
    Rule(
        "angle",
        r"(\d{1,3})\u00b0\s?(\d{1,2})'(?:\s?(\d{1,2}(?:\.\d{1,6})?)(?:\"|''))?",
        lambda m: " ".join(
            spell_quantity(number, unit)
            for number, unit in zip(m.groups(), ("degree", "minute", "second"), strict=True)
            if number
        ),
    ),
    Rule("extension", r"(?<=\d{4} )x(?=\d{1,5}(?!\w))", replace_by("extension")),
    Rule("by", r"[x\u00d7](?=\s?\d)", _read_by),
    Rule(
        "time span",
        r"(\d{1,3})h\s?(\d{1,2})(?:\s?m(?:ins?)?)?(?!\w)",
        lambda m: f"{spell_quantity(m[1], 'hour')} {spell_quantity(m[2], 'minute')}",
    ),
    Rule(
        "time span",
        r"(\d{1,3})\s?m(?:in)?\s?(\d{1,2})\s?s(?:ec)?(?!\w)",
        lambda m: f"{spell_quantity(m[1], 'minute')} {spell_quantity(m[2], 'second')}",
    ),
    Rule(
        "area",
        rf"({VALUE})\s?(sq|cu)\.?\s?({one_of(LENGTHS)})\.?{END}",
        _read_area,
    ),
    Rule("quantity", rf"({VALUE})(?:\s?{UNIT})?{TO}({VALUE})([ -]?)({UNIT}){END}", _read_range),
    Rule("quantity", rf"(\d{{1,6}},\d{{1,2}}|{VALUE})([ -]?)({UNIT}){END}", _read_quantity),
    Rule(
        "quotient",
        rf"(?<=\w)/({one_of(_ABBREVIATED)})(?!\w)|(?<=[\ds])/({one_of(PERIODS)})(?!\w)"
        rf"|(?<=\d)/({UNIT}){END}",
        lambda m: f"per {name_unit(m[3]) if m[3] else PERIODS[m[1] or m[2]]}",
    ),
    Rule(
        "unit",
        rf"(?<![A-Za-z])(?:{_SYMBOL}(?:(?<=\w\w)|(?<=[gL]))/{_SYMBOL}|{one_of(NOT_WORDS)})(?!'?[A-Za-z])",
        lambda m: pluralize(name_unit(m[0])),
    ),
)
