"""Amounts of money: signs and codes before and behind the number, cents, millions, ranges."""

from __future__ import annotations

import re
import unicodedata

from vssflow_jax.text.verbalize.numbers import MAGNITUDES, TO, VALUE, spell_magnitude, spell_value
from vssflow_jax.text.verbalize.rule import Rule, one_of

SIGNS = "$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20c0"  # of a class
# A sign that is not listed is called by its name in Unicode.
CURRENCIES = {  # sign or code: unit, its hundredth part
    "$": ("dollar", "cent"), "\u00a3": ("pound", "penny"), "\u20ac": ("euro", "cent"),
    "\u00a5": ("yen", ""), "\u00a2": ("cent", ""), "\u20b9": ("rupee", "paisa"),
    "\u20bd": ("ruble", "kopeck"), "\u20ba": ("lira", ""), "\u20aa": ("shekel", ""),
    "\u20b1": ("peso", "centavo"), "\u0e3f": ("baht", ""), "\u20a8": ("rupee", "paisa"),
    "US$": ("u s dollar", "cent"), "CA$": ("canadian dollar", "cent"),
    "C$": ("canadian dollar", "cent"), "AU$": ("australian dollar", "cent"),
    "A$": ("australian dollar", "cent"), "NZ$": ("new zealand dollar", "cent"),
    "HK$": ("hong kong dollar", "cent"), "SG$": ("singapore dollar", "cent"),
    "S$": ("singapore dollar", "cent"), "NT$": ("new taiwan dollar", "cent"),
    "MX$": ("mexican peso", "centavo"), "R$": ("real", "centavo"),
    "USD": ("u s dollar", "cent"), "CAD": ("canadian dollar", "cent"),
    "AUD": ("australian dollar", "cent"), "NZD": ("new zealand dollar", "cent"),
    "HKD": ("hong kong dollar", "cent"), "SGD": ("singapore dollar", "cent"),
    "EUR": ("euro", "cent"), "GBP": ("british pound", "penny"), "JPY": ("japanese yen", ""),
    "CNY": ("chinese yuan", ""), "RMB": ("chinese yuan", ""), "INR": ("indian rupee", "paisa"),
    "CHF": ("swiss franc", "centime"), "SEK": ("swedish krona", ""),
    "NOK": ("norwegian krone", ""), "DKK": ("danish krone", ""), "PLN": ("polish zloty", ""),
    "CZK": ("czech koruna", ""), "HUF": ("hungarian forint", ""), "RUB": ("russian ruble", ""),
    "TRY": ("turkish lira", ""), "BRL": ("brazilian real", "centavo"),
    "MXN": ("mexican peso", "centavo"), "ZAR": ("south african rand", "cent"),
    "KRW": ("korean won", ""), "THB": ("thai baht", ""), "ILS": ("israeli shekel", ""),
    "AED": ("u a. e dirham", ""), "SAR": ("saudi riyal", ""), "BTC": ("bitcoin", ""),
    "kr": ("krona", ""), "zl": ("zloty", ""), "Rs": ("rupee", "paisa"), "Rs.": ("rupee", "paisa"),
}  # fmt: skip
INVARIANT = {"yen", "yuan", "won", "baht", "rand", "lira", "hryvnia", "naira", "dong", "kip"}
PLURALS = {"penny": "pence", "krona": "kronor", "krone": "kroner", "paisa": "paise"}

_CODES = [code for code in CURRENCIES if len(code) > 1]
_SPACED = [code.replace("$", " $") for code in _CODES if code[2:] == "$"]  # "US $50"
CODE = rf"(?<!\w){one_of([*_CODES, *_SPACED])}"
SIGN = rf"(?:{CODE}|[{SIGNS}])"
# 1.234,56 and 3,50 are amounts in much of Europe
AMOUNT = rf"(?:\d{{1,3}}(?:\.\d{{3}}){{1,4}},\d{{2}}(?!\d)|\d{{1,12}},\d{{2}}(?![\d,])|{VALUE})"
MAGNITUDE = rf"(?:[\s-]?((?i:{one_of(MAGNITUDES)}))(?!\w))?"
_CONTINENTAL = re.compile(r"[\d.]+,\d{2}")


def pluralize(unit: str) -> str:
    """The plural of a unit of money."""
    head, _, noun = unit.rpartition(" ")
    plural = noun if noun in INVARIANT else PLURALS.get(noun, noun + "s")
    return f"{head} {plural}".strip()


def find_unit(sign: str) -> tuple[str, str]:
    """Unit and hundredth part of a sign or code; the part is empty where nobody counts it."""
    sign = sign.replace(" ", "")
    if sign in CURRENCIES:
        return CURRENCIES[sign]
    return unicodedata.name(sign).lower().removesuffix(" sign"), ""


def spell_money(amount: str, sign: str, magnitude: str | None = None) -> str:
    """An amount in digits with its currency: five dollars and fifty cents."""
    unit, part = find_unit(sign)
    amount = _plain(amount)
    if magnitude:
        return f"{spell_value(amount)} {spell_magnitude(magnitude)} {pluralize(unit)}"
    integer, _, cents = amount.partition(".")
    if not part and not cents.strip("0"):
        return _count(integer, unit)
    if not (part and len(cents) == 2 and cents.isdigit()):
        return f"{spell_value(amount)} {unit if amount == '1' else pluralize(unit)}"
    has_units = int(integer or 0) or not int(cents)
    words = [_count(integer, unit)] if has_units else []
    words += [_count(str(int(cents)), part)] if int(cents) else []
    return " and ".join(words)


def _count(number: str, unit: str) -> str:
    return f"{spell_value(number)} {unit if number == '1' else pluralize(unit)}"


def _plain(amount: str) -> str:
    """The amount with a decimal point and without separators."""
    if _CONTINENTAL.fullmatch(amount):
        amount = amount.replace(".", "").replace(",", ".")
    return amount.replace(",", "")


def _read_range(match: re.Match) -> str:
    sign, low, low_magnitude, high, magnitude = match.groups()
    low = f"{spell_value(_plain(low))} {spell_magnitude(low_magnitude)}"
    return f"{low} to {spell_money(high, sign, magnitude)}"


def _read_before(match: re.Match) -> str:
    sign, minus, amount, magnitude, code = match.groups()  # "$50 USD" has both
    return f"{'minus ' if minus else ''}{spell_money(amount, code or sign, magnitude)}"


RULES = (
    Rule(
        "money",
        rf"({SIGN})\s?({AMOUNT}){MAGNITUDE}{TO}{SIGN}?({AMOUNT}){MAGNITUDE}(?![-\w%])",
        _read_range,
    ),
    Rule("money", rf"({SIGN})\s?(-?)({AMOUNT}){MAGNITUDE}(?:\s({CODE})(?!\w))?", _read_before),
    Rule(
        "money",
        rf"({AMOUNT})\s?{TO}({AMOUNT}){MAGNITUDE}\s?({SIGN})(?!\w)",
        lambda m: f"{spell_value(_plain(m[1]))} to {spell_money(m[2], m[4], m[3])}",
    ),
    Rule(
        "money",
        rf"({AMOUNT}){MAGNITUDE}\s?({SIGN})(?!\w|\s\d)",
        lambda m: spell_money(m[1], m[3], m[2]),
    ),
    Rule("money", rf"[{SIGNS}]", lambda m: pluralize(find_unit(m[0])[0])),
)
