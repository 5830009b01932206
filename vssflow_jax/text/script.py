"""A script: who says what when, and when each of its phonemes sounds."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.placement import SPEECH_START, schedule, voiced

COLUMNS = ("start", "end", "text", "speaker")
LINES = 1000  # of a script, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """One line of a script.

    Attributes:
      text: what is said.
      start: seconds; None: soon after the line before.
      end: seconds; None: the natural length.
      speaker: an audio file with the voice; None: the request's.
      where: how messages call this line; empty: not at all.
    """

    text: str
    start: float | None = None
    end: float | None = None
    speaker: Path | None = None
    where: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoken:
    """A script in time.

    Attributes:
      intervals: phonemes, in order.
      spans: first and last second of each utterance.
      warnings: about the pace.
    """

    intervals: list[Interval]
    spans: list[tuple[float, float]]
    warnings: list[str]


def read_script(path: str | os.PathLike) -> list[Utterance]:
    """Reads a CSV with the header `start,end,text,speaker`.

    `start`, `end` and `speaker` may be empty or left out; paths of voices begin at the
    table's folder. Raises InputError, which names the file and the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"--script={path}: {reason}, expected a table of {', '.join(COLUMNS)}"
        ) from None
    return parse_script(text, f"--script={path}", path.parent)


def parse_script(text: str, where: str, folder: Path, *, header: bool = True) -> list[Utterance]:
    """The lines of a table.

    Args:
      text: the table.
      where: what messages call it.
      folder: where paths of voices begin.
      header: whether the first line names the columns; else they are COLUMNS, of which lines
        may leave out the last ones.
    """
    columns, empty = (None, None) if header else (COLUMNS, "")
    rows = csv.DictReader(io.StringIO(text), columns, restval=empty)
    names = rows.fieldnames or []
    if not set(names) <= set(COLUMNS) or "text" not in names:
        raise InputError(
            f"{where} line 1: found {','.join(names)[:80]!r}, expected {','.join(COLUMNS)}"
        )
    found = [_utterance(f"{where} line {rows.line_num}", row, folder) for row in rows]
    if not 0 < len(found) <= LINES:
        raise InputError(f"{where}: found {len(found)} lines, expected 1 to {LINES}")
    return found


def _utterance(where: str, row: Mapping, folder: Path) -> Utterance:
    if None in row or None in row.values():
        raise InputError(f"{where}: found more or fewer fields than columns, expected as many")
    if not row["text"].strip():
        raise InputError(f"{where}: found no text, expected what is said")
    voice = (row.get("speaker") or "").strip()
    return Utterance(
        text=row["text"],
        start=_seconds(where, "start", row.get("start")),
        end=_seconds(where, "end", row.get("end")),
        speaker=folder / voice if voice else None,
        where=where,
    )


def _seconds(where: str, column: str, text: str | None) -> float | None:
    if not (text or "").strip():
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"{where}: found {column} {text!r}, expected seconds")
    return seconds


def arrange(
    script: Sequence[Utterance],
    duration: float | None,
    durations: Mapping[str, float],
    voices: Sequence[np.ndarray | None] = (),
) -> Spoken:
    """Phoneme times of a script's lines, one after another.

    Args:
      script: lines in the order in which they are said.
      duration: seconds of the clip; None: as long as the script needs.
      durations: mean seconds by phoneme.
      voices: the embedding of each line's voice, None where nobody knows it; (): of no line.

    Raises:
      InputError: lines that overlap, or one that `schedule` refuses.
    """
    intervals: list[Interval] = []
    paces = [voiced(durations, voice) for voice in voices or [None] * len(script)]
    warnings, spans = [], []
    for number, line in enumerate(script):
        start, before = line.start, spans[-1][1] if spans else 0.0
        if start is None and spans:
            start = before + SPEECH_START
        if start is not None and start < before - 1e-6:
            raise InputError(
                f"{line.where or 'script'}: found a start at {start:g} s, expected one after the "
                f"end of the line before, {before:.2f} s"
            )
        limit = duration
        if line.end is None:  # it ends at the next start at the latest
            later = [other.start for other in script[number + 1 :] if other.start is not None]
            limit = min(later[:1] + ([] if duration is None else [duration]), default=None)
        try:
            found, told = schedule(line.text, start, line.end, limit, paces[number])
        except InputError as error:
            raise InputError(f"{line.where}: {error}" if line.where else str(error)) from None
        intervals += found
        spans.append((found[0].start, found[-1].end))
        warnings += [f"{line.where}: {warning}" if line.where else warning for warning in told]
    return Spoken(intervals=intervals, spans=spans, warnings=warnings)


def turns(voices: Sequence, spans: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """When the voice changes: (second, number of the utterance whose voice is heard from then).

    Between two utterances of different voices it changes in the middle of the pause.
    """
    found = [(0.0, 0)]
    for number in range(1, len(spans)):
        if voices[number] != voices[found[-1][1]]:
            found.append(((spans[number - 1][1] + spans[number][0]) / 2, number))
    return found
