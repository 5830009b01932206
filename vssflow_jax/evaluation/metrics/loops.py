"""Joins of loops: how much the sound changes where the end meets the start."""

from __future__ import annotations

import numpy as np

from vssflow_jax.evaluation.metrics.common import log_mels


def measure_change(wave: np.ndarray) -> np.ndarray:
    """The change between neighboring frames, float32 [frames - 1], 100 a second.

    It is that of the log-mel spectrogram, mean over bands, in nepers.

    Args:
      wave: float32 [n] at 16 kHz.
    """
    return np.abs(np.diff(log_mels([wave])[0], axis=0)).mean(1)


def measure_turn(wave: np.ndarray) -> tuple[np.ndarray, int]:
    """The changes of a loop that is played twice, and the place of its join among them.

    Args:
      wave: float32 [n] at 16 kHz, one turn of the loop.
    """
    changes = measure_change(np.tile(wave, 2))
    return changes, len(changes) // 2


def rank_join(wave: np.ndarray) -> float:
    """The share of a loop's changes that are smaller than that at its join; 0.5: the median.

    Args:
      wave: float32 [n] at 16 kHz, one turn of the loop.
    """
    changes, join = measure_turn(wave)
    return rank_change(changes[join], changes[:join])


def rank_change(change: float, others: np.ndarray) -> float:
    """The share of changes that are smaller than one; equal ones count half."""
    return float((others < change).mean() + 0.5 * (others == change).mean())
