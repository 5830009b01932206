"""Time grids: the times between which a fixed-step solver steps, from 0 (noise) to 1 (data).

    uniform          t_i = i / n
    sway             t_i = u + s (cos(pi u / 2) - 1 + u), u = i / n, s = -1: dense near the noise
    epss             tables of n = 5, 6, 7, 10, 12, 16 steps in units of 1/32: dense near the noise
    logit_normal     t_i = sigmoid(q_i), q_i the i/n quantile of N(0, 1): dense in the middle

Sources: sway, F5-TTS (arXiv 2410.06885, section 3.3); epss, Fast F5-TTS (arXiv 2505.19931);
logit_normal, Esser et al. 2024 (arXiv 2403.03206, section 3.1), there of training times.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from vssflow_jax.common.errors import InputError

SWAY = -1.0
EPSS_UNIT = 1 / 32
EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
Times = tuple[float, ...]


def uniform_times(steps: int) -> Times:
    """Equal steps."""
    return tuple(i / steps for i in range(steps + 1))


def sway_times(steps: int) -> Times:
    """Steps that grow from the noise on."""
    return tuple(u + SWAY * (math.cos(math.pi * u / 2) - 1 + u) for u in uniform_times(steps))


def epss_times(steps: int) -> Times:
    """Empirically pruned steps.

    Raises:
      InputError: there is no table for this number of steps.
    """
    if steps not in EPSS:
        raise InputError(f"--grid=epss: found {steps} steps, expected one of {tuple(EPSS)}")
    return tuple(EPSS_UNIT * count for count in EPSS[steps])


def logit_normal_times(steps: int) -> Times:
    """Steps between quantiles of the logit-normal distribution."""
    normal = statistics.NormalDist()
    inner = (1 / (1 + math.exp(-normal.inv_cdf(u))) for u in uniform_times(steps)[1:-1])
    return (0.0, *inner, 1.0)


UNIFORM = "uniform"
GRIDS: dict[str, Callable[[int], Times]] = {
    UNIFORM: uniform_times,
    "sway": sway_times,
    "epss": epss_times,
    "logit_normal": logit_normal_times,
}
