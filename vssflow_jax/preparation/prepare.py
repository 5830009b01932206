"""Raw media to a folder of shards: one job a shard, each done once, and dataset.json."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import itertools
import json
import math
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tqdm import tqdm

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import local_copy, to_path, write_text
from vssflow_jax.common.locks import Locks
from vssflow_jax.conditions import LATENT_RATE, MONO_16K, SAMPLE_RATE, AudioFormat
from vssflow_jax.data import folder as folders
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.features.registry import select_encoders
from vssflow_jax.preparation import shard_jobs
from vssflow_jax.preparation.examples import MAX_ROUNDING, MIN_SECONDS, ExampleSettings
from vssflow_jax.preparation.shard_jobs import ShardJob
from vssflow_jax.text import alignment, normalize, subwords
from vssflow_jax.text.durations import DurationModel, measure_durations

MAX_LISTED = 5  # skipped clips that are printed
MIN_SAMPLE_RATE = 8000
MAX_TIME_LIMIT = 1_000_000  # seconds for a clip: more than any takes
WARNING_SHARE = 0.1  # of skipped clips, from which the message is a warning
LOCKS = ".prepare.lock"
POLL_SECONDS = 1.0  # between looks at the shards that another process is writing

_SHARD_FILE = re.compile(rf"(?:{'|'.join(manifests.SPLITS)})-\d{{5}}(?:\.array_record|\.json)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How media become shards.

    Attributes:
      workers: processes; None: one a core; 0: this process alone, without the time limit.
      max_seconds: longest example; longer clips are cut into windows, at pauses if they have a
        text.
      overlap: seconds that neighboring windows without a text share.
      clips_per_shard: rows of the manifest a shard.
      encoder_set: name of the set of encoders (features.registry).
      text_policy: "refuse" or "skip" characters of a text that cannot be read.
      valid: share of a folder's clips for validation.
      test: share of a folder's clips for tests.
      time_limit: seconds after which a clip is given up.
      audio_track: which audio track of a file is read, from 1; None: the file's default one.
      audio: format of the stored waves.
      beam: options of Apache Beam, which then does the work instead of local processes.
      progress: show a bar and what was skipped.

    Raises:
      InputError: lengths out of range.
    """

    workers: int | None = None
    max_seconds: float = 10.0
    overlap: float = 0.0
    clips_per_shard: int = 64
    encoder_set: str = "built-in"
    text_policy: str = normalize.REFUSE
    valid: float = folders.VALID_SHARE
    test: float = folders.TEST_SHARE
    time_limit: float = 600.0
    audio_track: int | None = None
    audio: AudioFormat = MONO_16K
    beam: Sequence[str] | None = None
    progress: bool = True

    def __post_init__(self):
        if not 0 < self.max_seconds < math.inf:
            raise InputError(f"--max_seconds: found {self.max_seconds:g} s, expected more than 0")
        if not 0 <= self.overlap < self.max_seconds:
            raise InputError(
                f"--overlap: found {self.overlap:g} s, expected 0 to less than {self.max_seconds:g}"
            )
        if not 0 < self.time_limit <= MAX_TIME_LIMIT:
            raise InputError(
                f"--limit: found {self.time_limit:g} s, expected at most {MAX_TIME_LIMIT}"
            )
        rate, channels = self.audio
        if rate < MIN_SAMPLE_RATE or rate % LATENT_RATE:
            raise InputError(
                f"--sample_rate: found {rate}, expected a multiple of {LATENT_RATE} from "
                f"{MIN_SAMPLE_RATE} on"
            )
        if channels not in (1, 2):
            raise InputError(f"--audio_channels: found {channels}, expected 1 or 2")
        normalize.check_policy(self.text_policy)


def prepare(
    source: str | os.PathLike,
    out: str | os.PathLike,
    options: PrepareOptions | None = None,
    **changes,
) -> dict:
    """Writes shards of all clips of a manifest or a folder, dataset.json and skipped.csv.

    It can be stopped at any time and called again, and several processes or machines can work on
    one folder at once. Clips that cannot be used are skipped and listed with their reasons.
    Example: prepare("clips.csv", "shards", max_seconds=8.0, workers=4).

    Args:
      source: clips.csv, or a folder of videos; `annotations.jsonl` next to or in it is read too.
      out: folder for the shards.
      options: how; default: PrepareOptions().
      **changes: fields of PrepareOptions that replace those of `options`.

    Returns:
      The contents of dataset.json.

    Raises:
      InputError: a wrong source or option, or no usable clip.
    """
    options = dataclasses.replace(options or PrepareOptions(), **changes)
    rows, annotations = read_source(source, options.valid, options.test)
    out = to_path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, expected a folder for the shards")
    check_window_ids(rows, options)
    durations = measure_durations(_read_alignments(rows))
    settings = ExampleSettings(
        max_seconds=float(options.max_seconds),
        overlap=float(options.overlap),
        encoder_set=options.encoder_set,
        text_policy=options.text_policy,
        durations=DurationModel(durations, subwords.read_tokenizer(source)),
        audio_track=options.audio_track,
        audio=options.audio,
    )
    jobs = list(shard_jobs.plan_jobs(rows, annotations, settings, out, options.clips_per_shard))
    with Locks(out / LOCKS) as locks:
        remove_stale_shards(out, jobs, locks)
        _write_missing(out, jobs, locks, options)
        info = write_dataset_info(source, out, jobs, settings, locks)
    if options.progress:
        _report(info, out, len(rows))
        _report_unused(source, rows, annotations)
    return info


def read_source(
    source: str | os.PathLike,
    valid: float = folders.VALID_SHARE,
    test: float = folders.TEST_SHARE,
) -> tuple[list[manifests.ManifestRow], dict[str, dict]]:
    """The rows of a manifest or a folder, and their annotations by id."""
    if pathlib.Path(source).is_dir():
        annotations = manifests.read_annotations(pathlib.Path(source, manifests.ANNOTATIONS))
        return folders.read_folder(source, valid, test), annotations
    return manifests.read_manifest(source), manifests.read_annotations(source)


def check_window_ids(rows: Sequence[manifests.ManifestRow], options: PrepareOptions) -> None:
    """Raises an `InputError` for a clip named like a window of another clip that is cut.

    The windows of a clip `a` are called `a_0`, `a_1`. Only media that have a neighbor of such a
    name are opened.
    """
    by_id = {row.id: row for row in rows}
    for row in rows:
        name, _, number = row.id.rpartition("_")
        base = by_id.get(name)
        if base is None or not re.fullmatch(r"0|[1-9][0-9]*", number):
            continue
        try:
            seconds = _measure_clip(base, options.audio_track)
        except InputError:
            continue  # the row is skipped later, with this reason
        shortest = MIN_SECONDS if base.text else options.max_seconds - options.overlap
        if seconds > options.max_seconds and int(number) * shortest < seconds:
            raise InputError(
                f"row {row.line}, field id: found {row.id!r}, which is the name of a window of the "
                f"clip {name!r} of {seconds:.1f} s (row {base.line}), expected another"
            )


def _measure_clip(row: manifests.ManifestRow, audio_track: int | None) -> float:
    """Seconds that a clip lasts: its video, else its sound."""
    if row.video:
        return media.probe(row.video).duration
    return len(media.read_audio(row.audio, track=audio_track)) / SAMPLE_RATE


def _read_alignments(
    rows: Iterable[manifests.ManifestRow],
) -> Iterator[list[alignment.Interval]]:
    """Alignments of the training split; their clips report broken ones later."""
    for row in rows:
        if row.split == "train" and row.alignment:
            try:
                yield alignment.read_alignment(row.alignment)
            except InputError:
                continue


def _write_jobs(
    jobs: Sequence[ShardJob], out: pathlib.Path, locks: Locks, options: PrepareOptions
) -> Iterable[pathlib.Path]:
    """Writes shards by Beam or by processes of this machine; yields paths as they do."""
    if options.beam is None:
        return shard_jobs.write_shards(jobs, locks, options.workers, options.time_limit)
    from vssflow_jax.preparation import beam  # an extra

    return beam.run_pipeline(jobs, out / LOCKS, options.time_limit, options.beam)


def _write_missing(
    out: pathlib.Path, jobs: Sequence[ShardJob], locks: Locks, options: PrepareOptions
) -> None:
    """Writes the shards that are missing, or waits for those that another process is writing."""
    missing = [job for job in jobs if not shard_jobs.is_finished(job)]
    if missing:
        (out / shards.DATASET).unlink(missing_ok=True)  # it would describe other shards
    total = sum(len(job.rows) for job in jobs)
    initial = total - sum(len(job.rows) for job in missing)
    written: set[pathlib.Path] = set()
    with tqdm(
        total=total, initial=initial, desc="prepare", unit="clip", disable=not options.progress
    ) as bar:
        while missing:
            num_written = len(written)
            for path in _write_jobs(missing, out, locks, options):
                written.add(path)
                bar.update()
            missing = [job for job in missing if not shard_jobs.is_finished(job)]
            if lost := [job for job in missing if job.path in written]:
                raise InputError(
                    f"{lost[0].path}: found a shard of other rows or settings instead of the one "
                    "just made, expected no other prepare in this folder or one of the same"
                )
            if missing and len(written) == num_written:
                time.sleep(POLL_SECONDS)
        bar.update(total - bar.n)  # what other processes wrote


def remove_stale_shards(out: pathlib.Path, jobs: Sequence[ShardJob], locks: Locks) -> None:
    """Removes shards that no row belongs to any more, and the description of them."""
    names = {path.name for job in jobs for path in (job.path, job.summary)}
    for path in out.iterdir() if out.exists() else ():
        shard = path.with_suffix(shard_jobs.SHARD_ENDING).name
        if _SHARD_FILE.fullmatch(path.name) and path.name not in names and locks.take(shard):
            (out / shards.DATASET).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            locks.release(shard)


def write_dataset_info(
    source,
    out: pathlib.Path,
    jobs: Sequence[ShardJob],
    settings: ExampleSettings,
    locks: Locks,
) -> dict:
    """Writes skipped.csv and dataset.json of a complete set of shards; returns the latter."""
    locks.take(shards.DATASET, wait=True)
    # All shards are complete, so half-written files are leftovers of killed processes.
    names = [path.name for job in jobs for path in (job.path, job.summary)]
    shard_jobs.remove_partials(out, [*names, shards.SKIPPED, shards.DATASET])
    summaries = [json.loads(job.summary.read_text(encoding="utf-8")) for job in jobs]
    skipped = [row for summary in summaries for row in summary["skipped"]]
    write_text(out / shards.SKIPPED, _format_skipped(skipped))
    info = _describe(summaries, settings)
    if not any(split["clips"] for split in info["splits"].values()):
        raise InputError(
            f"{source}: all {len(skipped)} clips were skipped, expected at least one that can be "
            f"used; the first: {skipped[0]['id']}: {skipped[0]['reason']}"
        )
    write_text(out / shards.DATASET, json.dumps(info, indent=1))
    locks.release(shards.DATASET)
    return info


def _format_skipped(skipped: Sequence[Mapping]) -> str:
    """The content of skipped.csv."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("id", "split", "file", "reason"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(skipped)
    return table.getvalue()


def _describe(summaries: Sequence[dict], settings: ExampleSettings) -> dict:
    """The contents of dataset.json."""
    features = shards.describe_features(select_encoders(settings.encoder_set))
    if settings.durations.tokenizer:
        features["phonemes"] |= {"encoder": "subwords", "hash": settings.durations.tokenizer_hash}
    return {
        "version": shards.VERSION,
        "sample_rate": settings.audio.sample_rate,
        "audio_channels": settings.audio.channels,
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
        "notes": {name: notes for s in summaries for name, notes in s["notes"].items()},
        "cut_ends": sum(s["cut_ends"] for s in summaries),
        "statistics": settings.durations.statistics | {"encoders": settings.encoder_set},
        "hash": shards.hash_dataset([s["sha256"] for s in summaries if s["clips"]], features),
    }


def _describe_split(summaries: Sequence[dict]) -> dict:
    """Files and counts of a split, and the numbers of its records by task and without sound."""
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


def describe_missing(split: Mapping) -> str:
    """How many clips of a split, as dataset.json describes it, lack sound, text or lips."""
    missing = split["missing"]
    counts = ((shards.WAVE, "sound"), (shards.PHONEMES, "text"), ("lips", "lips"))
    return ", ".join(
        f"{missing.get(name, 0)} of {split['clips']} clips without {words}"
        for name, words in counts
    )


def _report_unused(
    source: str | os.PathLike, rows: Sequence[manifests.ManifestRow], annotations: Mapping
) -> None:
    """Prints which annotations and which files of a folder belong to no clip."""
    unused = sorted(annotations.keys() - {row.id for row in rows})
    if unused:
        print(
            f"note: {manifests.ANNOTATIONS}: no clip has the id of {len(unused)} annotations, such "
            f"as {unused[0]!r}",
            file=sys.stderr,
        )
    is_folder = pathlib.Path(source).is_dir()
    for find, fault in (
        (folders.find_unused, "files belong to no clip"),
        (folders.find_empty_transcripts, "transcripts are empty: their clips count as sound"),
    ):
        if is_folder and (files := find(source)):
            line = f"note: {source}: {len(files)} {fault}, such as {files[0]!r}"
            print(line, file=sys.stderr)


def _report(info: Mapping, out: pathlib.Path, num_rows: int) -> None:
    """Prints how many examples there are, how many have no sound, and which clips were skipped."""
    counts = {name: split["clips"] for name, split in info["splits"].items()}
    print(f"prepared {sum(counts.values())} clips: {counts}", flush=True)
    for name, split in info["splits"].items():
        if split["clips"]:
            print(f"{name}: {describe_missing(split)}", flush=True)
    num_silent = len(info["splits"]["train"]["silent"])
    if num_silent:
        print(
            f"note: {num_silent} of {counts['train']} clips in train have no sound: training "
            "skips them",
            file=sys.stderr,
        )
    if info["cut_ends"]:
        print(
            f"note: {info['cut_ends']} clips have sound behind their last latent frame "
            f"({1 / LATENT_RATE:g} s): up to {MAX_ROUNDING:g} s of it is left out",
            file=sys.stderr,
        )
    for name, notes in itertools.islice(info["notes"].items(), MAX_LISTED):
        print(f"note: {name}: {'; '.join(notes)}", file=sys.stderr)
    if len(info["notes"]) > MAX_LISTED:
        print(
            f"note: {len(info['notes'])} clips have notes on their media or text, listed in "
            f"{out / shards.DATASET}",
            file=sys.stderr,
        )
    if not info["skipped"]:
        return
    share = info["skipped"] / num_rows
    prefix = "WARNING: " if share > WARNING_SHARE else ""
    print(
        f"{prefix}skipped {info['skipped']} of {num_rows} rows ({share:.0%}), listed with reasons "
        f"in {out / shards.SKIPPED}",
        file=sys.stderr,
    )
    with local_copy(out / shards.SKIPPED) as copy, copy.open(encoding="utf-8", newline="") as file:
        for row in itertools.islice(csv.DictReader(file), MAX_LISTED):
            print(f"  {row['id']}: {row['reason']}", file=sys.stderr)
