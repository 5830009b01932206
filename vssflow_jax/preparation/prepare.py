"""Raw media to a folder of shards: a job a shard, each done once, and dataset.json."""

from __future__ import annotations

import collections
import csv
import io
import itertools
import json
import math
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tqdm import tqdm

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.common.locks import Locks
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE
from vssflow_jax.data import folder as folders
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.features.registry import select_encoders
from vssflow_jax.preparation import examples, shard_jobs
from vssflow_jax.text import alignment, subwords
from vssflow_jax.text.durations import DurationModel, measure_durations

SECONDS, LIMIT = 10.0, 600.0  # longest clip; longest time to wait for one
SHOWN = 5  # skipped clips that are printed


LOUD = 0.1  # share of skipped clips from which the run says so loudly


LOCKS = ".prepare.lock"


PAUSE = 1.0  # seconds between looks at the shards that another process is making


_OURS = re.compile(rf"(?:{'|'.join(manifests.SPLITS)})-\d{{5}}(?:\.array_record|\.json)")


def prepare(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    workers: int | None = None,
    max_seconds: float = SECONDS,
    overlap: float = 0.0,
    clips_per_shard: int = 64,
    encoder_set: str = "built-in",
    valid: float = folders.VALID_SHARE,
    test: float = folders.TEST_SHARE,
    limit: float = LIMIT,
    beam: Sequence[str] | None = None,
    progress: bool = True,
) -> dict:
    """Makes shards of all clips of a manifest or a folder, with dataset.json and skipped.csv.

    May be stopped at any time and called again, and run by several processes or machines on
    one folder at once. Clips that cannot be used are skipped and listed with their reasons.

    Args:
      source: clips.csv, or a folder with videos; `annotations.jsonl` beside or in it counts too.
      out: folder for the shards.
      workers: processes; None: one a core; 0: none but this one, without the time limit.
      max_seconds: longest clip; longer ones without a text are cut into windows.
      overlap: seconds that neighbouring windows share.
      clips_per_shard: rows a shard.
      encoder_set: name of the set of encoders (features.encode).
      valid: share of a folder's clips for validation; so is `test`.
      limit: seconds after which a clip that is not done is given up.
      beam: options of Apache Beam, which then does the work instead of processes of this one.
      progress: show a bar and what was skipped.

    Returns:
      The contents of dataset.json.

    Raises:
      InputError: a source or an argument that is wrong, or no clip that can be used.
    """
    if not 0 < max_seconds < math.inf:
        raise InputError(f"--max_seconds: found {max_seconds:g} s, expected more than 0")
    if not 0 <= overlap < max_seconds:
        raise InputError(f"--overlap: found {overlap:g} s, expected 0 to less than {max_seconds:g}")
    rows, notes = read_source(source, valid, test)
    out = pathlib.Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, expected a folder for the shards")
    settings = examples.Settings(
        max_seconds=float(max_seconds),
        overlap=float(overlap),
        encoder_set=encoder_set,
        durations=DurationModel(
            measure_durations(_alignments(rows)), subwords.read_tokenizer(source)
        ),
    )
    wanted = list(shard_jobs.jobs(rows, notes, settings, out, clips_per_shard))

    def make(todo: Sequence[shard_jobs.Job]) -> Iterator[pathlib.Path]:
        if beam is not None:
            from vssflow_jax.preparation import beam as beams  # an extra

            return iter(beams.make(todo, out / LOCKS, limit, beam))
        return shard_jobs.make_shards(todo, locks, workers, limit)

    with Locks(out / LOCKS) as locks:
        _make(out, wanted, locks, make, progress)
        info = finish(source, out, wanted, settings, locks)
    if progress:
        _tell(info, out, len(rows))
    return info


def read_source(
    source: str | os.PathLike, valid: float = folders.VALID_SHARE, test: float = folders.TEST_SHARE
) -> tuple[list[manifests.ManifestRow], dict[str, dict]]:
    """The rows of a manifest or a folder, and the notes on them by id."""
    if pathlib.Path(source).is_dir():
        notes = manifests.read_annotations(pathlib.Path(source, manifests.ANNOTATIONS))
        return folders.read_folder(source, valid, test), notes
    return manifests.read_manifest(source), manifests.read_annotations(source)


def _alignments(rows: Iterable[manifests.ManifestRow]) -> Iterator[list[alignment.Interval]]:
    """Alignments of the training split; broken ones are named later, with their clip."""
    for row in rows:
        if row.split == "train" and row.alignment:
            try:
                yield alignment.read_alignment(row.alignment)
            except InputError:
                continue


def _make(out, wanted: Sequence[shard_jobs.Job], locks: Locks, make: Callable, bar: bool) -> None:
    """Makes the shards that are not there yet, or waits for those that another process makes."""
    clear(out, wanted, locks)
    todo = [job for job in wanted if not shard_jobs.finished(job)]
    if todo:
        (out / shards.DATASET).unlink(missing_ok=True)  # it would describe other shards
    total = sum(len(job.rows) for job in wanted)
    kept = total - sum(len(job.rows) for job in todo)
    made: set[pathlib.Path] = set()
    with tqdm(total=total, initial=kept, desc="prepare", unit="clip", disable=not bar) as shown:
        while todo:
            before = len(made)
            for path in make(todo):
                made.add(path)
                shown.update()
            todo = [job for job in todo if not shard_jobs.finished(job)]
            if lost := [job for job in todo if job.path in made]:
                raise InputError(
                    f"{lost[0].path}: found a shard of other rows or settings instead of the one "
                    "just made, expected no other prepare in this folder or one of the same"
                )
            if todo and len(made) == before:
                time.sleep(PAUSE)
        shown.update(total - shown.n)  # what other processes made


def clear(out: pathlib.Path, wanted: Sequence[shard_jobs.Job], locks: Locks) -> None:
    """Removes the shards that no row belongs to any more, and the description of them."""
    names = {path.name for job in wanted for path in (job.path, job.summary)}
    for path in out.iterdir():
        shard = path.with_suffix(shard_jobs.ENDING).name
        if _OURS.fullmatch(path.name) and path.name not in names and locks.take(shard):
            (out / shards.DATASET).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            locks.release(shard)


def finish(
    source,
    out: pathlib.Path,
    wanted: Sequence[shard_jobs.Job],
    settings: examples.Settings,
    locks: Locks,
) -> dict:
    """Writes skipped.csv and dataset.json of shards that are all there; returns the latter."""
    locks.take(shards.DATASET, wait=True)
    # All is made, so what is half-written is of killed processes.
    leftover = [path.name for job in wanted for path in (job.path, job.summary)]
    shard_jobs.remove_partials(out, [*leftover, shards.SKIPPED, shards.DATASET])
    summaries = [json.loads(job.summary.read_text(encoding="utf-8")) for job in wanted]
    skipped = [row for s in summaries for row in s["skipped"]]
    write_text(out / shards.SKIPPED, _table(skipped))
    info = _describe(summaries, settings)
    if not any(split["clips"] for split in info["splits"].values()):
        raise InputError(
            f"{source}: all {len(skipped)} clips were skipped, expected at least one that can be "
            f"used; the first: {skipped[0]['id']}: {skipped[0]['reason']}"
        )
    write_text(out / shards.DATASET, json.dumps(info, indent=1))
    locks.release(shards.DATASET)
    return info


def _table(skipped: Sequence[Mapping]) -> str:
    """skipped.csv. File names that are not text are written with escapes."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("id", "split", "file", "reason"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(skipped)
    return table.getvalue().encode("utf-8", "backslashreplace").decode()


def _describe(summaries: Sequence[dict], settings: examples.Settings) -> dict:
    """The contents of dataset.json."""
    features = shards.describe_features(select_encoders(settings.encoder_set))
    if settings.durations.tokenizer:
        features["phonemes"] |= {"encoder": "subwords", "hash": settings.durations.tokenizer_hash}
    return {
        "version": shards.VERSION,
        "sample_rate": SAMPLE_RATE,
        "latent_rate": LATENT_RATE,
        "max_seconds": settings.max_seconds,
        "overlap": settings.overlap,
        "wave": {"dtype": "int16", "codec": None},  # a run's codec encodes it in the step
        "features": features,
        "splits": {
            name: _describe_split([s for s in summaries if s["split"] == name and s["clips"]])
            for name in manifests.SPLITS
        },
        "skipped": sum(len(s["skipped"]) for s in summaries),
        "statistics": settings.durations.statistics | {"encoders": settings.encoder_set},
        "hash": shards.hash_dataset([s["sha256"] for s in summaries if s["clips"]], features),
    }


def _describe_split(summaries: Sequence[dict]) -> dict:
    """Files and counts of one split, and the numbers of its clips by task and without sound."""
    rows: dict[str, list[int]] = collections.defaultdict(list)
    missing: dict[str, int] = collections.Counter()
    seconds: dict[str, float] = collections.Counter()
    silent: list[int] = []
    count = 0
    for summary in summaries:
        for task, numbers in summary["rows"].items():
            rows[task] += [count + number for number in numbers]
        missing.update(summary["missing"])
        seconds.update(summary["seconds"])
        silent += [count + number for number in summary["silent"]]
        count += summary["clips"]
    return {
        "files": [summary["file"] for summary in summaries],
        "bytes": [summary["bytes"] for summary in summaries],
        "sha256": [summary["sha256"] for summary in summaries],
        "clips": count,
        "tasks": {task: len(numbers) for task, numbers in sorted(rows.items())},
        "seconds": {task: round(total, 2) for task, total in sorted(seconds.items())},
        "missing": dict(sorted(missing.items())),
        "silent": silent,
        "rows": dict(sorted(rows.items())),
    }


def _tell(info: Mapping, out: pathlib.Path, rows: int) -> None:
    """Prints what there is now, what cannot be trained on and what was left out."""
    made = {name: split["clips"] for name, split in info["splits"].items()}
    print(f"prepared {sum(made.values())} clips: {made}", flush=True)
    silent = len(info["splits"]["train"]["silent"])
    if silent:
        print(
            f"note: {silent} of {made['train']} clips in train have no sound: training passes "
            "over them",
            file=sys.stderr,
        )
    if not info["skipped"]:
        return
    share = info["skipped"] / rows
    loud = "WARNING: " if share > LOUD else ""
    print(
        f"{loud}skipped {info['skipped']} of {rows} rows ({share:.0%}), listed with reasons in "
        f"{out / shards.SKIPPED}",
        file=sys.stderr,
    )
    with open(out / shards.SKIPPED, encoding="utf-8", newline="") as file:
        for row in itertools.islice(csv.DictReader(file), SHOWN):
            print(f"  {row['id']}: {row['reason']}", file=sys.stderr)
