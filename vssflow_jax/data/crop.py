"""Random crops of the examples that are longer than a training batch's examples.

A crop is one interval of time: the wave and every aligned condition are cut to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.conditions import BY_NAME, LATENT_RATE, SYNC_HOP, TOKEN
from vssflow_jax.data.shards import read_wave_rate

CLIP_GRID = 5  # latent frames: 0.2 s, which is 2 rows of CLIP features at their 10 a second
MAX_EXAMINED = 256  # examples that are read to describe how long the examples are
_STREAM = 14  # of the random numbers of a run's seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCropper:
    """Cuts a record to a random interval; can be pickled.

    The interval depends on the seed and the record's place in the order of training alone, so it
    is the same after resuming and on any number of hosts. It starts at a multiple of 0.2 s, or of
    0.32 s where sync tokens come in overlapping segments, which are never cut. The last of the
    possible intervals may be shorter by less than that, so that the end of every example is seen.

    Attributes:
      latent_frames: length of the interval.
      rates: frames a second of the records' conditions; None: one vector an example.
      seed: of the run.
    """

    latent_frames: int
    rates: Mapping[str, float | None]
    seed: int

    def __call__(self, index: int, record: Mapping) -> Mapping:
        """The crop of the record at `index`; the record itself if it is not longer."""
        excess = _count_latent_frames(record) - self.latent_frames
        if excess <= 0:
            return record
        grid = _find_grid(self.rates)
        rng = np.random.default_rng((self.seed, _STREAM, index))
        return crop_record(
            record, grid * int(rng.integers(-(-excess // grid) + 1)), self.latent_frames, self.rates
        )


def crop_record(
    record: Mapping, start: int, latent_frames: int, rates: Mapping[str, float | None]
) -> dict:
    """The wave and the aligned conditions of an interval; the rest of the record as it is.

    Args:
      record: of a shard, or a mixed one.
      start: latent frame at which the interval starts.
      latent_frames: its length.
      rates: frames a second of the record's conditions; None: the table's.
    """
    out = dict(record)
    for name, array in record.items():
        if name == "wave":
            rate = float(read_wave_rate(record))
        elif name in BY_NAME and BY_NAME[name].alignment != TOKEN:
            rate = _row_rate(name, rates)
        else:
            continue
        first, last = (
            round(frame * rate / LATENT_RATE) for frame in (start, start + latent_frames)
        )
        out[name] = array[first:last]
    return out


def describe_lengths(records: Sequence, latent_frames: int) -> str:
    """A line that says what share of the examples a training step sees.

    Args:
      records: of training; the line is about MAX_EXAMINED of them if there are more.
      latent_frames: of an example in a batch.
    """
    rows = np.unique(np.linspace(0, len(records) - 1, MAX_EXAMINED).round().astype(int))
    frames = np.array([_count_latent_frames(records[int(row)]) for row in rows])
    seconds, shortest, longest = (
        f"{number / LATENT_RATE:.1f}" for number in (latent_frames, frames.min(), frames.max())
    )
    lengths = f"clips of {shortest} to {longest} s"
    if len(rows) < len(records):
        lengths += f" ({len(rows)} of {len(records)} examined)"
    if frames.max() <= latent_frames:
        return f"{lengths}, seen whole"
    share = np.minimum(latent_frames / frames, 1).mean()
    return (
        f"{lengths}, seen {seconds} s at a time, from random places: {100 * share:.0f} % of a clip "
        f"a step; validation sees the first {seconds} s of each"
    )


def _count_latent_frames(record: Mapping) -> int:
    return round(len(record.get("wave", ())) * LATENT_RATE / read_wave_rate(record))


def _find_grid(rates: Mapping[str, float | None]) -> int:
    """Latent frames between possible starts."""
    has_segments = (rates.get("sync") or BY_NAME["sync"].rate) != LATENT_RATE
    return SYNC_HOP if has_segments else CLIP_GRID


def _row_rate(name: str, rates: Mapping[str, float | None]) -> float:
    """Rows a second inside a record. Sync segments have a row a video frame, except at the end."""
    if name == "sync":
        return float(LATENT_RATE)
    return rates.get(name) or BY_NAME[name].rate
