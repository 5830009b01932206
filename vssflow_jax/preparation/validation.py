"""Whether prepared shards are what they say: every byte, every record, every number.

`python -m vssflow_jax.prepare --check SHARDS`; the page with pictures is made by gallery.py.
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
from vssflow_jax.common.files import hash_file
from vssflow_jax.data import shards

NAMED = 20  # problems that are printed
SLACK = 1 / conditions.LATENT_RATE  # seconds that a phoneme may outlast its clip
TIMES = 1e-3  # seconds by which phonemes may overlap: times are rounded


@dataclasses.dataclass(kw_only=True)
class Findings:
    """What a look at a data set found.

    Attributes:
      folder: of the shards.
      info: its dataset.json.
      problems: one line each.
      missing: by split, how many records lack each modality.
      shown: by task, the first records with most modalities, for the page.
    """

    folder: pathlib.Path
    info: dict
    problems: list[str] = dataclasses.field(default_factory=list)
    missing: dict[str, collections.Counter] = dataclasses.field(default_factory=dict)
    shown: dict[str, list[dict]] = dataclasses.field(default_factory=dict)


def check(folder: str | pathlib.Path, *, show: int = 3, progress: bool = True) -> Findings:
    """Reads all of a data set and compares it with its dataset.json.

    Args:
      folder: of the shards.
      show: records a task to keep for the page.
      progress: show a bar.

    Raises:
      InputError: no dataset.json, a broken one, or one of another version.
    """
    folder = pathlib.Path(folder)
    found = Findings(folder=folder, info=shards.load_dataset_info(folder))
    try:
        found.problems += described(found.info, folder)
        total = sum(split["clips"] for split in found.info["splits"].values())
        ids: dict[str, str] = {}
        with tqdm(total=total, desc="check", unit="clip", disable=not progress) as bar:
            for name, split in found.info["splits"].items():
                _check_split(found, name, split, ids, show, bar)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / shards.DATASET}: broken ({type(error).__name__}: {error}), "
            "expected the description of prepared shards; prepare again"
        ) from error
    return found


def summary(found: Findings) -> str:
    """The counts as lines of text."""
    lines = []
    for name, split in found.info["splits"].items():
        hours = sum(split["seconds"].values()) / 3600
        missing = ", ".join(f"{n} without {k}" for k, n in sorted(found.missing[name].items()))
        lines.append(
            f"{name}: {split['clips']} clips {split['tasks']}, {hours:.2f} h, "
            f"{sum(split['bytes']) / 1e6:.1f} MB{'; ' + missing if missing else ''}"
        )
    return "\n".join(lines)


def described(info: Mapping, folder: pathlib.Path) -> Iterator[str]:
    """What dataset.json itself says wrongly, and skipped.csv."""
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
        with open(folder / shards.SKIPPED, encoding="utf-8", newline="") as file:
            listed = len(list(csv.DictReader(file)))
    except FileNotFoundError:
        listed = None
    if listed != info["skipped"]:
        yield f"{shards.SKIPPED}: found {listed} clips, expected {info['skipped']}"


def _check_split(found: Findings, name: str, split: Mapping, ids: dict, show: int, bar) -> None:
    """Files, then records, then the counts that follow from them."""
    tasks, missing = collections.defaultdict(list), collections.Counter()
    seconds, row, whole = collections.Counter(), 0, True
    files = zip(split["files"], split["bytes"], split["sha256"], strict=True)
    for file, size, digest in files:
        if problem := _file_problem(found.folder / file, size, digest):
            found.problems.append(f"{file}: {problem}")
            whole = False
            continue
        for number, record in enumerate(shards.iterate_shard(found.folder / file)):
            bar.update()
            where = f"{file} record {number}"
            if isinstance(record, Exception):
                found.problems.append(f"{where}: cannot be decoded ({record})")
                whole = False
                continue
            meta = record[shards.META]
            found.problems += [f"{where}: {p}" for p in record_problems(record, found.info)]
            if (other := ids.setdefault(str(meta.get("id")), where)) != where:
                found.problems.append(f"{where}: found the id {meta['id']!r}, which {other} has")
            tasks[meta.get("task")].append(row)
            seconds[meta.get("task")] += float(meta.get("duration") or 0)
            missing.update(k for k in (shards.WAVE, *conditions.NAMES) if k not in record)
            _keep(found, record, show)
            row += 1
    found.missing[name] = missing
    if whole:
        counted = {
            "clips": row,
            "rows": dict(tasks),
            "missing": dict(missing),
            "seconds": {task: round(total, 2) for task, total in seconds.items()},
        }
        for key, value in counted.items():
            if not _same(split[key], value):
                found.problems.append(
                    f"dataset.json, splits.{name}.{key}: found {_short(split[key])}, expected "
                    f"{_short(value)} by the records"
                )


def _same(one, other) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=0.02)
    return one == other


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _file_problem(path: pathlib.Path, size: int, digest: str) -> str:
    if not path.exists():
        return "no such file"
    if path.stat().st_size != size:
        return f"found {path.stat().st_size} bytes, expected {size}"
    found = hash_file(path)
    return "" if found == digest else f"found sha256 {found[:16]}…, expected {digest[:16]}…"


def _keep(found: Findings, record: dict, show: int) -> None:
    """Keeps the records of a task that have most; of equals, the first."""
    kept = found.shown.setdefault(str(record[shards.META].get("task")), [])
    kept.append(record)
    kept.sort(key=len, reverse=True)  # stable
    del kept[show:]


# ---- one record ---------------------------------------------------------------------------


def record_problems(record: Mapping, info: Mapping) -> Iterator[str]:
    """What is wrong with a decoded record, by the features that dataset.json describes."""
    meta = record[shards.META]
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
            expected = (round(seconds * conditions.SAMPLE_RATE),)
            yield from _array_problems(name, array, expected, "int16")
        elif name in info["features"]:
            yield from _feature_problems(name, array, info["features"][name], seconds)
        elif name != shards.META:
            yield f"{name}: expected {shards.WAVE} or one of {tuple(info['features'])}"
    yield from _alignment_problems(meta.get("alignment", []), seconds)


def _feature_problems(name: str, array, feature: Mapping, seconds: float) -> Iterator[str]:
    ids = conditions.BY_NAME[name].ids
    rows = conditions.num_frames(name, seconds, feature["rate"])
    once = conditions.BY_NAME[name].align == conditions.TOKEN
    expected = (rows,) if ids else (feature["width"],) if once else (rows, feature["width"])
    yield from _array_problems(name, array, expected, feature["dtype"])
    if ids and array.size and not (array.min() >= 0 and array.max() < feature["width"]):
        yield (
            f"{name}: found ids from {array.min()} to {array.max()}, expected 0 to "
            f"{feature['width'] - 1}"
        )


def _array_problems(name: str, array, shape: tuple, dtype: str) -> Iterator[str]:
    if array.shape != shape or array.dtype != dtype:
        yield f"{name}: found {array.dtype} {array.shape}, expected {dtype} {shape}"
    elif not np.isfinite(array).all():
        yield f"{name}: found {int((~np.isfinite(array)).sum())} numbers that are not finite"


def _alignment_problems(alignment, seconds: float) -> Iterator[str]:
    end = 0.0
    for row in alignment:
        start, stop = row[0], row[1]
        if not (end - TIMES <= start <= stop <= seconds + SLACK):
            yield (
                f"meta, alignment: found {row[2]!r} from {start} to {stop} s, expected times in "
                f"order within {seconds:g} s"
            )
            return
        end = stop
