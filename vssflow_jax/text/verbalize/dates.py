"""Dates, decades and times of day, as in American English."""

from __future__ import annotations

import re

from num2words import num2words

from vssflow_jax.text.verbalize.numbers import TO, spell_cardinal, spell_ordinal, spell_year
from vssflow_jax.text.verbalize.rule import Rule, one_of

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
DAYS = {
    "Mon": "monday", "Tue": "tuesday", "Tues": "tuesday", "Wed": "wednesday", "Thu": "thursday",
    "Thur": "thursday", "Thurs": "thursday", "Fri": "friday", "Sat": "saturday", "Sun": "sunday",
}  # fmt: skip
NEWEST = 2060  # the last year that two digits can mean; 61 is 1961
DECADE_WORDS = ("the", "his", "her", "their", "our", "my", "your", "early", "mid", "late",
                "roaring", "swinging")  # fmt: skip
BEFORE_DATES = ("on", "since", "until", "before", "after", "by", *(
    day + end for day in DAYS for end in ("", ".", ",", ".,")))  # fmt: skip

_SHORT = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
MONTH = rf"({one_of([*MONTHS, *_SHORT])})\.?"
DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(\d{4})(?!\d)"
END = r"(?![\d%/]|[:.,]\d)"
HALF = r"([AaPp])\.?\s?[Mm](?!\w)\.?"
CLOCK = r"(\d{1,2})(?::(\d{2}))?"


def spell_date(month: int, day: str, year: str | None) -> str | None:
    """March fourteenth twenty fifteen; None where there is no such day."""
    if not (1 <= month <= 12 and 1 <= int(day) <= 31):
        return None
    return " ".join([MONTHS[month - 1], spell_ordinal(day), *_spell_years(year)])


def spell_clock(hours: str, minutes: str | None, half: str | None = None) -> str | None:
    """Ten oh five a. m, seven o'clock, fourteen hundred hours; None where there is no such time."""
    if int(hours) > 24 or int(minutes or 0) > 59:
        return None
    words = [num2words(int(hours))]
    if minutes and minutes != "00":
        words += ["oh"] * (minutes[0] == "0") + [num2words(int(minutes))]
    elif not half:
        words += ["o'clock" if int(hours) <= 12 else "hundred hours"]
    return " ".join([*words, *(spell_half(half) if half else [])])


def spell_half(letter: str) -> list[str]:
    """Letters of a.m. or p.m."""
    return ["a." if letter in "aA" else "p", "m"]


def _spell_years(year: str | None) -> list[str]:
    if not year:
        return []
    if len(year) == 2:
        year = f"{20 if 2000 + int(year) <= NEWEST else 19}{year}"
    return [spell_year(year)]


def _number_month(name: str) -> int:
    return MONTHS.index(_SHORT.get(name, name)) + 1


def _read_numeric(match: re.Match) -> str | None:
    """Month and day, or the other way round where only that can be."""
    first, second, year = match.groups()
    if int(first) > 12:
        first, second = second, first
    return spell_date(int(first), second, year)


def _read_day_first(match: re.Match) -> str | None:
    day, month, year = [part for part in match.groups() if part]
    return spell_date(int(month), day, year)


def _read_days(match: re.Match) -> str | None:
    """May fifth, May fifth to seventh."""
    month, day, last, year = match.groups()
    start = spell_date(_number_month(month), day, None)
    if start is None or int(last or 0) > 31:
        return None
    end = ["to", spell_ordinal(last)] if last else []
    return " ".join([start, *end, *_spell_years(year)])


def _read_day_and_month(match: re.Match) -> str | None:
    day, month, year = match.groups()
    if not 1 <= int(day) <= 31:
        return None
    name = MONTHS[_number_month(month) - 1]
    return " ".join(["the", spell_ordinal(day), "of", name, *_spell_years(year)])


def _read_decade(match: re.Match) -> str | None:
    *before, century, tens, word, later = match.groups()
    if not century and tens == "00":
        return None
    more = [{"-": "to"}.get(word, word), _spell_decade(None, later)] if later else []
    return " ".join([*(part or "" for part in before), _spell_decade(century, tens), *more])


def _spell_decade(century: str | None, tens: str) -> str:
    if century and tens == "00":
        return "two thousands" if century == "20" else f"{num2words(int(century))} hundreds"
    plural = num2words(int(tens)).removesuffix("y") + "ies" if tens != "10" else "tens"
    return f"{num2words(int(century))} {plural}" if century else plural


def _read_season(match: re.Match) -> str | None:
    """2020/21 is one year and the next."""
    first, second = match.groups()
    if not 1100 <= int(first) < 2100 or (int(first) + 1 - int(second)) % 100:
        return None
    return f"{spell_year(first)} {spell_year(second) if len(second) == 4 else _spell_short(second)}"


def _read_short_year(match: re.Match) -> str:
    return _spell_short(match[1])


def _spell_short(year: str) -> str:
    return f"oh {num2words(int(year))}" if year[0] == "0" else num2words(int(year))


def _read_time(match: re.Match) -> str | None:
    hours, minutes, seconds, half = match.groups()
    if not seconds:
        return spell_clock(hours, minutes, half)
    if int(minutes) > 59 or float(seconds) >= 60:
        return None
    hours = re.sub(r"^0(?=\d)", "", hours)
    words = [spell_cardinal(hours), _spell_two_digits(minutes), _spell_two_digits(seconds)]
    return " ".join([*words, *(spell_half(half) if half else [])])


def _spell_two_digits(number: str) -> str:
    """Forty five; oh three for 03, zero for 00."""
    is_small = number.startswith("0") and not number.startswith("00")
    return "oh " * is_small + spell_cardinal(re.sub(r"^0(?=\d)", "", number))


def _read_times(match: re.Match) -> str | None:
    """9am-5pm, 10-11 a.m."""
    hours, minutes, half, later, later_minutes, later_half = match.groups()
    start = spell_clock(hours, minutes, half) if half or minutes else spell_cardinal(hours)
    end = spell_clock(later, later_minutes, later_half)
    return f"{start} to {end}" if start and end and int(hours) <= 24 else None


_DECADE = r"(\d\d)?(\d0)'?s(?!\w)(?:\s?(and|or|to|-)\s?'?(\d0)s(?!\w))?"
RULES = (
    Rule(
        "date",
        r"(?<![\w./-])(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:(?!\w)|T(?=\d))(?![/-]|\.\d)",
        lambda m: spell_date(int(m[2]), m[3], m[1]),
    ),
    Rule("date", r"(?<![\w./])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])", _read_numeric),
    Rule("date", r"(?<![\w./-])(\d{1,2})-(\d{1,2})-(\d{4})(?![\w/-])", _read_numeric),
    Rule(
        "date",
        r"(?<![\w./-])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w/-]|\.\d)"
        r"|(?<![\w./-])(\d\d)\.(\d\d)\.(\d\d)(?![\w/-]|\.\d)",
        _read_day_first,
    ),
    Rule(
        "date",
        rf"(?i:(?<!\w)({one_of(BEFORE_DATES)})\s)(\d{{1,2}})/(\d{{1,2}})(?![\w/-])",
        lambda m: (
            None
            if m[2] + m[3] == "911" or (date := spell_date(int(m[2]), m[3], None)) is None
            else f"{DAYS.get(m[1].rstrip('.,'), m[1])} {date}"
        ),
    ),
    Rule(
        "date",
        rf"(?<!\w){MONTH}\s{DAY}(?!\w)(?:{TO}{DAY}(?!\w))?(?:,?\s{YEAR})?{END}",
        _read_days,
    ),
    Rule(
        "date",
        rf"(?<![\w./])(?:(?i:the)\s)?(\d{{1,2}})(?:st|nd|rd|th)?[\s-](?:of\s)?{MONTH}(?!\w)"
        rf"(?:,?[\s-]{YEAR})?",
        _read_day_and_month,
    ),
    Rule("month", rf"(?<!\w){MONTH}(?<=\.)(?=\s\d)", lambda m: MONTHS[_number_month(m[1]) - 1]),
    Rule("month", rf"(?<!\w)({one_of(_SHORT)})(?=\s\d{{4}}(?!\d))", lambda m: _SHORT[m[1]]),
    Rule(
        "months",
        rf"(?<!\w){MONTH}{TO}{MONTH}(?!\w|\s?\d{{1,2}}(?!\d))",
        lambda m: f"{MONTHS[_number_month(m[1]) - 1]} to {MONTHS[_number_month(m[2]) - 1]}",
    ),
    Rule(
        "days of the week",
        rf"(?<!\w)({one_of(DAYS)})\.?-({one_of(DAYS)})(?!\w)\.?",
        lambda m: f"{DAYS[m[1]]} to {DAYS[m[2]]}",
    ),
    Rule(
        "day of the week",
        rf"(?<!\w)({one_of(DAYS)})(?:\.,|,|\.)(?=\s(?:{MONTH}|\d))",
        lambda m: DAYS[m[1]],
    ),
    Rule(
        "decade",
        rf"(?i:(?<!\w)({one_of(DECADE_WORDS)})[\s-]((?:early|mid|late)[\s-])?)'?{_DECADE}",
        _read_decade,
    ),
    Rule("decade", rf"(?<![\w'])(?:'(?=\d0s)|(?=\d{{4}}|\d0's)){_DECADE}", _read_decade),
    Rule("year", r"(?<![\w.,])(\d{3,4})(?=\s(?:AD|BC|CE|BCE)(?!\w))", lambda m: spell_year(m[1])),
    Rule(
        "year",
        r"((?i:(?<!\w)(?:in|since|until|by))\s)(10[1-9]\d)(?![\w,:%-]|\.\d)",
        lambda m: m[1] + spell_year(m[2]),
    ),
    Rule(
        "era",
        r"(?<=\d\s)(?:AD|BCE?|CE)(?!\w)|(?<!\w)AD(?=\s\d)",
        lambda m: " ".join("a." if letter == "A" else letter for letter in m[0]),
    ),
    Rule("season", r"(?<![\w./])(\d{4})/(\d{4}|\d{2})(?![\w/])", _read_season),
    Rule("quarters", r"(?<!\w)(Q\d)-(?=Q\d)", lambda m: f"q {spell_cardinal(m[1][1])} to"),
    Rule("year", r"(?<![\w'])'(\d\d)(?![\w'\"])", _read_short_year),
    Rule(
        "times of day",
        rf"(?<![\w.:/]){CLOCK}(?:\s?{HALF})?\s?-\s?{CLOCK}\s?{HALF}",
        _read_times,
    ),
    Rule(
        "times of day",
        r"(?<![\w.:/])(\d{1,2}):(\d{2})()\s?-\s?(\d{1,2}):(\d{2})()(?![\d:])",
        _read_times,
    ),
    Rule(
        "time of day",
        rf"(?<![\w.:/])(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}(?:\.\d{{1,3}})?))?(?:\s?{HALF})?(?![\d:])",
        _read_time,
    ),
    Rule("time of day", rf"(?<![\w.:/$£€])(\d{{1,2}})\.(\d{{2}})()\s?{HALF}", _read_time),
    Rule("time of day", rf"(?<![\w.:/])(\d{{1,2}})()()\s?{HALF}", _read_time),
    Rule(
        "ratio",
        r"(?<![\w.:/])(\d{1,4}):(\d{1,4})(?![\d:])",
        lambda m: f"{spell_cardinal(m[1])} to {spell_cardinal(m[2])}",
    ),
)
