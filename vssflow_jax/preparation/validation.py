"""Validation of prepared shards against their description: every file, record and count.

`python -m vssflow_jax.prepare --check=SHARDS`; reports/dataset.py makes the page with pictures.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from tqdm import tqdm

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, hash_file, local_copy, to_path
from vssflow_jax.data import shards

MAX_LISTED = 20  # problems that are printed
MAX_EXCESS = 1 / conditions.LATENT_RATE  # seconds that a phoneme may outlast its example
MAX_OVERLAP = 1e-3  # seconds between phonemes, since times are rounded


@dataclasses.dataclass(kw_only=True)
class ValidationReport:
    """The result of a validation.

    Attributes:
      folder: of the shards.
      info: its dataset.json.
      problems: one line each.
      missing: by split, how many records lack each modality.
      examples: by task, the first records of those with most modalities, for the page.
    """

    folder: pathlib.Path
    info: dict
    problems: list[str] = dataclasses.field(default_factory=list)
    missing: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[dict]] = dataclasses.field(default_factory=dict)

    def keep_example(self, record: dict, count: int) -> None:
        """Keeps a record unless `count` records of its task have as many modalities."""
        examples = self.examples.setdefault(str(record[shards.META].get("task")), [])
        examples.append(record)
        examples.sort(key=len, reverse=True)  # stable
        del examples[count:]


def validate_shards(
    folder: str | pathlib.Path, *, num_examples: int = 3, progress: bool = True
) -> ValidationReport:
    """Reads all of a data set and compares it with its dataset.json.

    Args:
      folder: of the shards.
      num_examples: records a task to keep for the page.
      progress: show a bar.

    Raises:
      InputError: no dataset.json, a broken one, or one of another version.
    """
    folder = to_path(folder)
    report = ValidationReport(folder=folder, info=shards.load_dataset_info(folder))
    try:
        report.problems += find_description_problems(report.info, folder)
        total = sum(split["clips"] for split in report.info["splits"].values())
        ids: dict[str, str] = {}
        with tqdm(total=total, desc="check", unit="clip", disable=not progress) as bar:
            for name, split in report.info["splits"].items():
                _validate_split(report, name, split, ids, num_examples, bar)
        format_summary(report)  # which needs fields of its own
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{folder / shards.DATASET}: broken ({type(error).__name__}: {error}), "
            "expected the description of prepared shards; prepare again"
        ) from error
    return report


def format_summary(report: ValidationReport) -> str:
    """The counts as lines of text."""
    lines = []
    for name, split in report.info["splits"].items():
        hours = sum(split["seconds"].values()) / 3600
        missing = ", ".join(f"{n} without {k}" for k, n in sorted(report.missing[name].items()))
        lines.append(
            f"{name}: {split['clips']} clips {split['tasks']}, {hours:.2f} h, "
            f"{sum(split['bytes']) / 1e6:.1f} MB{'; ' + missing if missing else ''}"
        )
    return "\n".join(lines)


def find_description_problems(info: Mapping, folder: pathlib.Path) -> Iterator[str]:
    """Problems of dataset.json itself, and of skipped.csv."""
    for name in conditions.NAMES:
        feature = info["features"].get(name)
        if feature is None:
            yield f"dataset.json: found no feature {name}, expected one for each condition"
        elif feature["dtype"] != (dtype := shards.record_dtype(name)):
            yield f"dataset.json, {name}: found {feature['dtype']}, expected {dtype}"
    for name in info["features"].keys() - set(conditions.NAMES):
        yield f"dataset.json: found the feature {name}, expected some of {conditions.NAMES}"
    hashes = [digest for split in info["splits"].values() for digest in split["sha256"]]
    if (expected := shards.hash_dataset(hashes, info["features"])) != info["hash"]:
        yield f"dataset.json, hash: found {info['hash']}, expected {expected} by its shards"
    try:
        skipped = folder / shards.SKIPPED
        with local_copy(skipped) as copy, copy.open(encoding="utf-8", newline="") as file:
            listed = len(list(csv.DictReader(file)))
    except FileNotFoundError:
        listed = None
    if listed != info["skipped"]:
        yield f"{shards.SKIPPED}: found {listed} clips, expected {info['skipped']}"


@dataclasses.dataclass(kw_only=True)
class _RecordCounts:
    """What the records of a split say about it, as dataset.json describes it."""

    rows: dict[str, list[int]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    missing: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    seconds: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    examples: int = 0

    def add(self, record: Mapping) -> None:
        meta = record[shards.META]
        self.rows[meta.get("task")].append(self.examples)
        self.seconds[meta.get("task")] += float(meta.get("duration") or 0)
        self.missing.update(k for k in (shards.WAVE, *conditions.NAMES) if k not in record)
        self.examples += 1

    def find_problems(self, name: str, split: Mapping) -> Iterator[str]:
        counts = {
            "clips": self.examples,
            "rows": dict(self.rows),
            "missing": dict(self.missing),
            "seconds": {task: round(total, 2) for task, total in self.seconds.items()},
        }
        for key, value in counts.items():
            if not _is_same(split[key], value):
                yield (
                    f"dataset.json, splits.{name}.{key}: found {_shorten(split[key])}, expected "
                    f"{_shorten(value)} by the records"
                )


def _validate_split(
    report: ValidationReport, name: str, split: Mapping, ids: dict, num_examples: int, bar
) -> None:
    """Checks files, then records, then, if all could be read, the counts that follow."""
    counts, complete = _RecordCounts(), True
    for file, size, digest in zip(split["files"], split["bytes"], split["sha256"], strict=True):
        if problem := _find_file_problem(report.folder / file, size, digest):
            report.problems.append(f"{file}: {problem}")
            complete = False
            continue
        for number, record in enumerate(shards.iterate_shard(report.folder / file)):
            bar.update()
            place = f"{file} record {number}"
            if isinstance(record, Exception):
                report.problems.append(f"{place}: cannot be decoded ({record})")
                complete = False
                continue
            problems = find_record_problems(record, report.info)
            report.problems += [f"{place}: {problem}" for problem in problems]
            record_id = str(record[shards.META].get("id"))
            if (other := ids.setdefault(record_id, place)) != place:
                report.problems.append(f"{place}: found the id {record_id!r}, which {other} has")
            counts.add(record)
            report.keep_example(record, num_examples)
    report.missing[name] = counts.missing
    if complete:
        report.problems += counts.find_problems(name, split)


def _is_same(one, other) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[k], other[k]) for k in one)
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=0.02)
    return one == other


def _shorten(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _find_file_problem(path: pathlib.Path, size: int, digest: str) -> str:
    if not path.exists():
        return "no such file"
    if file_size(path) != size:
        return f"found {file_size(path)} bytes, expected {size}"
    actual = hash_file(path)
    return "" if actual == digest else f"found sha256 {actual[:16]}…, expected {digest[:16]}…"


# ---- one record ---------------------------------------------------------------------------


def find_record_problems(record: Mapping, info: Mapping) -> Iterator[str]:
    """Problems of a decoded record, by the features that dataset.json describes."""
    meta = record[shards.META]
    if problem := shards.find_id_problem(meta):
        yield f"meta: {problem}"
    seconds = meta.get("duration")
    if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        yield f"meta, duration: found {seconds!r}, expected seconds"
        return
    if meta.get("task") not in conditions.TASKS:
        yield f"meta, task: found {meta.get('task')!r}, expected one of {conditions.TASKS}"
    if seconds > info["max_seconds"] + 1e-6:
        yield f"meta, duration: found {seconds:g}, expected at most {info['max_seconds']:g}"
    for name, array in record.items():
        if name == shards.WAVE:
            rate, channels = shards.read_audio_format(info)
            expected = (round(seconds * rate), *((channels,) if channels > 1 else ()))
            if shards.read_wave_rate(record) != rate:
                yield f"meta, sample_rate: found {meta.get('sample_rate')!r}, expected {rate}"
            yield from _find_array_problems(name, array, expected, "int16")
        elif name in info["features"]:
            yield from _find_feature_problems(name, array, info["features"][name], seconds)
        elif name != shards.META:
            yield f"{name}: expected {shards.WAVE} or one of {tuple(info['features'])}"
    yield from _find_alignment_problems(meta.get("alignment", []), seconds)


def _find_feature_problems(name: str, array, feature: Mapping, seconds: float) -> Iterator[str]:
    ids = conditions.BY_NAME[name].ids
    rows = conditions.num_frames(name, seconds, feature["rate"])
    is_token = conditions.BY_NAME[name].alignment == conditions.TOKEN
    expected = (rows,) if ids else (feature["width"],) if is_token else (rows, feature["width"])
    yield from _find_array_problems(name, array, expected, feature["dtype"])
    if ids and array.size and not (array.min() >= 0 and array.max() < feature["width"]):
        yield (
            f"{name}: found ids from {array.min()} to {array.max()}, expected 0 to "
            f"{feature['width'] - 1}"
        )


def _find_array_problems(name: str, array, shape: tuple, dtype: str) -> Iterator[str]:
    if array.shape != shape or array.dtype != dtype:
        yield f"{name}: found {array.dtype} {array.shape}, expected {dtype} {shape}"
    elif not np.isfinite(array).all():
        yield f"{name}: found {int((~np.isfinite(array)).sum())} numbers that are not finite"


def _find_alignment_problems(alignment, seconds: float) -> Iterator[str]:
    end = 0.0
    for row in alignment:
        start, stop = row[0], row[1]
        if not (end - MAX_OVERLAP <= start <= stop <= seconds + MAX_EXCESS):
            yield (
                f"meta, alignment: found {row[2]!r} from {start} to {stop} s, expected times in "
                f"order within {seconds:g} s"
            )
            return
        end = stop
