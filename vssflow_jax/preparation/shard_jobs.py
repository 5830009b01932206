"""Shards as jobs: which rows, made of what, whether a job is done, and doing it.

A finished shard has a JSON file of the same name next to it, written last, which lists what went in
and what was skipped. Many processes encode rows; one writes them.
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

from vssflow_jax.common import crash_safe_pool, errors
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import PARTIAL, file_size, hash_file, write_text
from vssflow_jax.common.locks import Locks
from vssflow_jax.conditions import MONO_16K
from vssflow_jax.data import shards
from vssflow_jax.data.manifest import FILE_COLUMNS, SPLITS, ManifestRow
from vssflow_jax.features import face_mesh, face_tracking, lip_alignment
from vssflow_jax.features.registry import needs_landmarks, select_encoders
from vssflow_jax.preparation.examples import (
    CUT_END,
    ExampleSettings,
    list_notes,
    make_records,
)
from vssflow_jax.text import aligner, normalize

SHARD_ENDING = ".array_record"
CONTENT_VERSION = 6  # of what `make_records` makes of a row; a new number makes all shards anew


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to write.

    Attributes:
      path: the shard.
      split: its split.
      rows: its rows of the manifest.
      annotations: those of the rows, by id.
      settings: of the records.
      key: hash of everything that the shard depends on.
    """

    path: pathlib.Path
    split: str
    rows: tuple[ManifestRow, ...]
    annotations: Mapping[str, dict]
    settings: ExampleSettings
    key: str

    @property
    def summary(self) -> pathlib.Path:
        """The JSON file that describes the shard."""
        return self.path.with_suffix(".json")


def plan_jobs(
    rows: Sequence[ManifestRow],
    annotations: Mapping[str, dict],
    settings: ExampleSettings,
    out: pathlib.Path,
    size: int,
) -> Iterator[ShardJob]:
    """The shards of a manifest: each `size` rows of one split, in the manifest's order."""
    for split in SPLITS:
        split_rows = [row for row in rows if row.split == split]
        for number, first in enumerate(range(0, len(split_rows), size)):
            shard_rows = tuple(split_rows[first : first + size])
            shard_annotations = {r.id: annotations[r.id] for r in shard_rows if r.id in annotations}
            yield ShardJob(
                path=out / f"{split}-{number:05d}{SHARD_ENDING}",
                split=split,
                rows=shard_rows,
                annotations=shard_annotations,
                settings=settings,
                key=_hash_inputs(shard_rows, shard_annotations, settings),
            )


def _hash_inputs(
    rows: Sequence[ManifestRow], annotations: Mapping[str, dict], settings: ExampleSettings
) -> str:
    """Hash of everything that a shard's bytes depend on; files count by their size and time."""
    predicts_times = any(row.text and not row.alignment for row in rows)
    has_geometry = needs_landmarks(settings.encoder_set)
    tracks_mouth = any(
        row.video
        and row.task != "sound"
        and (row.lips if has_geometry else annotations.get(row.id, {}).get("mouth")) is None
        for row in rows
    )
    tracking = [face_tracking.VERSION, face_mesh.is_available(), settings.locate_mouth]
    inputs = [
        shards.VERSION,
        [dataclasses.asdict(row) | {"line": 0} for row in rows],
        [[_stamp(getattr(row, column)) for column in FILE_COLUMNS] for row in rows],
        annotations,
        [settings.max_seconds, settings.overlap, settings.audio_track, CONTENT_VERSION],
        shards.describe_features(select_encoders(settings.encoder_set)),
        dict(settings.durations) if predicts_times else {},
        getattr(settings.durations, "tokenizer_hash", ""),
        [aligner.VERSION, aligner.is_available(), lip_alignment.VERSION] if predicts_times else [],
        tracking if tracks_mouth else [],
        [normalize.VERSION, settings.text_policy] if any(row.text for row in rows) else [],
    ]
    if settings.audio != MONO_16K:
        inputs.append(settings.audio)
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _stamp(path: str | None) -> list[int] | None:
    try:
        status = os.stat(path) if path else None
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if status else None


def is_finished(job: ShardJob) -> bool:
    """Whether the shard exists, complete, and was made of the same inputs."""
    try:
        summary = json.loads(job.summary.read_text(encoding="utf-8"))
        size = file_size(job.path) if summary["clips"] else 0
        listed = sum(len(rows) for rows in summary["rows"].values())
        return summary["key"] == job.key and size == summary["bytes"] and listed == summary["clips"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


# ---- one row ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedRecord:
    """A record as bytes, and what the summary counts of it."""

    data: bytes
    task: str
    seconds: float
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    is_cut: bool = False


@dataclasses.dataclass(frozen=True)
class SkippedRow:
    """Why a row gives no more records."""

    reason: str


def encode_row(
    item: tuple[ManifestRow, dict | None, ExampleSettings],
) -> Iterator[EncodedRecord | SkippedRow]:
    """The records of (row, annotation, settings), and a `SkippedRow` if there is a problem.

    This is all that the processes of `prepare` and Beam's workers do.
    """
    row, annotation, settings = item
    names = (shards.WAVE, *shards.BY_NAME)
    try:
        for record in make_records(row, annotation, settings):
            yield EncodedRecord(
                data=shards.encode_record(record),
                task=record[shards.META]["task"],
                seconds=record[shards.META]["duration"],
                missing=tuple(name for name in names if name not in record),
                notes=tuple(list_notes(record[shards.META])),
                is_cut=CUT_END in record[shards.META],
            )
    except InputError as error:
        yield SkippedRow(errors.one_line(error))
    except Exception as error:  # one strange file must not end a run over all the others
        reason = f"{type(error).__name__}: {errors.one_line(error)}"
        yield SkippedRow(f"{row.video or row.audio}: {reason}")


# ---- shards -------------------------------------------------------------------------------


def write_shards(
    jobs: Iterable[ShardJob], locks: Locks, workers: int | None, time_limit: float
) -> Iterator[pathlib.Path]:
    """Writes the shards that no other process is writing; yields a shard's path for each row done.

    Args:
      jobs: shards to write.
      locks: of the folder; a shard is locked while it is written.
      workers: processes; None: one a core; 0: this process alone.
      time_limit: seconds for a record, after which its row is given up.
    """
    items = (
        ((job, row), (row, job.annotations.get(row.id), job.settings))
        for job in _claim(jobs, locks)
        for row in job.rows
    )
    with contextlib.closing(
        crash_safe_pool.stream_parts(encode_row, items, workers, time_limit=time_limit)
    ) as stream:
        for job, results in itertools.groupby(stream, key=lambda result: result[0][0]):
            yield from _write_shard(job, results)
            locks.release(job.path.name)


def _claim(jobs: Iterable[ShardJob], locks: Locks) -> Iterator[ShardJob]:
    """The jobs whose lock is free, after removing what a killed process has left of them."""
    for job in jobs:
        if not locks.take(job.path.name):
            continue
        if is_finished(job):
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
class PreparationCounts:
    """What a shard holds, and which rows were skipped.

    Attributes:
      rows: numbers of the records by task.
      seconds: by task.
      missing: records without a modality, by its name.
      silent: numbers of the records without sound.
      skipped: rows of skipped.csv.
      notes: what reading a row had to change or leave out, by the row's id.
      cut_ends: rows of whose sound rounding to latent frames leaves out the end.
      examples: records of the shard.
      row_examples: records of the current row.
    """

    rows: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=collections.Counter)
    missing: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    silent: list[int] = dataclasses.field(default_factory=list)
    skipped: list[dict] = dataclasses.field(default_factory=list)
    notes: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    cut_ends: int = 0
    examples: int = 0
    row_examples: int = 0

    def add(self, row: ManifestRow, record: EncodedRecord) -> None:
        """Counts a record of a row."""
        if record.notes:
            notes = self.notes.setdefault(row.id, [])
            notes += [note for note in record.notes if note not in notes]
        self.cut_ends += record.is_cut and not self.row_examples  # once a row
        self.rows.setdefault(record.task, []).append(self.examples)
        self.seconds[record.task] += record.seconds
        self.missing.update(record.missing)
        if shards.WAVE in record.missing:
            self.silent.append(self.examples)
        self.examples += 1
        self.row_examples += 1

    def skip(self, row: ManifestRow, reason: str) -> None:
        """Lists a row as skipped, from its current record on."""
        if self.row_examples:
            reason += f" (its first {self.row_examples} windows are kept)"
        file = row.video or row.audio
        self.skipped.append({"id": row.id, "split": row.split, "file": file, "reason": reason})

    def summarize(self) -> dict:
        """The counts as a JSON object, but for the number of examples."""
        return {
            "rows": dict(sorted(self.rows.items())),
            "seconds": {task: round(s, 2) for task, s in sorted(self.seconds.items())},
            "missing": dict(sorted(self.missing.items())),
            "silent": self.silent,
            "skipped": self.skipped,
            "notes": self.notes,
            "cut_ends": self.cut_ends,
        }


def _write_shard(job: ShardJob, results: Iterable) -> Iterator[pathlib.Path]:
    """Writes a shard and its summary from ((job, row), result); yields its path for each row."""
    counts = PreparationCounts()
    with shards.open_shard_writer(job.path) as write:
        for (_, row), result in results:
            if isinstance(result, EncodedRecord):
                write(result.data)
                counts.add(row, result)
            elif isinstance(result, SkippedRow):
                counts.skip(row, result.reason)
            else:  # the end of a row
                if result.failure:
                    counts.skip(row, f"{row.video or row.audio}: {result.failure}")
                counts.row_examples = 0
                yield job.path
    if not counts.examples:
        job.path.unlink()
    summary = {
        "key": job.key,
        "split": job.split,
        "file": job.path.name,
        "clips": counts.examples,
        "bytes": file_size(job.path) if counts.examples else 0,
        "sha256": hash_file(job.path) if counts.examples else "",
        **counts.summarize(),
    }
    write_text(job.summary, json.dumps(summary, indent=1))
