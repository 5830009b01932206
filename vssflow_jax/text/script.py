"""A script: who says what when, and when each of its phonemes sounds."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.tables import (
    find_listed,
    parse_header,
    parse_number,
    parse_table,
    read_text,
)
from vssflow_jax.text.alignment import SPEECH_START, Interval, align_text, select_voice
from vssflow_jax.text.captions import fold_name
from vssflow_jax.text.normalize import REFUSE

COLUMNS = ("start", "end", "text", "speaker")
MAX_LINES = 5000  # of a script


@dataclasses.dataclass(frozen=True, kw_only=True)
class Utterance:
    """One line of a script.

    Attributes:
      text: what is said.
      start: seconds; None: soon after the line before.
      end: seconds; None: the natural length.
      speaker: an audio file with the voice; None: the request's.
      location: the line's place in messages; empty: messages do not name it.
      name: of the speaker; empty: nobody says it.
      cue: the number of its subtitle, whose times give way to the text (text.cues); None: no cue.
    """

    text: str
    start: float | None = None
    end: float | None = None
    speaker: Path | None = None
    location: str = ""
    name: str = ""
    cue: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedScript:
    """A script with its times.

    Attributes:
      intervals: phonemes, in order.
      spans: first and last second of each utterance.
      warnings: about the speaking rate.
    """

    intervals: list[Interval]
    spans: list[tuple[float, float]]
    warnings: list[str]


def read_script(
    path: str | os.PathLike, voices: Mapping[str, Path] | None = None
) -> list[Utterance]:
    """Reads a CSV with the header `start,end,text,speaker`.

    `start`, `end` and `speaker` may be empty or left out. A speaker is one of the names in `voices`
    (as `captions.fold_name` gives them) or the path of a voice, relative to the table's folder.
    Raises InputError, which names the file and the line.
    """
    path = Path(path)
    try:
        text = read_text(path, f"a table of {', '.join(COLUMNS)}")
    except InputError as error:
        raise InputError(f"--script={error}") from None
    return parse_script(text, f"--script={path}", path.parent, voices=voices)


def parse_script(
    text: str,
    location: str,
    folder: Path,
    *,
    header: bool = True,
    voices: Mapping[str, Path] | None = None,
) -> list[Utterance]:
    """The lines of a table.

    Args:
      text: the table.
      location: the table's name in messages.
      folder: that paths of voices are relative to.
      header: whether the first line names the columns; without it they are COLUMNS, and lines
        may leave out the last ones.
      voices: audio files by the names of their speakers; None: lines give paths alone.
    """
    table, names = parse_table(text, location, None if header else ","), list(COLUMNS)
    if header:
        names = parse_header(next(table, (1, []))[1])
    if not set(names) <= set(COLUMNS) or "text" not in names or len(set(names)) < len(names):
        raise InputError(
            f"{location} line 1: found {','.join(names)[:80]!r}, expected {','.join(COLUMNS)}"
        )
    script = []
    for line, cells in table:
        missing = [] if header else [""] * (len(names) - len(cells))
        script.append(
            _parse_utterance(
                f"{location} line {line}", names, [*cells, *missing], folder, voices or {}
            )
        )
    if not 0 < len(script) <= MAX_LINES:
        raise InputError(f"{location}: found {len(script)} lines, expected 1 to {MAX_LINES}")
    return script


def _parse_utterance(
    location: str,
    names: Sequence[str],
    cells: Sequence[str],
    folder: Path,
    voices: Mapping[str, Path],
) -> Utterance:
    if len(cells) != len(names):
        raise InputError(f"{location}: found {len(cells)} fields, expected {len(names)}")
    row = dict(zip(names, cells, strict=True))
    if not row.get("text", "").strip():
        raise InputError(f"{location}: found no text, expected what is said")
    voice = (row.get("speaker") or "").strip()
    known = voices.get(fold_name(voice))
    try:
        path = find_listed(folder, voice) if voice else None
    except InputError as error:
        raise InputError(f"{location}, field speaker: {error}") from None
    return Utterance(
        text=row["text"],
        start=_parse_seconds(location, "start", row.get("start")),
        end=_parse_seconds(location, "end", row.get("end")),
        speaker=known or path,
        location=location,
        name=voice if known else "",
    )


def _parse_seconds(location: str, column: str, text: str | None) -> float | None:
    if not (text or "").strip():
        return None
    try:
        seconds = parse_number(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"{location}: found {column} {text!r}, expected seconds")
    return seconds


def align_script(
    script: Sequence[Utterance],
    duration: float | None,
    durations: Mapping[str, float],
    voices: Sequence[np.ndarray | None] = (),
    policy: str = REFUSE,
) -> TimedScript:
    """Phoneme times of a script's lines, one after another.

    Args:
      script: lines in the order in which they are said.
      duration: seconds of the clip; None: as long as the script needs.
      durations: mean seconds by phoneme.
      voices: the embedding of each line's voice, None if unknown; (): all unknown. Those
        after the last line are ignored.
      policy: of characters that cannot be read (text.normalize).

    Raises:
      InputError: lines that overlap, or one that `align_text` refuses.
    """
    intervals: list[Interval] = []
    warnings, spans = [], []
    voices = voices or [None] * len(script)
    for number, (line, voice) in enumerate(zip(script, voices, strict=False)):
        start, previous_end = line.start, spans[-1][1] if spans else 0.0
        if start is None and spans:
            start = previous_end + SPEECH_START
        if start is not None and start < previous_end - 1e-6:
            raise InputError(
                f"{line.location or 'script'}: found a start at {start:g} s, expected one after "
                f"the end of the line before, {previous_end:.2f} s"
            )
        limit = duration if line.end is not None else _find_limit(script[number + 1 :], duration)
        prefix = f"{line.location}: " if line.location else ""
        try:
            line_intervals, line_warnings = align_text(
                line.text, start, line.end, limit, select_voice(durations, voice), policy
            )
        except InputError as error:
            raise InputError(f"{prefix}{error}") from None
        intervals += line_intervals
        spans.append((line_intervals[0].start, line_intervals[-1].end))
        warnings += [prefix + warning for warning in line_warnings]
    return TimedScript(intervals=intervals, spans=spans, warnings=warnings)


def _find_limit(later: Sequence[Utterance], duration: float | None) -> float | None:
    """When a line without an end ends at the latest: at the next start or with the clip."""
    starts = [line.start for line in later if line.start is not None]
    return min(starts[:1] + ([] if duration is None else [duration]), default=None)


def find_speaker_changes(
    voices: Sequence, spans: Sequence[tuple[float, float]]
) -> list[tuple[float, int]]:
    """When the voice changes: (second, number of the utterance whose voice begins then).

    Between two utterances of different voices it changes in the middle of the pause.
    """
    changes = [(0.0, 0)]
    for number in range(1, len(spans)):
        if voices[number] != voices[changes[-1][1]]:
            changes.append(((spans[number - 1][1] + spans[number][0]) / 2, number))
    return changes
