"""Means over seeds with 95 % intervals, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and the half width of its 95 % interval; None with one value."""

    mean: float
    half: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.half is not None and abs(self.mean) > self.half


def student_interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean, t_(n-1) s / sqrt(n), for normally distributed values."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, None)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return Interval(mean, float(quantile * np.std(values, ddof=1) / count**0.5))


def scores_by_seed(runs: Mapping[str, Mapping], task: str, name: str) -> dict[str, float]:
    """A score by seed, for the seeds that have it."""
    scores = {seed: run["scores"].get(task, {}).get(name) for seed, run in runs.items()}
    return {seed: value for seed, value in scores.items() if value is not None}


def paired_difference(ours: Mapping[str, float], first: Mapping[str, float]) -> Interval | None:
    """The difference from another row over the seeds of both; None without any."""
    seeds = [seed for seed in ours if seed in first]
    return student_interval([ours[seed] - first[seed] for seed in seeds]) if seeds else None
