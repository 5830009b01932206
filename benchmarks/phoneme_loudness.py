"""How loud phonemes are in a corpus: root mean square over that of their clip's speech.

    python -m vssflow_jax.corpus --out=talkers --clips=0 --audio_clips=2000 \
        --voices=hibari --sentences=open
    python -m benchmarks.phoneme_loudness --corpus=talkers

Prints the mean of each phoneme over the clips without pictures, softest first
(features/phoneme_loudness.py has these numbers).
"""

from __future__ import annotations

import collections
import pathlib

import numpy as np
from absl import flags

from vssflow_jax import media
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.config import command_line
from vssflow_jax.data import manifest as manifests
from vssflow_jax.text import alignment


def measure_loudness(wave: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Root mean square between edges [n, 2] in seconds, over that between the first and last."""
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(float) ** 2)])
    spans = np.concatenate([edges, [[edges[0, 0], edges[-1, 1]]]])
    start, end = np.clip(np.round(spans.T * SAMPLE_RATE).astype(int), 0, len(wave))
    power = (energy[end] - energy[start]) / np.maximum(end - start, 1)
    return np.sqrt(power[:-1] / power[-1])


def main() -> None:
    """Prints a line for each phoneme."""
    rows = manifests.read_manifest(pathlib.Path(flags.FLAGS.corpus) / "clips.csv")
    values = collections.defaultdict(list)
    for row in (row for row in rows if row.video is None):
        intervals = alignment.read_alignment(row.alignment)
        edges = np.array([i[:2] for i in intervals])
        loudness = measure_loudness(media.read_audio(row.audio), edges)
        for interval, value in zip(intervals, loudness, strict=True):
            values[interval.symbol.rstrip("012")].append(value)
    for symbol, numbers in sorted(values.items(), key=lambda item: np.mean(item[1])):
        print(f"{symbol:3} {np.mean(numbers):.2f} ({len(numbers)})")


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("corpus", None, "Folder of the corpus.", required=True)


if __name__ == "__main__":
    command_line.run(main, define_flags)
