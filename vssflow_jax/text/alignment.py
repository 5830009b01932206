"""When each phoneme sounds: alignment files, and times for a text that has none."""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.common.tables import parse_header, parse_number, parse_table, read_text
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text import normalize, phonemes, subwords
from vssflow_jax.text.durations import (
    DEFAULT_DURATIONS,
    DurationModel,
    has_tokenizer,
    predict_durations,
    predict_total,
)

TIERS = ("phones", "phonemes", "phone", "phoneme", "phn")  # names of a TextGrid's phoneme tier
CSV_HEADER = ("start", "end", "phoneme")
MAX_OVERLAP = 0.02  # seconds by which neighbors may overlap through rounding
SPEECH_START = 0.3  # seconds before predicted speech, where no start is requested
RUSHED = 1.5  # a text that needs this many times the seconds it has gets a warning


class Interval(NamedTuple):
    """One phoneme: start and end in seconds, ARPAbet symbol."""

    start: float
    end: float
    symbol: str


class WordInterval(NamedTuple):
    """A word, or several: start and end in seconds, text."""

    start: float
    end: float
    text: str


# ---- files --------------------------------------------------------------------------------


def read_alignment(path: str | os.PathLike) -> list[Interval]:
    """Reads phoneme times from a TextGrid, or from a CSV with the header `start,end,phoneme`.

    Pauses are left out. Raises InputError, which names the file and the line or the interval,
    for a missing or unreadable file, times that do not go forward, and unknown phonemes.
    """
    path = pathlib.Path(path)
    text = read_text(path, f"an alignment: a TextGrid or {','.join(CSV_HEADER)}")
    is_text_grid = path.suffix.lower() == ".textgrid" or "ooTextFile" in text[:200]
    rows = _read_text_grid(path, text) if is_text_grid else _read_csv(path, text)
    return _parse_intervals(path, rows)


def _parse_intervals(path, rows: Iterable[tuple[str, str, str, str]]) -> list[Interval]:
    """Checked intervals of rows (place in the file, start, end, label)."""
    intervals: list[Interval] = []
    for place, start_text, end_text, label in rows:
        try:
            start, end = parse_number(start_text), parse_number(end_text)
        except ValueError:
            raise InputError(
                f"{path} {place}: found times {start_text!r}, {end_text!r}, expected seconds"
            ) from None
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
            raise InputError(
                f"{path} {place}: found {start:g} to {end:g} s, expected a start before its end"
            )
        if intervals and start < intervals[-1].end - MAX_OVERLAP:
            raise InputError(
                f"{path} {place}: found start {start:g} s, expected one after the end "
                f"of the phoneme before, {intervals[-1].end:g} s"
            )
        try:
            symbol = phonemes.parse_label(label)
        except KeyError:
            raise InputError(
                f"{path} {place}: found phoneme {label!r}, expected ARPAbet such as AH0"
            ) from None
        if symbol is not None and end > start:
            intervals.append(Interval(start, end, symbol))
    return intervals


def _read_csv(path, text: str) -> Iterator[tuple[str, ...]]:
    table = parse_table(text, str(path))
    header = next(table, (1, []))[1]
    if tuple(parse_header(header)) != CSV_HEADER:
        raise InputError(
            f"{path} line 1: found {','.join(header)[:60]!r}, expected {','.join(CSV_HEADER)}"
        )
    for line, cells in table:
        if len(cells) != len(CSV_HEADER):
            raise InputError(
                f"{path} line {line}: found {len(cells)} fields, expected {len(CSV_HEADER)}"
            )
        yield f"line {line}", *cells


# Long and short TextGrids hold the same strings and numbers in the same order; the long one
# only adds names (`xmin =`) and indices in brackets (`intervals [3]:`), which match nothing here.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w\]])')


def _read_text_grid(path, text: str) -> list[tuple[str, ...]]:
    tokens = iter([m[2] if m[1] is None else '"' + m[1] for m in _TOKEN.finditer(text)])
    try:
        tiers = dict(_read_tiers(tokens))
    except (StopIteration, RuntimeError, ValueError):
        raise InputError(f"{path}: found a broken TextGrid, expected tiers of intervals") from None
    for name, rows in tiers.items():
        if name.lower().split(" - ")[-1].strip() in TIERS:
            return rows
    raise InputError(f"{path}: found tiers {sorted(tiers)}, expected one named {TIERS[0]!r}")


def _read_tiers(tokens: Iterator[str]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    head = [next(tokens) for _ in range(5)]  # "ooTextFile" "TextGrid" from to tiers
    for _ in range(int(head[4])):
        kind, name = next(tokens)[1:], next(tokens)[1:]
        next(tokens), next(tokens)
        rows = []
        for number in range(1, int(next(tokens)) + 1):
            width = 3 if kind == "IntervalTier" else 2
            cells = [next(tokens) for _ in range(width)]
            rows.append((f"interval {number}", cells[0], cells[-2], cells[-1][1:]))
        yield name, rows


def write_alignment(path: str | os.PathLike, intervals: Iterable[Interval]) -> None:
    """Writes `start,end,phoneme`, seconds with four decimals."""
    lines = [f"{start:.4f},{end:.4f},{symbol}" for start, end, symbol in intervals]
    write_text(path, "\n".join([",".join(CSV_HEADER), *lines]) + "\n")


# ---- times for a text without an alignment --------------------------------------------------


def align_text(
    text: str,
    start: float | None,
    end: float | None,
    duration: float | None,
    durations: Mapping[str, float],
    policy: str = normalize.REFUSE,
) -> tuple[list[Interval], list[str]]:
    """Phoneme times of a text in its interval, and warnings.

    They are about what of the text is not spoken, and about the speaking rate.

    Args:
      text: what is said.
      start: seconds; None: near the start of the clip.
      end: seconds; None: the natural length, or the clip's end where that comes first.
      duration: seconds of the clip; None: as long as the text needs.
      durations: mean seconds by phoneme.
      policy: of characters that cannot be read (text.normalize).

    Raises:
      InputError: no words, characters that cannot be read, an interval outside the clip, or too
        short for the phonemes.
    """
    symbols, warnings = text_to_symbols(text, durations, policy)
    _check_times(start, end, duration)
    needed = predict_total(symbols, durations)
    if start is None:
        limits = (time for time in (end, duration) if time is not None)
        room = next(limits, needed + 2 * SPEECH_START) - needed
        start = min(SPEECH_START, max(room / 2, 0.0))
    if end is None and duration is not None and start + needed > duration:
        end = duration
    if end is not None and check_fit(symbols, start, end, durations) > RUSHED:
        warnings.append(
            f"the text needs about {needed:.1f} s and has {end - start:.1f} s: "
            "the speech will be rushed"
        )
    return place_phonemes(symbols, start, end, durations), warnings


def text_to_symbols(
    text: str, durations: Mapping[str, float], policy: str = normalize.REFUSE
) -> tuple[list[str], list[str]]:
    """Phonemes of a text, or subwords if the durations come with a tokenizer, and warnings.

    The warnings name what is left out. `policy` is of characters that cannot be read.
    """
    if has_tokenizer(durations):
        text, warnings = subwords.select_readable(durations.tokenizer, text, policy)
        return subwords.tokenize(durations.tokenizer, text), warnings
    words, warnings = normalize.read(text, policy)
    return [symbol for word in phonemes.pronounce(words) for symbol in word], warnings


def select_voice(durations: Mapping[str, float], voice: np.ndarray | None) -> Mapping[str, float]:
    """The durations in a voice; plain means are the same for every voice."""
    return durations.with_voice(voice) if isinstance(durations, DurationModel) else durations


def predict_alignment(
    meta: Mapping, durations: Mapping[str, float], voice: np.ndarray | None = None
) -> list[Interval]:
    """Phoneme times for an example's text from its true start on, all else unknown."""
    start = meta["alignment"][0][0] if meta.get("alignment") else None
    durations = select_voice(durations, voice)
    return align_text(meta["text"], start, None, meta["duration"], durations)[0]


def place_phonemes(
    symbols: Sequence[str], start: float, end: float | None, durations: Mapping[str, float]
) -> list[Interval]:
    """Phoneme times from predicted durations, scaled so that they fill [start, end] exactly.

    Args:
      symbols: ARPAbet symbols in order.
      start: seconds.
      end: seconds; None: the natural length.
      durations: mean seconds by symbol and in context (measure_durations); may be empty.

    Raises:
      InputError: no phonemes, or an end that is not after the start.
    """
    _check_interval(symbols, start, end)
    edges = np.cumsum([0.0, *predict_durations(symbols, durations)])
    scale = 1.0 if end is None else (end - start) / edges[-1]
    times = (start + edges * scale).tolist()
    if end is not None:
        times[-1] = float(end)
    return [Interval(*row) for row in zip(times[:-1], times[1:], symbols, strict=True)]


def place_words(
    words: Sequence[WordInterval], durations: Mapping[str, float] = DEFAULT_DURATIONS
) -> list[Interval]:
    """Phoneme times of words whose times are known: the phonemes of each fill its interval.

    Raises:
      InputError: a text without words, characters that cannot be read, or times that do not go
        forward.
    """
    intervals: list[Interval] = []
    for word, spoken in zip(words, _read_each([word.text for word in words]), strict=True):
        if intervals and word.start < intervals[-1].end - MAX_OVERLAP:
            raise InputError(
                f"alignment: found {word.text!r} from {word.start:g} s, expected a start after the "
                f"end of the word before, {intervals[-1].end:g} s"
            )
        symbols = [symbol for symbols in phonemes.pronounce(spoken) for symbol in symbols]
        intervals += place_phonemes(symbols, word.start, word.end, durations)
    return intervals


def _read_each(texts: Sequence[str]) -> list[list[str]]:
    """The spoken words of each text, read in its sentence where these are as many."""
    sentence = normalize.words(" ".join(texts))
    if len(sentence) == len(texts):
        return [[word] for word in sentence]
    return [normalize.words(text) for text in texts]


def check_fit(
    symbols: Sequence[str],
    start: float,
    end: float,
    durations: Mapping[str, float],
    rate: float = LATENT_RATE,
) -> float:
    """The predicted seconds of the symbols over those between `start` and `end`.

    1 is the natural speaking rate, 2 is twice as fast. Raises InputError where less than one
    grid frame a phoneme is left, so that phonemes would be lost.
    """
    _check_interval(symbols, start, end)
    needed = predict_total(symbols, durations)
    if math.floor((end - start) * rate + 1e-6) < len(symbols):
        raise InputError(
            f"text: found {len(symbols)} phonemes ({needed:.1f} s at a natural pace) for "
            f"{end - start:.2f} s of speech, expected at least {len(symbols) / rate:.2f} s"
        )
    return needed / (end - start)


def _check_times(start: float | None, end: float | None, duration: float | None) -> None:
    """Raises InputError, which names the flag, for an interval outside of the clip."""
    if end is not None and start is not None and end <= start:
        raise InputError(
            f"--speech_end: found {end:g} s, expected more than --speech_start, {start:g} s"
        )
    if start is not None and duration is not None and not 0 <= start < duration:
        raise InputError(f"--speech_start: found {start:g} s, expected 0 to {duration:g} s")
    if end is not None and duration is not None and end > duration + 1 / LATENT_RATE:
        raise InputError(f"--speech_end: found {end:g} s, expected at most {duration:g} s")


def _check_interval(symbols: Sequence[str], start: float, end: float | None) -> None:
    if not symbols:
        raise InputError("text: found no phonemes, expected something to say")
    if start < 0:
        raise InputError(f"speech start: found {start:g} s, expected 0 or later")
    if end is not None and end <= start:
        raise InputError(
            f"speech end: found {end:g} s, expected a time after speech start {start:g} s"
        )
