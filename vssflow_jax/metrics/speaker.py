"""Whose voice it is: a classifier fitted on ground truth, and likeness to the reference voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from vssflow_jax.errors import InputError
from vssflow_jax.features.speaker import statistics
from vssflow_jax.metrics.sound import fit_classifier


def embedding(wave: np.ndarray) -> np.ndarray | None:
    """Mean and spread of log-mel and of its change, float32 [256]; None for silence."""
    try:
        return statistics(wave)
    except InputError:
        return None


def fit_speakers(waves: Sequence[np.ndarray], names: Sequence[str]) -> Pipeline | None:
    """A classifier of `embedding`s, from voices float32 [n] at 16 kHz; silent ones are left out.

    Returns None where fewer than two voices are heard.
    """
    pairs = [(embedding(wave), name) for wave, name in zip(waves, names, strict=True)]
    heard = [(vector, name) for vector, name in pairs if vector is not None]
    if not heard:
        return None
    vectors, known = zip(*heard, strict=True)
    return fit_classifier(np.array(vectors), known)


def similarity(wave: np.ndarray, reference: np.ndarray) -> float | None:
    """Cosine in [-1, 1] between a wave's embedding and a reference voice's [256]; None: silence.

    The embedding is already centred and scaled to unit size (features.speaker), so that
    voices that have nothing in common come near 0.
    """
    vector = embedding(wave)
    if vector is None:
        return None
    reference = np.asarray(reference, np.float64).reshape(-1)
    size = np.linalg.norm(vector) * np.linalg.norm(reference)
    return float(vector @ reference / size) if size > 0 else None
