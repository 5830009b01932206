"""One shard as a piece of work: which rows, made of what, whether it is done, and doing it.

A finished shard has a JSON file of the same name beside it, which says what went in and what
was left out; it is written last.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from vssflow_jax import clips, errors
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.errors import InputError
from vssflow_jax.features.encode import encoders
from vssflow_jax.files import write_text
from vssflow_jax.text import aligner

ENDING = ".array_record"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One shard to make: its path, rows, their annotations, the settings, a key of all that."""

    path: pathlib.Path
    split: str
    rows: tuple[manifests.Row, ...]
    notes: Mapping[str, dict]
    settings: clips.Settings
    key: str

    @property
    def summary(self) -> pathlib.Path:
        """The JSON file that says what the shard holds."""
        return self.path.with_suffix(".json")


def jobs(
    rows: Sequence[manifests.Row],
    notes: Mapping[str, dict],
    settings: clips.Settings,
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


def _key(rows: Sequence[manifests.Row], notes, settings: clips.Settings) -> str:
    """Hash of all that a shard's bytes depend on; files count by their size and time."""
    predicted = any(row.text and not row.alignment for row in rows)
    parts = [
        shards.VERSION,
        [dataclasses.asdict(row) | {"line": 0} for row in rows],
        [[_stamp(path) for path in _files(row)] for row in rows],
        notes,
        settings.max_seconds,
        shards.schema(encoders(settings.encoder_set)),
        dict(settings.durations) if predicted else {},
        [aligner.VERSION, aligner.available()] if predicted else [],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _files(row: manifests.Row) -> list[str | None]:
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


def make_shard(job: Job) -> int:
    """Writes one shard and its summary; returns how many rows it dealt with."""
    rows: dict[str, list[int]] = {}
    missing: dict[str, int] = collections.Counter()
    skipped, silent, count = [], [], 0
    names = (shards.WAVE, *shards.BY_NAME)
    with shards.shard_writer(job.path) as write:
        for row in job.rows:
            try:
                made = list(clips.records(row, job.notes.get(row.id), job.settings))
            except InputError as error:
                skipped.append({"id": row.id, "split": job.split, "reason": errors.one_line(error)})
                continue
            for record in made:
                write(record)
                rows.setdefault(row.task, []).append(count)
                missing.update(name for name in names if name not in record)
                if shards.WAVE not in record:
                    silent.append(count)
                count += 1
    if not count:
        job.path.unlink()
    summary = {
        "key": job.key,
        "split": job.split,
        "file": job.path.name,
        "clips": count,
        "bytes": job.path.stat().st_size if count else 0,
        "sha256": shards.file_hash(job.path) if count else "",
        "rows": dict(sorted(rows.items())),
        "missing": dict(sorted(missing.items())),
        "silent": silent,
        "skipped": skipped,
    }
    write_text(job.summary, json.dumps(summary, indent=1))
    return len(job.rows)
