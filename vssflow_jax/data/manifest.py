"""The manifest (`clips.csv`): one row a clip, and the annotations next to it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.tables import (
    find_listed,
    parse_header,
    read_table,
    read_text,
    split_lines,
)
from vssflow_jax.conditions import TASKS

COLUMNS = ("id", "video", "audio", "text", "speaker_audio", "alignment", "split", "task", "lips")
REQUIRED = ("id", "split")
FILE_COLUMNS = ("video", "audio", "speaker_audio", "alignment", "lips")
SPLITS = ("train", "valid", "test")
MAX_ID_BYTES = 200  # ids become file names
ANNOTATIONS = "annotations.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One clip of the manifest. Paths are absolute; None where a column is empty.

    Attributes:
      id: unique, and a file name.
      video, audio, speaker_audio, alignment: files; without `audio`, the video's own track.
      lips: a file with the track of the lips (data.lip_track); without it, they are tracked.
      text: what is said.
      split: train, valid or test.
      task: sound, speech or joint; derived if the column is empty.
      line: line of the manifest, for messages.
      problem: why the clip cannot be used, if listing it showed that.
    """

    id: str
    split: str
    task: str
    line: int
    video: str | None = None
    audio: str | None = None
    text: str | None = None
    speaker_audio: str | None = None
    alignment: str | None = None
    lips: str | None = None
    problem: str | None = None


def read_manifest(path: str | os.PathLike) -> list[ManifestRow]:
    """Reads and checks a manifest: CSV with a header (`read_table`), paths relative to its folder.

    Raises InputError, which names file, row and field, for a missing file, a header without
    `id` and `split` or with unknown columns, an id that is repeated or no file name, an unknown
    split or task, a row without media, and a manifest without rows.
    """
    path = pathlib.Path(path)
    table = read_table(path, "a manifest (clips.csv)")
    header = _parse_header(path, next(table, (1, []))[1])
    rows: list[ManifestRow] = []
    lines: dict[str, int] = {}
    for line, cells in table:
        row = _parse_row(path, header, cells, line)
        if row.id in lines:
            raise InputError(
                f"{path} row {row.line}, field id: found {row.id!r}, which row "
                f"{lines[row.id]} has too, expected a new one"
            )
        lines[row.id] = row.line
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: found no clips, expected at least one row below the header")
    return rows


def _parse_header(path, cells: list[str]) -> list[str]:
    header = parse_header(cells)
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InputError(
            f"{path} row 1: found no column {missing[0]!r} in {','.join(header)[:80]!r}, "
            f"expected a header of {','.join(COLUMNS)}"
        )
    for name in header:
        if name not in COLUMNS or header.count(name) > 1:
            kind = "unknown column" if name not in COLUMNS else "repeated column"
            raise InputError(f"{path} row 1: found {kind} {name!r}, expected {','.join(COLUMNS)}")
    return header


def _parse_row(path, header: list[str], cells: list[str], line: int) -> ManifestRow:
    location = f"{path} row {line}"
    if len(cells) != len(header):
        raise InputError(
            f"{location}: found {len(cells)} fields, expected {len(header)} (the header's)"
        )
    fields = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    fields = {name: cell for name, cell in fields.items() if cell}
    if not is_file_name(fields.get("id")):
        raise InputError(
            f"{location}, field id: found {fields.get('id', '')[:40]!r}, expected a name of at "
            f"most {MAX_ID_BYTES} bytes without / that may be a file's"
        )
    fields |= {name: fields[name].lower() for name in ("split", "task") if name in fields}
    _check_choice(location, "split", fields.get("split", ""), SPLITS)
    if "task" in fields:
        _check_choice(location, "task", fields["task"], TASKS)
    if "video" not in fields and "audio" not in fields:
        raise InputError(f"{location}, fields video and audio: both are empty, expected a file")
    task = fields.setdefault("task", "speech" if "text" in fields else "sound")
    if task in ("speech", "joint") and "text" not in fields:
        raise InputError(f"{location}, field text: empty, expected words for a {task} clip")
    for name in fields.keys() & set(FILE_COLUMNS):
        try:
            fields[name] = str(find_listed(path.parent.absolute(), fields[name]))
        except InputError as error:
            raise InputError(f"{location}, field {name}: {error}") from None
    return ManifestRow(**fields, line=line)


def is_file_name(name: object, max_bytes: int = MAX_ID_BYTES) -> bool:
    """Whether an id can name a file in any folder: printable, without slashes or a leading dot."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and not name.startswith(".")
        and not any(c in name for c in "/\\")
        and 0 < len(name.encode()) <= max_bytes
    )


def _check_choice(location: str, field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"{location}, field {field}: found {value!r}, expected {', '.join(choices)}"
        )


def read_annotations(manifest: str | os.PathLike) -> dict[str, dict]:
    """The annotations of `annotations.jsonl` next to a manifest, by id; empty without that file.

    Each line is a JSON object with an `id`; its `mouth`, if any, is the box around the lips
    [x0, y0, x1, y1] in pixels of the video, its `onsets` are seconds, its `events` rows of
    [start, end, label] in seconds. Raises InputError, which names the line, for others and for an
    id that an earlier line has.
    """
    path = pathlib.Path(manifest).with_name(ANNOTATIONS)
    if not path.exists():
        return {}
    annotations: dict[str, dict] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(split_lines(read_text(path, "annotations of clips")), 1):
        if not line.strip():
            continue
        try:
            annotation = json.loads(line)
            valid = _is_annotation(annotation)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise InputError(
                f"{path} line {number}: found {line[:60]!r}, expected an object with id and, "
                "if any, mouth: [x0, y0, x1, y1], onsets: [seconds, ...] and events: "
                "[[start, end, label], ...]"
            )
        name = annotation["id"]
        if name in annotations:
            raise InputError(
                f"{path} line {number}, field id: found {name[:40]!r}, which line {lines[name]} "
                "has too, expected a new one"
            )
        annotations[name], lines[name] = annotation, number
    return annotations


def _is_annotation(annotation: object) -> bool:
    if not (isinstance(annotation, dict) and isinstance(annotation.get("id"), str)):
        return False
    mouth, events = annotation.get("mouth"), annotation.get("events", [])
    is_box = mouth is None or (_are_numbers(mouth) and len(mouth) == 4)
    are_events = isinstance(events, list) and all(
        isinstance(event, list) and len(event) == 3 and _are_numbers(event[:2]) for event in events
    )
    return is_box and are_events and _are_numbers(annotation.get("onsets", []))


def _are_numbers(values: object) -> bool:
    """Whether it is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < math.inf for x in values
    )
