"""Shards to batches: a Grain pipeline whose position can be saved and restored.

Legend: B clips a batch, n samples, n_c frames of condition c.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import cut_or_pad, to_mono
from vssflow_jax.data import shards
from vssflow_jax.data.crop import RandomCropper
from vssflow_jax.data.mix import Mixer

INT16_SCALE = 32768.0
FEATURE_DTYPE = np.float16  # the shards' own; the network widens features on its device
IDS, CORRUPT = "ids", "corrupt"
HOST_KEYS = (IDS, CORRUPT)  # of a batch: [B] strings that stay on the host


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """Shapes that every example is padded or cut to.

    Attributes:
      samples: samples of the waveform.
      frames: frames of each condition, by name; 1 for those with one vector a clip.
      widths: channels of each condition, by name.
      latent_frames: frames of the latent.
      audio_channels: of the waveform, [samples] with one and [samples, audio_channels] with more.
      latent_channels: of stored latents, which examples then have instead of a waveform.
    """

    samples: int
    frames: Mapping[str, int]
    widths: Mapping[str, int]
    latent_frames: int
    audio_channels: int = 1
    latent_channels: int | None = None

    @classmethod
    def from_duration(
        cls,
        duration: float,
        rates: Mapping[str, float | None],
        widths: Mapping[str, int] | None = None,
        audio: conditions.AudioFormat = conditions.MONO_16K,
    ) -> BatchSpec:
        """The spec for examples of `duration` seconds.

        Args:
          duration: seconds.
          rates: frames a second of each condition in the shards, by name; None: the table's.
          widths: channels of those that differ from the table, by name.
          audio: format of the waves.
        """
        latent = conditions.num_latent_frames(duration)
        return cls(
            samples=latent * audio.sample_rate // conditions.LATENT_RATE,
            audio_channels=audio.channels,
            frames={
                name: conditions.num_frames(name, duration, rates.get(name))
                for name in conditions.NAMES
            },
            widths={c.name: c.width for c in conditions.CONDITIONS} | dict(widths or {}),
            latent_frames=latent,
        )


def read_wave(record: Mapping) -> np.ndarray:
    """A record's sound as it is, float32 [n] or [n, A] in [-1, 1]; empty if it has none."""
    return record.get("wave", np.zeros(0, np.int16)).astype(np.float32) / INT16_SCALE


def read_mono(record: Mapping, sample_rate: int = conditions.SAMPLE_RATE) -> np.ndarray:
    """A record's sound, float32 [n]: the mean of its channels, resampled."""
    return to_mono(read_wave(record), shards.read_wave_rate(record), sample_rate)


def make_example(record: Mapping, spec: BatchSpec) -> dict:
    """A shard's record in the fixed shapes of the spec, absent conditions as zeros.

    Absent phonemes count as present: their id 0 means "no speech", which is true of a clip
    without a transcript. Every other absent condition is masked.

    Raises:
      InputError: features of another width than the spec's.
    """
    features, present = {}, {}
    for condition in conditions.CONDITIONS:
        name = condition.name
        dtype = np.int32 if condition.ids else FEATURE_DTYPE
        is_token = condition.alignment == conditions.TOKEN
        width = () if condition.ids else (spec.widths[name],)
        absent = np.zeros(width if is_token else (0, *width), dtype)
        feature = np.asarray(record.get(name, absent), dtype)
        if feature.shape[1 - is_token :] != width:
            raise InputError(
                f"{name}: found features of width {feature.shape[-1]} in "
                f"{record.get('meta', {}).get('id', 'a record')}, expected {width[0]} as the model "
                "was trained on; prepare with the same --encoders"
            )
        features[name] = feature if is_token else cut_or_pad(feature, spec.frames[name])
        present[name] = np.float32(condition.ids or name in record)
    wave, rate = read_wave(record), shards.read_wave_rate(record)
    if not len(wave) and spec.audio_channels > 1:
        wave = np.zeros((0, spec.audio_channels), np.float32)
    frames = min(round(len(wave) * conditions.LATENT_RATE / rate), spec.latent_frames)
    return {
        **make_sound(record, wave, spec),
        "features": features,
        "present": present,
        "frames": np.int32(frames),
    }


def make_sound(record: Mapping, wave: np.ndarray, spec: BatchSpec) -> dict:
    """The record's wave in the spec's length, or its stored latent's moments, float16 [L, C]."""
    if spec.latent_channels is None:
        return {"wave": cut_or_pad(wave, spec.samples)}
    silent = np.zeros((0, spec.latent_channels), FEATURE_DTYPE)
    latent = record.get("latent", {"mean": silent, "deviation": silent})
    return {"latent": {name: cut_or_pad(x, spec.latent_frames) for name, x in latent.items()}}


def stack_examples(examples: Sequence[Mapping]) -> dict:
    """Joins examples to a batch: every leaf gets a leading axis B."""
    first = examples[0]
    return {
        key: stack_examples([e[key] for e in examples])
        if isinstance(value, Mapping)
        else np.stack([e[key] for e in examples])
        for key, value in first.items()
    }


@dataclasses.dataclass(frozen=True)
class ToExample:
    """Maps a record to an example with its id; can be pickled for Grain's worker processes."""

    spec: BatchSpec

    def __call__(self, record: Mapping) -> dict:
        meta = record.get("meta", {})
        corrupt = "\n".join(meta.get("corrupt", ()))
        host_values = {IDS: np.str_(meta.get("id", "")), CORRUPT: np.str_(corrupt)}
        return {**make_example(record, self.spec), **host_values}


def list_corrupt_records(batch: Mapping) -> list[str]:
    """Names of the corrupt records that others replace in a batch."""
    return [name for names in batch[CORRUPT] if names for name in str(names).split("\n")]


@dataclasses.dataclass(frozen=True)
class BatchRows:
    """Some rows of each batch of an endless sequence: one host's share.

    Attributes:
      records: the sequence.
      batch_size: records a batch.
      rows: numbers of the rows in a batch.
    """

    records: Sequence
    batch_size: int
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.records) // self.batch_size * len(self.rows)

    def __getitem__(self, index: int) -> dict:
        batch, row = divmod(int(index), len(self.rows))
        return self.records[batch * self.batch_size + self.rows[row]]


def shuffle_records(records: Sequence, seed: int, mixer: Mixer | None = None):
    """The records of training in order: an endless sequence with random access.

    The record at an index depends on the index and `seed` alone. The `meta` of a mixed example
    names its sources: `[records[k]["meta"].get("mixed") for k in range(100)]` lists them.

    Args:
      records: random access to shard records, shuffled anew each epoch.
      seed: seeds the order and the mixtures.
      mixer: replaces some examples by mixed ones (data.mix); None: no mixing.
    """
    if mixer is None:
        return grain.MapDataset.source(records).seed(seed).shuffle().repeat(None)
    rows = grain.MapDataset.range(len(records)).seed(seed).shuffle().repeat(None)
    return rows.random_map(mixer)


def iterate_training_batches(
    records: Sequence,
    spec: BatchSpec,
    *,
    batch_size: int,
    seed: int,
    mixer: Mixer | None = None,
    cropper: RandomCropper | None = None,
    workers: int = 0,
    rows: Sequence[int] | None = None,
):
    """An endless Grain iterator of batches of `shuffle_records`.

    Args:
      records: as in `shuffle_records`; so are `seed` and `mixer`.
      spec: shapes.
      batch_size: examples a batch, over all hosts.
      cropper: cuts longer examples to random intervals; None: to their start.
      workers: processes that read and decode; 0: threads.
      rows: rows of each batch that this host reads; None: all.

    Returns:
      An iterator with `get_state` and `set_state`, which save and restore its exact position. It
      counts batches, so all hosts have the same position.
    """
    dataset, count = shuffle_records(records, seed, mixer), batch_size
    if cropper is not None:
        dataset = dataset.map_with_index(cropper)
    if rows is not None and len(rows) < batch_size:
        dataset, count = grain.MapDataset.source(BatchRows(dataset, batch_size, rows)), len(rows)
    examples = dataset.map(ToExample(spec))
    # An endless sequence has no remainder, and rounding its number of batches up would overflow.
    batches = examples.batch(count, drop_remainder=True, batch_fn=stack_examples)
    threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    stream = batches.to_iter_dataset(threads)
    if workers:
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(stream)


def iterate_validation_batches(
    records: Sequence, spec: BatchSpec, *, batch_size: int, max_examples: int, rows: Sequence[int]
):
    """Batches of the first records in order, and as many more as fill the last batch.

    Args:
      records: the validation split; repeated if it is shorter than the last batch needs.
      spec: shapes.
      batch_size: examples a batch, over all hosts.
      max_examples: how many, at most; all of a shorter split.
      rows: rows of each batch that this host reads.
    """
    to_example = ToExample(spec)
    for start in range(0, min(max_examples, len(records)), batch_size):
        yield stack_examples([to_example(records[(start + row) % len(records)]) for row in rows])
