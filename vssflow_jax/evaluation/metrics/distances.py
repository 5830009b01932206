"""Distances between sets of clips, on the features or the logits of an embedding.

Legend: n, m clips, D features, K names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_softmax

Z95 = 1.959964  # standard normal quantile of a two-sided 95 % interval
GROUPS = 100  # jackknife groups, at most


def _matrix_sqrt(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _reduce_dimensions(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in coordinates of the space they span, if it has fewer than D dimensions."""
    rows = np.concatenate([first, second])
    if len(rows) >= rows.shape[1]:
        return first, second
    basis = np.linalg.qr(rows.T)[0]  # D (n + m), orthonormal: distances are unchanged
    return first @ basis, second @ basis


def frechet(reference: np.ndarray, generated: np.ndarray) -> float:
    """Fréchet distance between the Gaussians of two sets of features [n, D], [m, D].

    |mu_r - mu_g|^2 + tr(C_r + C_g - 2 (C_r^1/2 C_g C_r^1/2)^1/2), with unbiased covariances.
    It is biased upwards in small sets: compare sets of equal size only.

    Source: Heusel et al. (2017), GANs trained by a two time-scale update rule (FID);
    Kilgour et al. (2019), Fréchet audio distance.
    """
    reference, generated = _reduce_dimensions(np.float64(reference), np.float64(generated))
    gap = reference.mean(0) - generated.mean(0)
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (reference, generated))
    # tr (C_r^1/2 C_g C_r^1/2)^1/2 is the sum of the singular values of C_r^1/2 C_g^1/2.
    cross = np.linalg.norm(_matrix_sqrt(first) @ _matrix_sqrt(second), "nuc")
    return max(float(gap @ gap + np.trace(first) + np.trace(second) - 2 * cross), 0.0)


def kl(reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Per clip KL(p_reference || p_generated) in nats, p the softmax of logits: [n, K] x 2 -> [n].

    How much of the reference's content the generated clip misses.
    """
    p, q = log_softmax(np.float64(reference), -1), log_softmax(np.float64(generated), -1)
    return (np.exp(p) * (p - q)).sum(-1)


def inception_score(logits: np.ndarray) -> float:
    """exp(mean KL(p(y | clip) || p(y))) of logits [n, K], in one split: 1 to K, higher is better.

    Clear clips of many kinds score high. Source: Salimans et al. (2016), Improved techniques
    for training GANs.
    """
    log_p = log_softmax(np.float64(logits), -1)
    p = np.exp(log_p)
    marginal = p.mean(0)
    return float(np.exp((p * (log_p - np.log(np.maximum(marginal, 1e-300)))).sum(-1).mean()))


def jackknife(
    score: Callable[..., float], arrays: Sequence[np.ndarray]
) -> tuple[float, float] | None:
    """95 % interval of a score of a whole set; None for fewer than three clips.

    A bootstrap repeats clips, which shrinks covariances and biases the score; leaving each clip
    out once does not. More than GROUPS clips are left out in so many groups, since one score may
    take seconds. Normal interval with the jackknife's standard error.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.

    Args:
      score: of arrays that have one row a clip.
      arrays: the same clips in each.
    """
    count = len(arrays[0])
    if count < 3:
        return None
    groups = min(count, GROUPS)
    subsets = (np.delete(np.arange(count), slice(group, None, groups)) for group in range(groups))
    scores = np.array([score(*(array[rows] for array in arrays)) for rows in subsets])
    error = np.sqrt((groups - 1) * scores.var())  # standard error
    center = score(*arrays)
    return float(center - Z95 * error), float(center + Z95 * error)
