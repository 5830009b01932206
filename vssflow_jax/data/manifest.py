"""The manifest: which clips there are, one row each (`clips.csv`), and notes beside it."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pathlib

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import TASKS

COLUMNS = ("id", "video", "audio", "text", "speaker_audio", "alignment", "split", "task")
REQUIRED = ("id", "split")
SPLITS = ("train", "valid", "test")
LONGEST_ID = 200  # bytes; ids become file names
ANNOTATIONS = "annotations.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One clip of the manifest. Paths are absolute; None where a column is empty.

    Attributes:
      id: unique name, fit to be a file name.
      video, audio, speaker_audio, alignment: files. Without `audio` the video's track counts.
      text: what is said.
      split: train, valid or test.
      task: sound, speech or joint; derived where the column is empty.
      line: line of the manifest, for messages.
      problem: what makes the clip of no use, if that showed already when it was listed.
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
    problem: str | None = None


def read_manifest(path: str | os.PathLike) -> list[Row]:
    """Reads and checks a manifest: UTF-8 CSV with a header, paths relative to its folder.

    Raises InputError, which names file, row and field, for a missing file, a header without
    `id` and `split` or with unknown columns, an empty or unfit or repeated id, an unknown split
    or task, a row without media, and a manifest without rows.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a manifest (clips.csv)") from None
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: {error.strerror}, expected a manifest (clips.csv)") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text, expected a manifest (clips.csv)") from None
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    rows: list[Row] = []
    lines: dict[str, int] = {}
    try:
        header = _header(path, next(reader, []))
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = _row(path, header, cells, reader.line_num)
            if row.id in lines:
                raise InputError(
                    f"{path} row {row.line}, field id: found {row.id!r}, which row "
                    f"{lines[row.id]} has too, expected a new one"
                )
            lines[row.id] = row.line
            rows.append(row)
    except csv.Error as error:
        raise InputError(f"{path} row {reader.line_num}: {error}, expected CSV") from None
    if not rows:
        raise InputError(f"{path}: found no clips, expected at least one row below the header")
    return rows


def _header(path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
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


def _row(path, header: list[str], cells: list[str], line: int) -> Row:
    where = f"{path} row {line}"
    if len(cells) != len(header):
        raise InputError(
            f"{where}: found {len(cells)} fields, expected {len(header)} (the header's)"
        )
    given = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    given = {name: cell for name, cell in given.items() if cell}
    _check_id(where, given.get("id", ""))
    _check_choice(where, "split", given.get("split", ""), SPLITS)
    if "task" in given:
        _check_choice(where, "task", given["task"], TASKS)
    if "video" not in given and "audio" not in given:
        raise InputError(f"{where}, fields video and audio: both are empty, expected a file")
    task = given.setdefault("task", "speech" if "text" in given else "sound")
    if task in ("speech", "joint") and "text" not in given:
        raise InputError(f"{where}, field text: empty, expected words for a {task} clip")
    for name in ("video", "audio", "speaker_audio", "alignment"):
        if name in given:
            given[name] = str(path.parent.absolute() / given[name])
    return Row(**given, line=line)


def _check_id(where: str, name: str) -> None:
    unfit = not name or name.startswith(".") or not name.isprintable()
    if unfit or len(name.encode()) > LONGEST_ID or any(c in name for c in "/\\"):
        raise InputError(
            f"{where}, field id: found {name[:40]!r}, expected a name of at most {LONGEST_ID} "
            "bytes without / that may be a file's"
        )


def _check_choice(where: str, field: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise InputError(f"{where}, field {field}: found {found!r}, expected {', '.join(choices)}")


def read_annotations(manifest: str | os.PathLike) -> dict[str, dict]:
    """Notes of `annotations.jsonl` beside a manifest, by clip id; empty without that file.

    Each line is a JSON object with an `id`; `mouth` in it, [x0, y0, x1, y1] in pixels of the
    video, says where the lips are. InputError names a line that is something else.
    """
    path = pathlib.Path(manifest).with_name(ANNOTATIONS)
    if not path.exists():
        return {}
    notes: dict[str, dict] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            note = json.loads(line)
            good = isinstance(note["id"], str) and _is_box(note.get("mouth"))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise InputError(
                f"{path} line {number}: found {line[:60]!r}, expected an object with id and, "
                "if any, mouth: [x0, y0, x1, y1]"
            )
        notes[note["id"]] = note
    return notes


def _is_box(mouth) -> bool:
    numbers = isinstance(mouth, list) and all(isinstance(x, int | float) for x in mouth)
    return mouth is None or (numbers and len(mouth) == 4)
