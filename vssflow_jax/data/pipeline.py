"""Shards to batches: a Grain pipeline whose position can be saved and restored.

Legend: B clips a batch, n samples, n_c frames of condition c.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.data.mix import Mixer

PCM = 32768.0  # int16 full scale
FEATURE = np.float16  # as shards have features; the network widens them, on its device
IDS, CORRUPT = "ids", "corrupt"
NOTES = (IDS, CORRUPT)  # of a batch, [B] strings: what the host keeps


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """Shapes that every clip is padded or cut to.

    Attributes:
      samples: of the waveform.
      frames: of each condition, by name; 1 for those that come once a clip.
      latent_frames: the latent's length.
    """

    samples: int
    frames: Mapping[str, int]
    latent_frames: int

    @classmethod
    def of(cls, duration: float, rates: Mapping[str, float | None]) -> BatchSpec:
        """The spec for clips of `duration` seconds; `rates` are the shards' own, by condition."""
        latent = conditions.latent_frames(duration)
        return cls(
            samples=latent * conditions.SAMPLE_RATE // conditions.LATENT_RATE,
            frames={
                name: conditions.frames(name, duration, rates.get(name))
                for name in conditions.NAMES
            },
            latent_frames=latent,
        )


def wave_of(record: Mapping) -> np.ndarray:
    """A record's sound, float32 [n] in [-1, 1]; empty where it has none."""
    return record.get("wave", np.zeros(0, np.int16)).astype(np.float32) / PCM


def fit(array: np.ndarray, length: int) -> np.ndarray:
    """Cuts or zero-pads the first axis to `length`; what fits is not copied."""
    if len(array) >= length:
        return array[:length]
    out = np.zeros((length, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


def example(record: Mapping, spec: BatchSpec) -> dict:
    """A shard's record in the fixed shapes of the spec, absent conditions as zeros.

    Absent phonemes count as present: id 0 says "no speech", which is what a clip without
    a transcript has; every other absent condition is masked.
    """
    features, present = {}, {}
    for condition in conditions.CONDITIONS:
        name, found = condition.name, record.get(condition.name)
        length = spec.frames[name]
        if condition.ids:
            ids = np.zeros(0, np.int32) if found is None else np.asarray(found, np.int32)
            features[name] = fit(ids, length)
        elif condition.align == conditions.TOKEN:
            zeros = np.zeros(condition.width)
            features[name] = np.asarray(zeros if found is None else found, FEATURE)
        else:
            zeros = np.zeros((0, condition.width))
            features[name] = fit(np.asarray(zeros if found is None else found, FEATURE), length)
        present[name] = np.float32(condition.ids or found is not None)
    wave = wave_of(record)
    frames = min(
        round(len(wave) * conditions.LATENT_RATE / conditions.SAMPLE_RATE), spec.latent_frames
    )
    return {
        "wave": fit(wave, spec.samples),
        "features": features,
        "present": present,
        "frames": np.int32(frames),
    }


def stack(examples: Sequence[Mapping]) -> dict:
    """Joins examples to a batch: every leaf gets a leading axis B."""
    first = examples[0]
    return {
        key: stack([e[key] for e in examples])
        if isinstance(value, Mapping)
        else np.stack([e[key] for e in examples])
        for key, value in first.items()
    }


@dataclasses.dataclass(frozen=True)
class ToExample:
    """Picklable map from a record to an example with its notes, for Grain's worker processes."""

    spec: BatchSpec

    def __call__(self, record: Mapping) -> dict:
        meta = record.get("meta", {})
        corrupt = "\n".join(meta.get("corrupt", ()))
        notes = {IDS: np.str_(meta.get("id", "")), CORRUPT: np.str_(corrupt)}
        return {**example(record, self.spec), **notes}


def corrupt_records(batch: Mapping) -> list[str]:
    """Names of the corrupt records for which others stand in a batch."""
    return [name for names in batch[CORRUPT] if names for name in str(names).split("\n")]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Of an endless sequence that is taken in batches, some rows of each batch.

    Attributes:
      records: the sequence.
      batch_size: of the batches.
      rows: neighbouring rows of a batch.
    """

    records: Sequence
    batch_size: int
    rows: range

    def __len__(self) -> int:
        return len(self.records) // self.batch_size * len(self.rows)

    def __getitem__(self, index: int) -> dict:
        batch, row = divmod(int(index), len(self.rows))
        return self.records[batch * self.batch_size + self.rows[row]]


def training_records(records: Sequence, seed: int, mixer: Mixer | None = None):
    """The clips of training in their order, endless and randomly accessible.

    What stands at a place depends on the place and `seed` alone. Of a mixed clip, `meta` tells
    what it was made of: `[clips[k]["meta"].get("mixed") for k in range(100)]` lists them.

    Args:
      records: random access to shard records, shuffled anew each epoch.
      seed: of the order and of the mixtures.
      mixer: replaces some clips by mixed ones (data.mix); None: none.
    """
    if mixer is None:
        return grain.MapDataset.source(records).seed(seed).shuffle().repeat(None)
    rows = grain.MapDataset.range(len(records)).seed(seed).shuffle().repeat(None)
    return rows.random_map(mixer)


def training_batches(
    records: Sequence,
    spec: BatchSpec,
    *,
    batch_size: int,
    seed: int,
    mixer: Mixer | None = None,
    workers: int = 0,
    rows: range | None = None,
):
    """An endless Grain iterator of batches of `training_records`.

    Args:
      records: as there; so are `seed` and `mixer`.
      spec: shapes.
      batch_size: clips a batch, over all hosts.
      workers: processes that read and decode; 0: threads.
      rows: those of each batch that this host reads; None: all.

    Returns:
      An iterator with `get_state` and `set_state`: its position, exactly. It counts batches, so
      that one host's position is any other's.
    """
    dataset, count = training_records(records, seed, mixer), batch_size
    if rows is not None and len(rows) < batch_size:
        dataset, count = grain.MapDataset.source(Rows(dataset, batch_size, rows)), len(rows)
    examples = dataset.map(ToExample(spec))
    # What is endless has no remainder; to round its number of batches up would overflow.
    batches = examples.batch(count, drop_remainder=True, batch_fn=stack)
    threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    stream = batches.to_iter_dataset(threads)
    if workers:
        stream = stream.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(stream)


def validation_batches(
    records: Sequence, spec: BatchSpec, *, batch_size: int, clips: int, rows: range
):
    """Batches of the first `clips` records, in order, a few more to make the last one whole.

    Args:
      records: of the validation split; fewer than are wanted come again.
      spec: shapes.
      batch_size: clips a batch, over all hosts.
      clips: how many; no more than there are.
      rows: those of each batch that this host reads.
    """
    make = ToExample(spec)
    for start in range(0, min(clips, len(records)), batch_size):
        yield stack([make(records[(start + row) % len(records)]) for row in rows])
