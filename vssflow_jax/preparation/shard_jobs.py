"""One shard as a piece of work: which rows, made of what, whether it is done, and doing it.

A finished shard has a JSON file of the same name beside it, which says what went in and what
was left out; it is written last. Rows are encoded by many processes, and written by one.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import glob
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from vssflow_jax.common import errors, process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import PARTIAL, hash_file, write_text
from vssflow_jax.common.locks import Locks
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.features import face_mesh, face_tracking
from vssflow_jax.features.registry import select_encoders
from vssflow_jax.preparation import examples
from vssflow_jax.text import aligner

ENDING = ".array_record"
CONTENT = 3  # of what clips.records makes of a row; a new number makes all shards anew


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One shard to make: its path, rows, their annotations, the settings, a key of all that."""

    path: pathlib.Path
    split: str
    rows: tuple[manifests.ManifestRow, ...]
    notes: Mapping[str, dict]
    settings: examples.Settings
    key: str

    @property
    def summary(self) -> pathlib.Path:
        """The JSON file that says what the shard holds."""
        return self.path.with_suffix(".json")


def jobs(
    rows: Sequence[manifests.ManifestRow],
    notes: Mapping[str, dict],
    settings: examples.Settings,
    out: pathlib.Path,
    size: int,
) -> Iterator[Job]:
    """The shards of a manifest: each `size` rows of one split, in the manifest's order."""
    for split in manifests.SPLITS:
        mine = [row for row in rows if row.split == split]
        for number, first in enumerate(range(0, len(mine), size)):
            some = tuple(mine[first : first + size])
            some_notes = {row.id: notes[row.id] for row in some if row.id in notes}
            yield Job(
                path=out / f"{split}-{number:05d}{ENDING}",
                split=split,
                rows=some,
                notes=some_notes,
                settings=settings,
                key=_key(some, some_notes, settings),
            )


def _key(rows: Sequence[manifests.ManifestRow], notes, settings: examples.Settings) -> str:
    """Hash of all that a shard's bytes depend on; files count by their size and time."""
    predicted = any(row.text and not row.alignment for row in rows)
    looked_for = any(
        row.video and row.task != "sound" and notes.get(row.id, {}).get("mouth") is None
        for row in rows
    )
    parts = [
        shards.VERSION,
        [dataclasses.asdict(row) | {"line": 0} for row in rows],
        [[_stamp(path) for path in _files(row)] for row in rows],
        notes,
        [settings.max_seconds, settings.overlap, CONTENT],
        shards.describe_features(select_encoders(settings.encoder_set)),
        dict(settings.durations) if predicted else {},
        getattr(settings.durations, "tokenizer_hash", ""),
        [aligner.VERSION, aligner.is_available()] if predicted else [],
        [face_tracking.VERSION, face_mesh.is_available(), settings.find_mouths]
        if looked_for
        else [],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _files(row: manifests.ManifestRow) -> list[str | None]:
    return [row.video, row.audio, row.speaker_audio, row.alignment]


def _stamp(path: str | None) -> list[int] | None:
    try:
        found = os.stat(path) if path else None
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns] if found else None


def finished(job: Job) -> bool:
    """Whether the shard is there, whole, and made of the same things."""
    try:
        summary = json.loads(job.summary.read_text(encoding="utf-8"))
        size = job.path.stat().st_size if summary["clips"] else 0
        listed = sum(len(rows) for rows in summary["rows"].values())
        return summary["key"] == job.key and size == summary["bytes"] and listed == summary["clips"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


# ---- one row ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoded:
    """A record as bytes, and what the summary says of it."""

    data: bytes
    task: str
    seconds: float
    missing: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Why a row gives no more records."""

    reason: str


def encoded(piece: tuple[manifests.ManifestRow, dict | None, examples.Settings]) -> Iterator:
    """The records of (row, annotation, settings) as `Encoded`; last, if need be, a `Skipped`.

    This is all that processes and Beam's workers do.
    """
    row, note, settings = piece
    names = (shards.WAVE, *shards.BY_NAME)
    try:
        for record in examples.records(row, note, settings):
            yield Encoded(
                data=shards.encode_record(record),
                task=record[shards.META]["task"],
                seconds=record[shards.META]["duration"],
                missing=tuple(name for name in names if name not in record),
            )
    except InputError as error:
        yield Skipped(errors.one_line(error))
    except Exception as error:  # one strange file must not end a run over all the others
        yield Skipped(f"{row.video or row.audio}: {type(error).__name__}: {errors.one_line(error)}")


# ---- shards -------------------------------------------------------------------------------


def make_shards(
    todo: Iterable[Job], locks: Locks, workers: int | None, seconds: float
) -> Iterator[pathlib.Path]:
    """Makes those shards that no other process is making; gives a shard's path for each row done.

    Args:
      todo: shards to make.
      locks: of the folder; a shard is locked while it is made.
      workers: processes; None: one a core; 0: no other process.
      seconds: longest time for a record, after which its row is given up.
    """
    pieces = (
        ((job, row), (row, job.notes.get(row.id), job.settings))
        for job in _claimed(todo, locks)
        for row in job.rows
    )
    with contextlib.closing(
        process_pool.streamed(encoded, pieces, workers, seconds=seconds)
    ) as stream:
        for job, parts in itertools.groupby(stream, key=lambda part: part[0][0]):
            yield from _write(job, parts)
            locks.release(job.path.name)


def _claimed(todo: Iterable[Job], locks: Locks) -> Iterator[Job]:
    """The jobs whose lock can be had, without what a killed process has left of them."""
    for job in todo:
        if not locks.take(job.path.name):
            continue
        if finished(job):
            locks.release(job.path.name)
            continue
        remove_partials(job.path.parent, (job.path.name, job.summary.name))
        yield job


def remove_partials(folder: pathlib.Path, names: Iterable[str]) -> None:
    """Removes half-written files that were to have one of `names`."""
    for name in names:
        for path in folder.glob(f".{glob.escape(name)}.*{PARTIAL}"):
            path.unlink(missing_ok=True)


@dataclasses.dataclass(kw_only=True)
class _Tally:
    """Counts of a shard; `kept` counts the records of the row at hand."""

    rows: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=collections.Counter)
    missing: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    silent: list[int] = dataclasses.field(default_factory=list)
    skipped: list[dict] = dataclasses.field(default_factory=list)
    clips: int = 0
    kept: int = 0

    def add(self, made: Encoded) -> None:
        self.rows.setdefault(made.task, []).append(self.clips)
        self.seconds[made.task] += made.seconds
        self.missing.update(made.missing)
        if shards.WAVE in made.missing:
            self.silent.append(self.clips)
        self.clips += 1
        self.kept += 1

    def skip(self, row: manifests.ManifestRow, reason: str) -> None:
        if self.kept:
            reason += f" (its first {self.kept} windows are kept)"
        file = row.video or row.audio
        self.skipped.append({"id": row.id, "split": row.split, "file": file, "reason": reason})


def _write(job: Job, parts: Iterable) -> Iterator[pathlib.Path]:
    """Writes a shard and its summary from ((job, row), part); gives its path for each row."""
    tally = _Tally()
    with shards.open_shard_writer(job.path) as write:
        for (_, row), part in parts:
            if isinstance(part, Encoded):
                write(part.data)
                tally.add(part)
            elif isinstance(part, Skipped):
                tally.skip(row, part.reason)
            else:
                if part.lost:
                    tally.skip(row, f"{row.video or row.audio}: {part.lost}")
                tally.kept = 0
                yield job.path
    if not tally.clips:
        job.path.unlink()
    summary = {
        "key": job.key,
        "split": job.split,
        "file": job.path.name,
        "clips": tally.clips,
        "bytes": job.path.stat().st_size if tally.clips else 0,
        "sha256": hash_file(job.path) if tally.clips else "",
        "rows": dict(sorted(tally.rows.items())),
        "seconds": {task: round(s, 2) for task, s in sorted(tally.seconds.items())},
        "missing": dict(sorted(tally.missing.items())),
        "silent": tally.silent,
        "skipped": tally.skipped,
    }
    write_text(job.summary, json.dumps(summary, indent=1))
