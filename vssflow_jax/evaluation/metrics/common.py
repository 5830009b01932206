"""Per-example values with a mask, their mean and its interval; the spectrograms metrics look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.codecs import mel as mels

RESAMPLES = 2000
CONFIDENCE = 0.95
FLOOR = 1e-3  # mel magnitude under which everything counts as silence
FRAME_RATE = mels.SAMPLE_RATE / mels.HOP  # log-mel frames a second
BANDS = mels.BANDS
CHUNK = 16  # clips analysed at a time
PACE = mels.SAMPLE_RATE  # lengths are padded to whole seconds, so that few programs are compiled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values:
    """A metric's values on n examples.

    The score is sum(weights * values) / sum(weights) over the examples that count. With
    word errors a word as values and reference lengths as weights this is the word error rate.

    Attributes:
      values: float [n]; anything, NaN included, where masked out.
      weights: float [n], not negative.
      mask: bool [n]; False where the metric does not apply to the example.
    """

    values: np.ndarray
    weights: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, values: Sequence[float | None], weights: Sequence[float] | None = None) -> Values:
        """From a list in which None stands for an example that does not count."""
        mask = np.array([value is not None for value in values], bool)
        filled = np.array([0.0 if value is None else value for value in values], np.float64)
        weights = np.ones(len(filled)) if weights is None else np.asarray(weights, np.float64)
        return cls(values=filled, weights=weights, mask=mask & (weights > 0))

    @property
    def count(self) -> int:
        """Examples that count."""
        return int(self.mask.sum())

    def mean(self) -> float | None:
        """The score; None where no example counts."""
        if not self.count:
            return None
        return float(np.average(self.values[self.mask], weights=self.weights[self.mask]))

    def interval(self, seed: int = 0) -> tuple[float, float] | None:
        """Percentile bootstrap interval (95 %) of the score over examples; None without examples.

        Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
        """
        if not self.count:
            return None
        values, weights = self.values[self.mask], self.weights[self.mask]
        rows = np.random.default_rng(seed).integers(0, self.count, (RESAMPLES, self.count))
        means = (values * weights)[rows].sum(1) / weights[rows].sum(1)
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(means, [tail, 100 - tail])
        return float(low), float(high)


@jax.jit
def _analyse(waves: jax.Array) -> jax.Array:
    return mels.log_mel(waves, FLOOR)


def log_mels(waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Log-mel spectrograms of waveforms of any lengths.

    Args:
      waves: each float32 [n] at 16 kHz.

    Returns:
      One float32 [n // 160, 64] a wave, 100 frames a second, cut below at log(FLOOR): what a
      codec loses in near silence is not seen. Frame i is centred at (i + 0.5) / 100 seconds.
    """
    out: list[np.ndarray] = []
    for first in range(0, len(waves), CHUNK):
        some = waves[first : first + CHUNK]
        longest = max(len(wave) for wave in some)
        length = max(-(-longest // PACE), 1) * PACE
        padded = np.zeros((CHUNK, length), np.float32)
        for row, wave in zip(padded, some, strict=False):
            row[: len(wave)] = wave
        analysed = np.asarray(_analyse(jnp.asarray(padded)))
        frames = [len(wave) // mels.HOP for wave in some]
        out += [mel[:count].copy() for mel, count in zip(analysed, frames, strict=False)]
    return out
