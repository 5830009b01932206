"""What metrics share: values with a mask, their mean and interval; log-mels; compiled networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.codecs import mel as mels

RESAMPLES = 2000
CONFIDENCE = 0.95
FLOOR = 1e-3  # mel magnitude below which a sound counts as silence
FRAME_RATE = mels.SAMPLE_RATE / mels.HOP  # log-mel frames a second
BANDS = mels.BANDS
BATCH_SIZE = 16
LENGTH_MULTIPLE = mels.SAMPLE_RATE  # whole seconds, so that few programs are compiled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values:
    """A metric's values on n examples.

    The score is sum(weights * values) / sum(weights) over the unmasked examples. With errors per
    word as values and reference lengths as weights this is the word error rate.

    Attributes:
      values: float [n]; arbitrary where masked out.
      weights: float [n], not negative.
      mask: bool [n]; False where the metric does not apply to the example.
    """

    values: np.ndarray
    weights: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, values: Sequence[float | None], weights: Sequence[float] | None = None) -> Self:
        """From a list with None where the metric does not apply to an example."""
        mask = np.array([value is not None for value in values], bool)
        array = np.array([0.0 if value is None else value for value in values], np.float64)
        weights = np.ones(len(array)) if weights is None else np.asarray(weights, np.float64)
        return cls(values=array, weights=weights, mask=mask & (weights > 0))

    @property
    def count(self) -> int:
        """Unmasked examples."""
        return int(self.mask.sum())

    def mean(self) -> float | None:
        """The score; None without unmasked examples."""
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


class Shares(Values):
    """Values that are 0 or 1, of equal weight: the score is a share of the examples."""

    def interval(self, seed: int = 0) -> tuple[float, float] | None:
        """Wilson's interval (95 %) of the share; None without examples.

        At a share of 0 or 1 a bootstrap's interval has no width, however few the examples.
        Source: Wilson (1927); Brown, Cai and DasGupta (2001), Interval estimation for a binomial
        proportion.
        """
        if not self.count:
            return None
        from scipy.stats import binomtest  # slow to import

        hits = int(self.values[self.mask].sum())
        bounds = binomtest(hits, self.count).proportion_ci(CONFIDENCE, method="wilson")
        return float(bounds.low), float(bounds.high)


@jax.jit
def _log_mel(waves: jax.Array) -> jax.Array:
    return mels.log_mel(waves, FLOOR)


def log_mels(waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Log-mel spectrograms of waveforms of any lengths.

    Args:
      waves: each float32 [n] at 16 kHz.

    Returns:
      One float32 [n // 160, 64] a wave, 100 frames a second, clipped below at log(FLOOR), so
      that losses of a codec in near silence do not count. Frame i is centered at
      (i + 0.5) / 100 seconds.
    """
    out: list[np.ndarray] = []
    for first in range(0, len(waves), BATCH_SIZE):
        batch = waves[first : first + BATCH_SIZE]
        longest = max(len(wave) for wave in batch)
        length = max(-(-longest // LENGTH_MULTIPLE), 1) * LENGTH_MULTIPLE
        padded = np.zeros((BATCH_SIZE, length), np.float32)
        for row, wave in zip(padded, batch, strict=False):
            row[: len(wave)] = wave
        spectrograms = np.asarray(_log_mel(jnp.asarray(padded)))
        frames = [len(wave) // mels.HOP for wave in batch]
        out += [mel[:count].copy() for mel, count in zip(spectrograms, frames, strict=False)]
    return out


def jit_method(model: nn.Module, method: str) -> Callable[..., jax.Array]:
    """A compiled method of a network: a function of its parameters and inputs, in float32."""

    @jax.jit
    def run(params, *inputs):
        with jax.default_matmul_precision("highest"):
            return model.apply({"params": params}, *inputs, method=method)

    return run
