"""Raw media to shards: `python -m vssflow_jax.prepare --manifest=clips.csv --out=SHARDS`.

Each shard holds a fixed slice of the manifest's rows of one split. A run that was stopped goes
on where it was, and a changed row, file or encoder redoes only its shards (see jobs.py).
`dataset.json` comes last: where it is, everything is whole.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from absl import flags
from tqdm import tqdm

from vssflow_jax import clips, errors, jobs, pool
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.errors import InputError
from vssflow_jax.features.encode import encoders
from vssflow_jax.files import write_text
from vssflow_jax.text import timing

SHOWN = 5  # skipped clips that are printed
LOUD = 0.1  # share of skipped clips from which the run says so loudly
_OURS = re.compile(rf"(?:{'|'.join(manifests.SPLITS)})-\d{{5}}(?:\.array_record|\.json)")


def prepare(
    manifest: str | os.PathLike,
    out: str | os.PathLike,
    *,
    workers: int | None = None,
    max_seconds: float = 10.0,
    clips_per_shard: int = 64,
    encoder_set: str = "embedded",
    progress: bool = True,
) -> dict:
    """Makes shards of all clips of a manifest, with dataset.json and statistics.

    May be stopped at any time and called again. Clips that cannot be used are skipped and
    listed with their reasons.

    Args:
      manifest: clips.csv; `annotations.jsonl` beside it is read too.
      out: folder for the shards.
      workers: processes; None: one a core.
      max_seconds: longest clip; longer sound clips are cut into windows, others skipped.
      clips_per_shard: rows of the manifest a shard.
      encoder_set: name of the set of encoders (features.encode).
      progress: show a bar and what was skipped.

    Returns:
      The contents of dataset.json.

    Raises:
      InputError: a manifest that is wrong, or no clip of it that can be used.
    """
    rows = manifests.read_manifest(manifest)
    notes = manifests.read_annotations(manifest)
    out = pathlib.Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: found a file, expected a folder for the shards")
    out.mkdir(parents=True, exist_ok=True)
    durations = timing.mean_durations(_alignments(rows))
    settings = clips.Settings(max_seconds=max_seconds, encoder_set=encoder_set, durations=durations)
    wanted = list(jobs.jobs(rows, notes, settings, out, clips_per_shard))
    _make(out, wanted, workers, progress)
    summaries = [json.loads(job.summary.read_text(encoding="utf-8")) for job in wanted]
    info = _describe(summaries, settings)
    if not any(split["clips"] for split in info["splits"].values()):
        raise InputError(
            f"{manifest}: all {len(rows)} clips were skipped, expected at least one that can be "
            f"used; the first: {info['skipped'][0]['id']}: {info['skipped'][0]['reason']}"
        )
    write_text(out / shards.DATASET, json.dumps(info, indent=1))
    if progress:
        _tell(info, len(rows))
    return info


def _alignments(rows: Iterable[manifests.Row]) -> Iterator[list[timing.Interval]]:
    """Alignments of the training split; broken ones are named later, with their clip."""
    for row in rows:
        if row.split == "train" and row.alignment:
            try:
                yield timing.read_alignment(row.alignment)
            except InputError:
                continue


# ---- shards -------------------------------------------------------------------------------


def _stale(out: pathlib.Path, wanted: Sequence[jobs.Job]) -> list[pathlib.Path]:
    """What a killed run left half-written, and shards that no row belongs to any more."""
    names = {path.name for job in wanted for path in (job.path, job.summary)}
    partial = re.compile(rf"\.{_OURS.pattern}\.\d+\.partial")
    return [
        path
        for path in out.iterdir()
        if partial.fullmatch(path.name) or (_OURS.fullmatch(path.name) and path.name not in names)
    ]


def _make(out: pathlib.Path, wanted: Sequence[jobs.Job], workers: int | None, bar: bool) -> None:
    """Makes the shards that are not there yet, and removes what does not belong."""
    todo = [job for job in wanted if not jobs.finished(job)]
    stale = _stale(out, wanted)
    if todo or stale:
        (out / shards.DATASET).unlink(missing_ok=True)  # it would describe other shards
    for path in stale:
        path.unlink()
    total = sum(len(job.rows) for job in wanted)
    kept = total - sum(len(job.rows) for job in todo)
    with tqdm(total=total, initial=kept, desc="prepare", unit="clip", disable=not bar) as shown:
        for done in pool.unordered(jobs.make_shard, todo, workers):
            shown.update(done)


# ---- the whole ----------------------------------------------------------------------------


def _describe(summaries: Sequence[dict], settings: clips.Settings) -> dict:
    """The contents of dataset.json."""
    features = shards.schema(encoders(settings.encoder_set))
    content = [[s["sha256"] for s in summaries], features, SAMPLE_RATE, LATENT_RATE]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "version": shards.VERSION,
        "sample_rate": SAMPLE_RATE,
        "latent_rate": LATENT_RATE,
        "max_seconds": settings.max_seconds,
        "features": features,
        "splits": {
            name: _describe_split([s for s in summaries if s["split"] == name and s["clips"]])
            for name in manifests.SPLITS
        },
        "skipped": [row for s in summaries for row in s["skipped"]],
        "statistics": {
            "phoneme_durations": dict(settings.durations),
            "encoders": settings.encoder_set,
        },
        "hash": digest,
    }


def _describe_split(summaries: Sequence[dict]) -> dict:
    """Files and counts of one split, and the numbers of its clips by task and without sound."""
    rows: dict[str, list[int]] = collections.defaultdict(list)
    missing: dict[str, int] = collections.Counter()
    silent: list[int] = []
    count = 0
    for summary in summaries:
        for task, numbers in summary["rows"].items():
            rows[task] += [count + number for number in numbers]
        missing.update(summary["missing"])
        silent += [count + number for number in summary["silent"]]
        count += summary["clips"]
    return {
        "files": [summary["file"] for summary in summaries],
        "bytes": [summary["bytes"] for summary in summaries],
        "clips": count,
        "tasks": {task: len(numbers) for task, numbers in sorted(rows.items())},
        "missing": dict(sorted(missing.items())),
        "silent": silent,
        "rows": dict(sorted(rows.items())),
    }


def _tell(info: Mapping, rows: int) -> None:
    """Prints what there is now and what was left out."""
    made = {name: split["clips"] for name, split in info["splits"].items()}
    print(f"prepared {sum(made.values())} clips: {made}", flush=True)
    skipped = info["skipped"]
    if not skipped:
        return
    share = len(skipped) / rows
    loud = "WARNING: " if share > LOUD else ""
    print(
        f"{loud}skipped {len(skipped)} of {rows} rows ({share:.0%}), listed with reasons in "
        f"{shards.DATASET}",
        file=sys.stderr,
    )
    for row in skipped[:SHOWN]:
        print(f"  {row['id']}: {row['reason']}", file=sys.stderr)


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("manifest", None, "Manifest of the clips (clips.csv).", required=True)
    flags.DEFINE_string("out", None, "Folder for the shards.", required=True)
    flags.DEFINE_integer("workers", None, "Processes; default: one a core.", lower_bound=0)
    flags.DEFINE_float("max_seconds", 10.0, "Longest clip, seconds.", lower_bound=0.2)
    flags.DEFINE_integer("clips_per_shard", 64, "Rows of the manifest a shard.", lower_bound=1)
    flags.DEFINE_string("encoders", "embedded", "Set of encoders.")


def main() -> None:
    """Flags in, shards out."""
    given = flags.FLAGS
    prepare(
        given.manifest,
        given.out,
        workers=given.workers,
        max_seconds=given.max_seconds,
        clips_per_shard=given.clips_per_shard,
        encoder_set=given.encoders,
    )


if __name__ == "__main__":
    define_flags()
    errors.run(main)
