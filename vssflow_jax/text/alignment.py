"""When each phoneme sounds: alignment files, the latent grid, and times where none are known."""

from __future__ import annotations

import collections
import csv
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.text.phonemes import SYMBOLS, ids, symbol

LATENT_RATE = 25  # grid frames a second
TIERS = ("phones", "phonemes", "phone", "phoneme", "phn")  # names of a TextGrid's phoneme tier
LETTER = 0.065  # seconds of a subword's letter or of the space before it: 15 a second
SLACK = 0.02  # seconds by which neighbours may overlap through rounding
EDGE = "#"  # the neighbour of the first and the last phoneme
LEAST = 3  # occurrences from which a phoneme in its context has a mean of its own
SHRINK = 2.0  # occurrences of the shorter context that are added to it

# Typical seconds in read speech, where a data set gives none of its own: vowels by stress
# (digit 0, 1, 2), consonants by manner. Close to the means of English corpora such as TIMIT.
_VOWELS = {"0": 0.065, "1": 0.115, "2": 0.100}
_CONSONANTS = {
    0.045: "DH D", 0.060: "V B HH Y W L R N M", 0.075: "T P K G NG TH ZH JH Z",
    0.100: "F S SH CH",
}  # fmt: skip
DEFAULT_DURATIONS = {s: _VOWELS[s[-1]] for s in SYMBOLS if s[-1] in _VOWELS} | {
    s: seconds for seconds, group in _CONSONANTS.items() for s in group.split()
}


class Interval(NamedTuple):
    """One phoneme: start and end in seconds, ARPAbet symbol."""

    start: float
    end: float
    symbol: str


# ---- files --------------------------------------------------------------------------------


def read_alignment(path: str | os.PathLike) -> list[Interval]:
    """Reads phoneme times from a TextGrid, or from a CSV with the header `start,end,phoneme`.

    Pauses are left out. Raises InputError, which names the file and the line or the interval,
    for a missing or unreadable file, times that do not go forward, and unknown phonemes.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected an alignment") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: {error.strerror}, expected an alignment file") from None
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not text, expected a TextGrid or start,end,phoneme") from None
    grid = path.suffix.lower() == ".textgrid" or "ooTextFile" in text[:200]
    rows = _grid_rows(path, text) if grid else _csv_rows(path, text)
    return _intervals(path, rows)


def _intervals(path, rows: Iterable[tuple[str, str, str, str]]) -> list[Interval]:
    """Checked intervals of rows (place, start, end, label)."""
    found: list[Interval] = []
    for place, start, end, label in rows:
        try:
            begin, stop = float(start), float(end)
        except ValueError:
            raise InputError(
                f"{path} {place}: found times {start!r}, {end!r}, expected seconds"
            ) from None
        if not (math.isfinite(begin) and math.isfinite(stop) and 0 <= begin <= stop):
            raise InputError(
                f"{path} {place}: found {begin:g} to {stop:g} s, expected a start before its end"
            )
        if found and begin < found[-1].end - SLACK:
            raise InputError(
                f"{path} {place}: found start {begin:g} s, expected one after the end "
                f"of the phoneme before, {found[-1].end:g} s"
            )
        try:
            name = symbol(label)
        except KeyError:
            raise InputError(
                f"{path} {place}: found phoneme {label!r}, expected ARPAbet such as AH0"
            ) from None
        if name is not None and stop > begin:
            found.append(Interval(begin, stop, name))
    return found


def _csv_rows(path, text: str):
    reader = csv.reader(text.splitlines())
    header = next(reader, [])
    if [cell.strip().lower() for cell in header] != ["start", "end", "phoneme"]:
        raise InputError(
            f"{path} line 1: found {','.join(header)[:60]!r}, expected start,end,phoneme"
        )
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != 3:
            raise InputError(
                f"{path} line {reader.line_num}: found {len(cells)} fields, expected 3"
            )
        yield f"line {reader.line_num}", *cells


# Long and short TextGrids hold the same strings and numbers in the same order; the long one
# only adds names (`xmin =`) and indices in brackets (`intervals [3]:`), which match nothing here.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w\]])')


def _grid_rows(path, text: str):
    tokens = iter([m[2] if m[1] is None else '"' + m[1] for m in _TOKEN.finditer(text)])
    try:
        tiers = dict(_tiers(tokens))
    except (StopIteration, RuntimeError, ValueError):
        raise InputError(f"{path}: found a broken TextGrid, expected tiers of intervals") from None
    for name, rows in tiers.items():
        if name.lower().split(" - ")[-1].strip() in TIERS:
            return rows
    raise InputError(f"{path}: found tiers {sorted(tiers)}, expected one named {TIERS[0]!r}")


def _tiers(tokens):
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
    lines = [f"{start:.4f},{end:.4f},{name}" for start, end, name in intervals]
    write_text(path, "\n".join(["start,end,phoneme", *lines]) + "\n")


# ---- the grid -----------------------------------------------------------------------------


def to_grid(intervals: Sequence[Interval], frames: int, rate: float = LATENT_RATE) -> np.ndarray:
    """Phoneme ids on an even grid: int32 [frames], 0 where nothing is said.

    Of all monotone ways to lay the phonemes on the frames, this takes the one with the largest
    overlap between frames and intervals, under the rule that every phoneme that sounds within
    the grid keeps at least one frame. Where there are more phonemes than frames, each frame
    takes the phoneme in its middle. The search is a Viterbi pass over the states
    pause, phoneme 1, pause, phoneme 2, ..., pause.
    """
    kept = [i for i in intervals if i.start < frames / rate and i.end > 0]
    if not kept or not frames:
        return np.zeros(frames, np.int32)
    starts, ends = np.array([i[:2] for i in kept]).T
    numbers = ids(i.symbol for i in kept)
    edges = np.arange(frames + 1) / rate
    overlap = np.minimum(edges[1:, None], ends) - np.maximum(edges[:-1, None], starts)  # [T, n]
    if len(kept) > frames:
        return _middles(numbers, starts, ends, frames, rate)
    inside = np.maximum(overlap, 0)
    pause = 1 / rate - inside.sum(1, keepdims=True)  # [T, 1]
    # Far from its interval (overlap is then minus the distance) a phoneme must cost something.
    spoken = inside + 0.01 * np.minimum(overlap, 0)
    scores = np.repeat(pause, 2 * len(kept) + 1, axis=1)
    scores[:, 1::2] = spoken
    states = np.argmax(scores, axis=1)
    if len(np.unique(states[states % 2 == 1])) < len(kept):  # someone would lose all frames
        states = _viterbi(scores)
    return np.where(states % 2, numbers[np.minimum(states // 2, len(kept) - 1)], 0).astype(np.int32)


def _middles(numbers, starts, ends, frames: int, rate: float) -> np.ndarray:
    middle = (np.arange(frames) + 0.5) / rate
    which = np.maximum(np.searchsorted(starts, middle, side="right") - 1, 0)
    spoken = (starts[which] <= middle) & (middle < ends[which])
    return np.where(spoken, numbers[which], 0).astype(np.int32)


def _viterbi(scores: np.ndarray) -> np.ndarray:
    """Best path through states 0 .. 2n: odd ones may not be skipped; scores [T, 2n+1]."""
    frames, count = scores.shape
    odd = np.arange(count) % 2 == 1
    best = np.full(count, -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros((frames, count), np.int32)
    for t in range(1, frames):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(odd, np.concatenate([[-np.inf, -np.inf], best[:-2]])[:count], -np.inf)
        choices = np.stack([best, one, two])
        steps[t] = np.argmax(choices, axis=0)
        best = choices[steps[t], np.arange(count)] + scores[t]
    state = count - 1 if best[-1] > best[-2] else count - 2
    path = np.empty(frames, np.int32)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= steps[t, state]
    return path


# ---- prediction ---------------------------------------------------------------------------


def context_durations(alignments: Iterable[Sequence[Interval]]) -> dict[str, float]:
    """Mean seconds of phonemes by symbol, and of those in the company of their neighbours.

    Keys: "N"; "N AH0", an N before AH0; "S N AH0", the same after S; EDGE stands for the
    neighbour that the first and the last phoneme do not have. A context that occurs at least
    LEAST times gets a mean of its own, drawn towards that of the shorter context by SHRINK
    occurrences of it, so that rare ones are not taken at their word.
    """
    total: dict[str, float] = collections.defaultdict(float)
    count: dict[str, int] = collections.Counter()
    for intervals in alignments:
        lasts = [end - start for start, end, _ in intervals]
        for keys, seconds in zip(_contexts([i[2] for i in intervals]), lasts, strict=True):
            for key in keys:
                total[key] += seconds
                count[key] += 1
    means = {name: total[name] / count[name] for name in SYMBOLS if count[name]}
    for size in (2, 3):
        for key in sorted(k for k, n in count.items() if n >= LEAST and len(k.split()) == size):
            shorter = " ".join(key.split()[-2:]) if size == 3 else key.split()[0]
            means[key] = (total[key] + SHRINK * means[shorter]) / (count[key] + SHRINK)
    return means


def _contexts(symbols: Sequence[str]) -> list[tuple[str, str, str]]:
    """The keys of each phoneme, the shortest first."""
    padded = (EDGE, *symbols, EDGE)
    triples = zip(padded, padded[1:], padded[2:], strict=False)
    return [
        (name, f"{name} {after}", f"{before} {name} {after}") for before, name, after in triples
    ]


def duration(name: str, durations: Mapping[str, float]) -> float:
    """Seconds of one phoneme, whatever its neighbours: its mean, else that of its other
    stresses, else a typical value scaled to the data set's pace; of a subword, by its letters."""
    if name in durations:
        return durations[name]
    if ":" in name:
        return LETTER * len(name.partition(":")[2])
    alone = {other: seconds for other, seconds in durations.items() if " " not in other}
    alike = [seconds for other, seconds in alone.items() if other[:2] == name[:2]]
    if alike and name[-1] in _VOWELS:
        return sum(alike) / len(alike)
    typical = sum(DEFAULT_DURATIONS[other] for other in alone)
    pace = sum(alone.values()) / typical if typical else 1.0
    return DEFAULT_DURATIONS[name] * pace


def expected(symbols: Iterable[str], durations: Mapping[str, float]) -> list[float]:
    """Seconds of each phoneme: what a network has learned, where there is one; else the mean
    in the longest context that is known."""
    symbols = tuple(symbols)
    learned = durations.learned(symbols) if hasattr(durations, "learned") else None
    return learned or [
        next((durations[key] for key in keys[:0:-1] if key in durations), None)
        or duration(keys[0], durations)
        for keys in _contexts(symbols)
    ]


def natural(symbols: Iterable[str], durations: Mapping[str, float]) -> float:
    """Seconds that the phonemes are expected to take."""
    return sum(expected(symbols, durations))


def predict(
    symbols: Sequence[str], start: float, end: float | None, durations: Mapping[str, float]
) -> list[Interval]:
    """Phoneme times from expected durations, scaled so that they fill [start, end] exactly.

    Args:
      symbols: ARPAbet symbols in order.
      start: seconds. end: seconds; None: the natural length at the means.
      durations: mean seconds by symbol and in context (context_durations); may be empty.

    Raises:
      InputError: no phonemes, or an end that is not after the start.
    """
    _check(symbols, start, end)
    edges = np.cumsum([0.0, *expected(symbols, durations)])
    scale = 1.0 if end is None else (end - start) / edges[-1]
    times = (start + edges * scale).tolist()
    if end is not None:
        times[-1] = float(end)
    return [Interval(*row) for row in zip(times[:-1], times[1:], symbols, strict=True)]


def fits(
    symbols: Sequence[str],
    start: float,
    end: float,
    durations: Mapping[str, float],
    rate: float = LATENT_RATE,
) -> float:
    """How tight the text is: natural seconds over those between `start` and `end`.

    1 is the natural pace, 2 is twice too fast. Raises InputError where less than one grid
    frame a phoneme is left, so that phonemes would be lost.
    """
    _check(symbols, start, end)
    needed = natural(symbols, durations)
    if math.floor((end - start) * rate + 1e-6) < len(symbols):
        raise InputError(
            f"text: found {len(symbols)} phonemes ({needed:.1f} s at a natural pace) for "
            f"{end - start:.2f} s of speech, expected at least {len(symbols) / rate:.2f} s"
        )
    return needed / (end - start)


def _check(symbols: Sequence[str], start: float, end: float | None) -> None:
    if not symbols:
        raise InputError("text: found no phonemes, expected something to say")
    if start < 0:
        raise InputError(f"speech start: found {start:g} s, expected 0 or later")
    if end is not None and end <= start:
        raise InputError(
            f"speech end: found {end:g} s, expected a time after speech start {start:g} s"
        )
