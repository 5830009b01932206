"""Onsets of events and what they are: judged by small classifiers fitted on ground truth.

A plain onset detector would call every attack of speech an event. The one here is a small
network that learns from training clips, with and without speech, before and after the codec,
at which log-mel frames an event begins; what it misses on perfect sound is its floor.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from vssflow_jax.evaluation.metrics.common import FLOOR, FRAME_RATE

TOLERANCE = 0.05  # seconds between an onset and its match (MIREX onset detection)
CONTEXT = 6  # log-mel frames on either side that the detector sees
NEAR = 0.012  # seconds around an onset whose frames count as onset
CLOSEST = 0.04  # seconds between two onsets that can be told apart
EASY = 0.2  # share of the frames far from any onset that are learned from
AROUND = 0.12  # seconds around an onset whose frames are all learned from
COMPONENTS = 128  # principal components of what it sees
HIDDEN = 64
EPOCHS = 20
THRESHOLDS = np.arange(0.1, 0.91, 0.05)
HELD_OUT = 5  # every so manieth clip chooses the threshold


# ---- matching -----------------------------------------------------------------------------


def match(reference: Sequence[float], found: Sequence[float]) -> np.ndarray:
    """Pairs each onset with at most one found onset within TOLERANCE, as many as possible.

    Among the largest matchings it takes the one with the least total error.

    Returns:
      Absolute errors of the pairs in seconds, float [pairs].
    """
    distance = np.abs(np.subtract.outer(np.asarray(reference, float), np.asarray(found, float)))
    close = distance <= TOLERANCE + 1e-9
    rows, columns = linear_sum_assignment(np.where(close, distance, 1e3))
    return distance[rows, columns][close[rows, columns]]


def f1(reference: Sequence[float], found: Sequence[float]) -> float | None:
    """F1 of found onsets: 2 matched / (reference + found); None where the reference has none."""
    if not len(reference):
        return None
    return 2 * len(match(reference, found)) / (len(reference) + len(found))


def mean_error_ms(reference: Sequence[float], found: Sequence[float]) -> float | None:
    """Mean absolute error of the matched onsets in ms; None where nothing matches."""
    errors = match(reference, found)
    return float(1000 * errors.mean()) if len(errors) else None


# ---- onsets -------------------------------------------------------------------------------


def onset_features(mel: np.ndarray) -> np.ndarray:
    """What the detector sees, relative to the peak: [T, 64] -> [T, (2 CONTEXT + 1) * 64]."""
    relative = np.maximum(mel - mel.max(initial=np.log(FLOOR)), np.log(FLOOR))
    padded = np.pad(relative, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    return windows.reshape(len(mel), -1).astype(np.float32)


def frame_times(count: int) -> np.ndarray:
    """Seconds of the middles of log-mel frames: float [count]."""
    return (np.arange(count) + 0.5) / FRAME_RATE


def _distance(count: int, onsets: Sequence[float]) -> np.ndarray:
    if not len(onsets):
        return np.full(count, np.inf)
    return np.abs(np.subtract.outer(frame_times(count), np.asarray(onsets, float))).min(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnsetDetector:
    """Finds where events begin, and does not mind speech.

    Attributes:
      model: probability that an event begins at a frame, from `onset_features`.
      threshold: least probability of an onset.
    """

    model: Pipeline
    threshold: float

    @classmethod
    def fit(
        cls, mels: Sequence[np.ndarray], onsets: Sequence[Sequence[float]]
    ) -> OnsetDetector | None:
        """Learns from log-mels [T, 64] and the seconds at which events begin in each.

        One clip in HELD_OUT is not learned from: with those the threshold is chosen. None
        where the clips to learn from have no onset.
        """
        held = [index % HELD_OUT == HELD_OUT - 1 for index in range(len(mels))]
        rng = np.random.default_rng(0)
        features, labels = [], []
        for mel, times, out in zip(mels, onsets, held, strict=True):
            if not out:
                distance = _distance(len(mel), times)
                kept = (distance < AROUND) | (rng.random(len(mel)) < EASY)
                features.append(onset_features(mel)[kept])
                labels.append(distance[kept] < NEAR)
        if not any(some.any() for some in labels):
            return None
        model = _fit_network(np.concatenate(features), np.concatenate(labels))
        chosen = [index for index, out in enumerate(held) if out] or range(len(mels))
        curves = [_probability(model, mels[index]) for index in chosen]
        truth = [onsets[index] for index in chosen]
        scores = [_mean_f1(curves, truth, threshold) for threshold in THRESHOLDS]
        best = np.flatnonzero(np.isclose(scores, max(scores)))  # the middle of the best ones
        return cls(model=model, threshold=float(THRESHOLDS[best[len(best) // 2]]))

    def __call__(self, mel: np.ndarray) -> np.ndarray:
        """Seconds at which events begin in log-mel [T, 64], ascending."""
        return peaks(_probability(self.model, mel), self.threshold)


def _fit_network(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    size = min(COMPONENTS, *features.shape)
    model = make_pipeline(
        PCA(size, svd_solver="covariance_eigh", whiten=True),
        MLPClassifier((HIDDEN,), max_iter=EPOCHS, batch_size=256, random_state=0),
    )
    # Matrices this small gain nothing from threads, which wait for each other on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of epochs is meant
        return model.fit(features, labels)


def _probability(model: Pipeline, mel: np.ndarray) -> np.ndarray:
    return model.predict_proba(onset_features(mel))[:, 1]


def _mean_f1(curves, truth, threshold: float) -> float:
    """Mean F1; on a clip without events 1 where nothing is found, else 0."""
    found = [peaks(curve, threshold) for curve in curves]
    pairs = zip(truth, found, strict=True)
    return float(np.mean([float(not len(y)) if not len(x) else f1(x, y) for x, y in pairs]))


def peaks(curve: np.ndarray, threshold: float) -> np.ndarray:
    """Seconds of a curve's highest points, at least `threshold` and CLOSEST apart.

    A time lies between frames: the mean of the point and its neighbours, weighted by height.
    """
    left = np.flatnonzero(curve >= threshold)
    taken: list[int] = []
    for frame in left[np.argsort(-curve[left], kind="stable")]:
        if all(abs(frame - other) >= CLOSEST * FRAME_RATE for other in taken):
            taken.append(int(frame))
    padded = np.pad(curve, 1)
    times = [
        np.average(np.arange(frame - 1, frame + 2), weights=padded[frame : frame + 3])
        for frame in sorted(taken)
    ]
    return (np.array(times) + 0.5) / FRAME_RATE


# ---- classes ------------------------------------------------------------------------------


def class_features(mel: np.ndarray) -> np.ndarray:
    """What a clip's events sound like, whatever their level and number: [T, 64] -> [320].

    Per band, relative to the loudest point: mean over the loud frames, high quantiles over
    all, spread, and the mean of the rises and of the falls where the sound changes.
    """
    mel = np.maximum(mel - mel.max(initial=np.log(FLOOR)), np.log(FLOOR))
    energy = np.exp(2 * mel).sum(1)
    loud = energy >= np.quantile(energy, 0.8)
    change = np.diff(mel, axis=0)
    rising = np.sort(np.maximum(change, 0).sum(1))[-max(len(change) // 20, 1)]
    attacks = np.maximum(change, 0).sum(1) >= rising
    parts = (
        mel[loud].mean(0),
        np.quantile(mel, 0.98, axis=0),
        mel.std(0),
        change[attacks].mean(0),
        np.minimum(change, 0)[loud[1:]].mean(0) if loud[1:].any() else np.zeros(mel.shape[1]),
    )
    return np.concatenate(parts).astype(np.float32)
