"""Latents beside shards: what a codec makes of each wave, so that training need not encode it.

Each shard gets a file `NAME.latents.array_record` with a record for each of its own, in order, and
dataset.json says which codec made them. A wave is padded to the longest clip of the data set before
it is encoded, as a training step pads it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from tqdm import tqdm

from vssflow_jax.codecs.interface import Codec, hash_latents, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, hash_file, to_path, write_text
from vssflow_jax.conditions import num_latent_frames
from vssflow_jax.data import pipeline, shards

BATCH_SIZE = 16  # waves that are encoded together


def write_latents(
    folder: str | os.PathLike,
    codec_folder: str | os.PathLike,
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
) -> dict:
    """Writes the latents of prepared shards; files that are complete are kept.

    Args:
      folder: of the shards.
      codec_folder: of the codec.
      batch_size: waves that are encoded together, at most.
      progress: show a bar.

    Returns:
      The contents of dataset.json, whose `latents` now describe them.

    Raises:
      InputError: no shards or no codec there, or a damaged record.
    """
    folder, codec = to_path(folder), load_codec(codec_folder)
    info = shards.load_dataset_info(folder)
    frames = num_latent_frames(info["max_seconds"])
    facts = {"codec": hash_latents(codec), "channels": codec.channels, "frames": frames}
    encode = jax.jit(lambda codec, waves: codec.encode(waves))
    device_codec = jax.device_put(codec)
    clips = [split["clips"] for split in info["splits"].values()]
    total, batch_size = sum(clips), max(1, min(batch_size, max(clips)))  # rows of padding cost time
    with tqdm(total=total, desc="latents", unit="clip", disable=not progress) as bar:
        for split in info["splits"].values():
            written = []
            for name, digest in zip(split["files"], split["sha256"], strict=True):
                key = hashlib.sha256(json.dumps([digest, facts]).encode()).hexdigest()
                path = folder / shards.latents_name(name)
                if not _is_finished(path, key):
                    audio = shards.read_audio_format(info)
                    samples = frames * audio.sample_rate // shards.LATENT_RATE
                    shape = (batch_size, samples, audio.channels)[: 2 + (audio.channels > 1)]
                    encode_waves = _make_encoder(encode, device_codec, shape)
                    _write_file(path, folder / name, encode_waves, batch_size, key, bar)
                written.append(json.loads(_summary(path).read_text()) | {"file": path.name})
            split[shards.LATENTS] = {
                field: [summary[key] for summary in written]
                for field, key in (("files", "file"), ("bytes", "bytes"), ("sha256", "sha256"))
            }
    info[shards.LATENTS] = facts
    write_text(folder / shards.DATASET, json.dumps(info, indent=1))
    if progress:
        print(f"latents of {total} clips by the codec {facts['codec']}", flush=True)
    return info


def _summary(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".json")


def _is_finished(path: pathlib.Path, key: str) -> bool:
    """Whether a file of latents exists, complete, of the same shard and codec."""
    try:
        summary = json.loads(_summary(path).read_text())
        return summary["key"] == key and file_size(path) == summary["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make_encoder(encode, codec: Codec, shape: tuple[int, ...]):
    """The function of waves, at most as many as in a batch of `shape`, to their moments.

    Mean and standard deviation, float16 [n, L, C] each.
    """

    def encode_waves(waves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        batch = np.zeros(shape, np.float32)
        for row, wave in zip(batch, waves, strict=False):
            row[: len(wave)] = wave[: len(row)]
        mean, deviation = encode(codec, batch)
        return tuple(np.asarray(x, np.float16)[: len(waves)] for x in (mean, deviation))

    return encode_waves


def _write_file(path, shard, encode_waves, batch_size: int, key: str, bar) -> None:
    """Writes the latents of a shard, and the summary that makes them count as complete."""
    with shards.open_shard_writer(path) as write:
        for records in _split_batches(_read_records(shard), batch_size):
            waves = [pipeline.read_wave(record) for record in records]
            for record, mean, deviation in zip(records, *encode_waves(waves), strict=True):
                moments = (mean, deviation) if shards.WAVE in record else (None, None)
                write(shards.encode_latent(*moments))
            bar.update(len(records))
    summary = {"key": key, "bytes": file_size(path), "sha256": hash_file(path)}
    write_text(_summary(path), json.dumps(summary))


def _split_batches(records: Iterator[Mapping], size: int) -> Iterator[list[Mapping]]:
    while batch := list(itertools.islice(records, size)):
        yield batch


def _read_records(shard: pathlib.Path) -> Iterator[Mapping]:
    for number, record in enumerate(shards.iterate_shard(shard)):
        if isinstance(record, Exception):
            raise InputError(
                f"{shard}, record {number}: corrupt ({record}), expected a clip; prepare again"
            )
        yield record
