"""Prepared clips on disk: ArrayRecord shards of safetensors records, described by dataset.json.

A record holds `wave` (int16 [n], or [n, A] with several channels), the conditions of the table
(float16 features, int32 phoneme ids), each absent if the clip lacks it, and `meta`, a JSON object:
id, task, text, duration, sample_rate (of the wave, if it is not 16 kHz), alignment ([[start, end,
symbol], ...], seconds), times (the source of the phonemes' times: "given" in a file, "heard" by
the aligner, or "predicted") and annotation.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError, shorten
from vssflow_jax.common.files import (
    download_file,
    file_size,
    is_remote,
    local_copy,
    read_json,
    replacing,
    to_path,
)
from vssflow_jax.common.locks import Locks
from vssflow_jax.conditions import (
    BY_NAME,
    CONDITIONS,
    LATENT_RATE,
    SAMPLE_RATE,
    TASKS,
    TOKEN,
    AudioFormat,
)
from vssflow_jax.data.manifest import MAX_ID_BYTES, is_file_name

DATASET, SKIPPED = "dataset.json", "skipped.csv"
CACHE_VARIABLE, CACHE = "VSSFLOW_CACHE", "~/.cache/vssflow_jax/shards"  # copies from buckets
LOCKS = ".lock"
VERSION = 1
MAX_RECORD_ID_BYTES = MAX_ID_BYTES + 10  # a manifest's id and the number of a window
MAX_SECONDS = 86_400.0  # of a record
MAX_RATE = 768_000  # samples a second
META, WAVE, PHONEMES = "meta", "wave", "phonemes"
LATENTS = "latents"  # in dataset.json: which codec made them, and the files of each split
LATENT, MEAN, DEVIATION = "latent", "mean", "deviation"  # of a record that is read with its latent
# Records are read one by one, and half-precision features hardly compress: the fastest codec.
WRITER_OPTIONS = "group_size:1,snappy"
Record = dict[str, Any]


def describe_features(encoders: Sequence) -> dict[str, dict]:
    """Each feature of a record: width, rate (None: once a clip), dtype, and the encoder that made
    it with version and hash.

    Derived from the condition table and the `encoders` (features.registry), which set the rates.
    A condition without an encoder (phonemes) has the table's rate.
    """
    by_condition = {encoder.condition: encoder for encoder in encoders}
    features = {}
    for condition in CONDITIONS:
        encoder = by_condition.get(condition.name)
        features[condition.name] = {
            "width": encoder.width if encoder else condition.width,
            "rate": encoder.rate if encoder else condition.rate,
            "dtype": "int32" if condition.ids else "float16",
            "encoder": encoder.name if encoder else "cmudict",
            "version": encoder.version if encoder else 1,
            "hash": encoder.hash if encoder else "arpabet-71",
        }
    return features


# ---- records ------------------------------------------------------------------------------


def encode_record(record: Record) -> bytes:
    """A record as bytes; the same record always gives the same bytes.

    Raises ValueError for a key or a dtype that the schema does not have.
    """
    tensors = {}
    for name, array in record.items():
        if name == META:
            text = json.dumps(array, sort_keys=True, ensure_ascii=False)
            # File names that are no UTF-8 become escapes of JSON.
            tensors[META] = np.frombuffer(text.encode(errors="backslashreplace"), np.uint8)
            continue
        expected = record_dtype(name)
        if array.dtype != expected:
            raise ValueError(f"record {name}: found {array.dtype}, expected {expected}")
        tensors[name] = np.ascontiguousarray(array)
    return save(tensors)


def record_dtype(name: str) -> np.dtype:
    """The dtype of a record's array. Raises ValueError for an unknown name."""
    if name == WAVE:
        return np.dtype(np.int16)
    if name not in BY_NAME:
        raise ValueError(f"record: found key {name!r}, expected {WAVE} or one of {tuple(BY_NAME)}")
    return np.dtype(np.int32 if BY_NAME[name].ids else np.float16)


def decode_record(data: bytes) -> Record:
    """The inverse of `encode_record`: arrays by name, and `meta` as a dict.

    Raises SafetensorError, KeyError or ValueError for bytes that are no record.
    """
    record: Record = load(data)
    meta = json.loads(record.pop(META).tobytes())
    if not isinstance(meta, dict):
        raise ValueError("meta is no object")
    for name, array in record.items():
        _check_array(name, array)
    record[META] = meta
    return record


def read_wave_rate(record: Mapping) -> int:
    """Samples a second of a record's wave."""
    return record.get(META, {}).get("sample_rate", SAMPLE_RATE)


def latents_name(shard: str) -> str:
    """The name of the file with the latents of a shard."""
    return f"{pathlib.Path(shard).stem}.{LATENTS}.array_record"


def encode_latent(mean: np.ndarray | None, deviation: np.ndarray | None) -> bytes:
    """The moments of a record's latent, float16 [L, C] each, as bytes; None: it has no sound."""
    return save({} if mean is None else {MEAN: mean, DEVIATION: deviation})


def _check_array(name: str, array: np.ndarray) -> None:
    """Raises ValueError for an array that the schema does not have."""
    condition = BY_NAME.get(name)  # None: the wave
    is_flat = condition is not None and (condition.ids or condition.alignment == TOKEN)
    dimensions = (1, 2) if condition is None else (1,) if is_flat else (2,)
    if array.dtype != record_dtype(name) or array.ndim not in dimensions:
        raise ValueError(f"{name} is {array.dtype} {array.shape}")
    has_ids = condition is not None and condition.ids and array.size
    if has_ids and not 0 <= array.min() <= array.max() < condition.width:
        raise ValueError(f"{name} has ids from {array.min()} to {array.max()}")


def find_meta_problem(meta: Mapping) -> str | None:
    """Why nothing can be generated or trained from a record's `meta`; None if it can."""
    if problem := find_id_problem(meta):
        return problem
    seconds = meta.get("duration")
    if not (isinstance(seconds, int | float) and 0 < seconds < MAX_SECONDS):
        return f"found the duration {seconds!r:.40}, expected seconds"
    rate = meta.get("sample_rate", SAMPLE_RATE)
    if not (isinstance(rate, int) and 0 < rate <= MAX_RATE):
        return f"found the sample rate {rate!r:.40}, expected samples a second"
    if meta.get("task") not in TASKS:
        return f"found the task {meta.get('task')!r:.40}, expected one of {TASKS}"
    if not isinstance(meta.get("text", ""), str):
        return f"found the text {meta['text']!r:.40}, expected text"
    alignment = meta.get("alignment", [])
    if not (isinstance(alignment, list) and all(map(_is_interval, alignment))):
        return (
            f"found the alignment {alignment!r:.40}, expected [start, end, symbol] of each phoneme"
        )
    return None


def _is_interval(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and all(isinstance(time, int | float) and 0 <= time < MAX_SECONDS for time in row[:2])
        and isinstance(row[2], str)
    )


def find_id_problem(meta: Mapping) -> str | None:
    """Why a record's id cannot be a file name, which sampling makes of it; None if it can."""
    if is_file_name(meta.get("id"), MAX_RECORD_ID_BYTES):
        return None
    return (
        f"found the id {meta.get('id')!r:.60}, expected a file name of at most "
        f"{MAX_RECORD_ID_BYTES} bytes without / and not starting with a dot"
    )


# ---- writing ------------------------------------------------------------------------------


@contextlib.contextmanager
def open_shard_writer(path: str | os.PathLike) -> Iterator[Callable[[Record | bytes], None]]:
    """Yields a function that adds a record, encoded or not, to a shard.

    The shard appears under `path` when the block ends without an error; otherwise nothing is left
    behind. A full disk raises OSError.
    """
    with replacing(path) as partial:
        try:
            writer = ArrayRecordWriter(str(partial), WRITER_OPTIONS)
            try:
                yield lambda record: writer.write(
                    record if isinstance(record, bytes) else encode_record(record)
                )
            finally:
                writer.close()
        except RuntimeError as error:
            raise _disk_error(error, to_path(path)) from error


def _disk_error(error: RuntimeError, path: pathlib.Path) -> Exception:
    """The library reports a full disk in words only: this recovers the error number."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES):
        if os.strerror(number) in str(error):
            return OSError(number, os.strerror(number), str(path))
    return error


def hash_dataset(hashes: Sequence[str], features: Mapping) -> str:
    """Identity of a data set: 16 digits over the SHA-256 of its shards and its features."""
    content = [list(hashes), features, SAMPLE_RATE, LATENT_RATE]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


# ---- reading ------------------------------------------------------------------------------


class CorruptRecord(InputError):
    """A record whose bytes are damaged.

    Args:
      name: its file and its number in it.
      reason: the error of the reading library.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return shorten(f"{self.name}: corrupt ({self.reason}), expected a clip; prepare again")


def _can_open(file: str) -> bool:
    try:
        ArrayRecordReader(file).close()
    except RuntimeError:
        return False
    return True


class Split:
    """The examples of one split: a random-access sequence of records. Can be pickled.

    Reading raises InputError for an id that is no file name: whoever reads shards writes files
    called after their ids.

    Args:
      files: shards in order.
      rows: which records of them, by number; None: all.
      replace_corrupt: replace a corrupt record by the next good one, in order, and name the
        corrupt ones in its `meta` under `corrupt`; without it, reading one raises `CorruptRecord`.
      latents: files with the latents of the shards, which records then have under `latent`.
    """

    def __init__(
        self,
        files: Sequence[str],
        rows: Sequence[int] | None = None,
        replace_corrupt: bool = False,
        latents: Sequence[str] = (),
    ):
        self._files, self._replace_corrupt = list(files), replace_corrupt
        try:
            self._source = ArrayRecordDataSource(self._files) if files else ()
            self._latents = ArrayRecordDataSource(list(latents)) if latents else None
        except RuntimeError as error:
            files = [*self._files, *latents]
            file = next((file for file in files if not _can_open(file)), files[0])
            raise InputError(f"{file}: {error}; an incomplete shard, prepare again") from None
        if self._latents is not None and len(self._latents) != len(self._source):
            raise InputError(
                f"{latents[0]}: found {len(self._latents)} latents for {len(self._source)} clips, "
                "expected as many; prepare again"
            )
        self._rows = None if rows is None else np.asarray(rows, np.int64)

    @property
    def num_stored(self) -> int:
        """Records in the shards, whether they belong to the split's rows or not."""
        return len(self._source)

    @property
    def num_different(self) -> int:
        """Records of the split, each counted once if it is repeated."""
        return len(self) if self._rows is None else len(np.unique(self._rows))

    def __len__(self) -> int:
        return len(self._source) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> Record:
        """Arrays by name and `meta`; missing modalities are absent."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        corrupt = []
        for place in range(int(index), int(index) + len(self)):
            try:
                record = self._read(place % len(self))
            except CorruptRecord as error:
                if not self._replace_corrupt:
                    raise
                corrupt.append(error.name)
                continue
            if corrupt:
                record[META]["corrupt"] = corrupt
            return record
        raise InputError(f"{', '.join(self._files)}: found corrupt records only; prepare again")

    def _read(self, index: int) -> Record:
        row = index if self._rows is None else int(self._rows[index])
        try:
            record = decode_record(self._source[row])
            if self._latents is not None:
                record[LATENT] = load(self._latents[row])
        except (RuntimeError, SafetensorError, KeyError, ValueError) as error:
            raise CorruptRecord(self._name(row), " ".join(str(error).split())) from None
        if problem := find_meta_problem(record[META]):
            raise InputError(f"{self._name(row)}: {problem}")
        return record

    def _name(self, row: int) -> str:
        for file in self._files:
            reader = ArrayRecordReader(file)
            count = reader.num_records()
            reader.close()
            if row < count:
                return f"{file}, record {row}"
            row -= count
        raise IndexError(row)


def iterate_shard(path: str | os.PathLike) -> Iterator[Record | Exception]:
    """The records of one file in order; an exception in the place of each damaged one."""
    with local_copy(path) as copy:
        source = ArrayRecordDataSource([str(copy)])
        for number in range(len(source)):
            try:
                record = decode_record(source[number])
            except Exception as error:  # whatever the libraries make of damaged bytes
                yield error
            else:
                yield record


def load_dataset_info(folder: str | os.PathLike) -> dict:
    """dataset.json of prepared shards: features, splits, skipped clips, statistics, hash.

    Raises InputError where there is none or it is broken or of another version.
    """
    path = hub.find_path(folder, hub.DATASET) / DATASET
    info = read_json(path, "prepared shards (python -m vssflow_jax.prepare)")
    if "version" in info and info["version"] != VERSION:
        raise InputError(
            f"{path}: found version {info['version']!r:.40}, expected {VERSION}; prepare again"
        )
    if field := _find_broken_field(info):
        raise InputError(f"{path}: broken (field {field}), expected prepared shards; prepare again")
    return info


def read_audio_format(info: Mapping) -> AudioFormat:
    """The format of the waves that a dataset.json describes."""
    return AudioFormat(info["sample_rate"], info.get("audio_channels", 1))


def _find_broken_field(info: Mapping) -> str | None:
    """The first field of a dataset.json that has no value of its kind, by dotted names."""
    if "version" not in info:
        return "version"
    for name in ("features", "splits", "statistics"):
        if not isinstance(info.get(name), dict):
            return name
    if not isinstance(info.get("hash"), str):
        return "hash"
    if not (isinstance(info.get("sample_rate"), int) and 0 < info["sample_rate"] <= MAX_RATE):
        return "sample_rate"
    if info.get("audio_channels", 1) not in (1, 2):
        return "audio_channels"
    for name, feature in info["features"].items():
        if not (isinstance(feature, dict) and _is_rate(feature.get("rate", math.nan))):
            return f"features.{name}"
        if not (isinstance(feature.get("width"), int) and feature["width"] > 0):
            return f"features.{name}.width"
    for name, split in info["splits"].items():
        if field := _find_broken_split_field(split):
            return f"splits.{name}.{field}"
    return None


def _is_rate(rate: object) -> bool:
    return rate is None or (isinstance(rate, int | float) and 0 < rate < math.inf)


def _find_broken_split_field(split: object) -> str | None:
    if field := _find_broken_list(split):
        return field
    if not isinstance(split.get("clips"), int):
        return "clips"
    if not _are_rows(split.get("silent"), split["clips"]):
        return "silent"
    rows = split.get("rows", {})
    if not (isinstance(rows, dict) and all(_are_rows(x, split["clips"]) for x in rows.values())):
        return "rows"
    if LATENTS in split and (field := _find_broken_list(split[LATENTS])):
        return f"{LATENTS}.{field}"
    return None


def _find_broken_list(listed: object) -> str | None:
    """The first broken field of a list of files with their sizes and hashes."""
    files = listed.get("files") if isinstance(listed, dict) else None
    if not (isinstance(files, list) and all(map(is_file_name, files))):
        return "files"
    sizes, hashes = listed.get("bytes"), listed.get("sha256")
    if not (isinstance(sizes, list) and len(sizes) == len(files)):
        return "bytes"
    # Hashes name the copies of shards in buckets.
    if not (isinstance(hashes, list) and len(hashes) == len(files) and all(map(_is_hash, hashes))):
        return "sha256"
    return None


def _is_hash(digest: object) -> bool:
    return isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) is not None


def _are_rows(numbers: object, count: int) -> bool:
    """Whether it is a list of numbers of `count` records."""
    return isinstance(numbers, list) and all(isinstance(n, int) and 0 <= n < count for n in numbers)


def open_split(
    folder: str | os.PathLike,
    split: str,
    *,
    with_wave: bool = False,
    tasks: Sequence[str] = (),
    repeats: Mapping[str, int] | None = None,
    replace_corrupt: bool = False,
    with_latents: bool = False,
) -> Split:
    """Opens a split of prepared shards.

    Args:
      folder: where dataset.json is, or the name of a data set on the hub.
      split: train, valid or test.
      with_wave: only clips that have sound.
      tasks: only clips of these tasks; (): of all.
      repeats: how many times the split has each clip of a task, by task; those not named once.
      replace_corrupt: see `Split`.
      with_latents: read the latents that `prepare --latents` has stored as well.

    Raises InputError for an unknown split or task, and for shards that are missing, cut short
    or made before clips were listed by task.
    """
    folder = hub.find_path(folder, hub.DATASET)
    splits = load_dataset_info(folder)["splits"]
    if split not in splits:
        raise InputError(f"{folder}, split: found {split!r}, expected one of {sorted(splits)}")
    location = f"{folder / DATASET}, splits.{split}"
    repeats = {task: count for task, count in (repeats or {}).items() if count > 1}
    rows = range(splits[split]["clips"])
    if tasks or repeats:
        rows = _select_rows(splits[split], tasks or TASKS, repeats, location)
    silent = set(splits[split]["silent"]) if with_wave else ()
    selected = [row for row in rows if row not in silent] if silent or tasks or repeats else None
    latents = find_files(folder, splits[split][LATENTS]) if with_latents else ()
    records = Split(find_files(folder, splits[split]), selected, replace_corrupt, latents)
    if records.num_stored != splits[split]["clips"]:
        raise InputError(
            f"{location}.clips: found {splits[split]['clips']}, expected "
            f"{records.num_stored} as its shards hold; prepare again"
        )
    return records


def find_files(folder: pathlib.Path, listed: Mapping) -> list[str]:
    """Files on this machine that dataset.json lists with their sizes and hashes.

    Raises InputError for one that is missing or cut short.
    """
    copies = []
    entries = zip(listed["files"], listed["bytes"], listed["sha256"], strict=True)
    for name, expected, digest in entries:
        path = folder / name
        size = file_size(path) if path.exists() else None
        if size != expected:
            actual = "no such file" if size is None else f"found {size} bytes"
            raise InputError(f"{path}: {actual}, expected {expected} bytes; prepare again")
        copies.append(str(find_copy(path, digest)))
    return copies


def find_copy(path: pathlib.Path, digest: str) -> pathlib.Path:
    """The shard on this machine: itself, or the copy that is kept of one in a bucket.

    Copies are kept under their hash, so a shard is fetched once a machine, by one of its processes.

    Args:
      path: of the shard.
      digest: its SHA-256.
    """
    if not is_remote(path):
        return path
    cache = pathlib.Path(os.environ.get(CACHE_VARIABLE) or CACHE).expanduser() / digest[:2]
    copy = cache / f"{digest}-{path.name}"
    if not copy.exists():
        with Locks(cache / LOCKS) as locks:
            locks.take(copy.name, wait=True)
            if not copy.exists():
                with replacing(copy) as partial:
                    download_file(path, partial)
    return copy


def _select_rows(
    split: dict, tasks: Sequence[str], repeats: Mapping[str, int], location: str
) -> list[int]:
    """Numbers of the clips of some tasks, in the order of the shards, repeated by task."""
    if "rows" not in split:
        raise InputError(f"{location}: found no field `rows`, expected one; prepare again")
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown:
        raise InputError(f"data.tasks: found {unknown}, expected some of {TASKS}")
    return sorted(
        row
        for task in tasks
        for row in split["rows"].get(task, ())
        for _ in range(repeats.get(task, 1))
    )
