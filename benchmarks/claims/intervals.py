"""Means over seeds with 95 % intervals, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean, and how far its 95 % interval reaches to either side; None with one value."""

    mean: float
    half: float | None

    @property
    def beside_zero(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean: t_(n-1) s / sqrt(n). It takes the values as normal."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, None)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return Interval(mean, float(quantile * np.std(values, ddof=1) / count**0.5))


def of_row(runs: Mapping[str, Mapping], task: str, name: str) -> dict[str, float]:
    """A score by seed, of the seeds that have it."""
    found = {seed: run["scores"].get(task, {}).get(name) for seed, run in runs.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def paired(ours: Mapping[str, float], first: Mapping[str, float]) -> Interval | None:
    """The difference from another row over the seeds that both have; None without any."""
    both = [seed for seed in ours if seed in first]
    return interval([ours[seed] - first[seed] for seed in both]) if both else None
