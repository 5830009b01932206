"""Onsets and classes of sound events, by small models fitted on ground truth.

A plain onset detector reports every attack of speech as an event. The one here is a small network
trained on clips with and without speech, before and after the codec, to find the log-mel frames
at which an event begins. Its score on the ground truth is the ceiling of the metric.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from mir_eval.util import match_events
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from vssflow_jax.evaluation.metrics.common import FLOOR, FRAME_RATE

TOLERANCE = 0.05  # seconds between an onset and its match (MIREX onset detection)
ROUNDING = 1e-9  # seconds; a distance of exactly TOLERANCE is a match
CONTEXT = 6  # log-mel frames on either side in the detector's input
POSITIVE_RADIUS = 0.012  # seconds around an onset whose frames are positive examples
MIN_DISTANCE = 0.04  # seconds between two detected onsets
DENSE_RADIUS = 0.12  # seconds around an onset whose frames are all training examples
SPARSE_SHARE = 0.2  # share of the other frames that are training examples
COMPONENTS = 128  # principal components of the input
HIDDEN = 64
EPOCHS = 20
THRESHOLDS = np.arange(0.1, 0.91, 0.05)
HELD_OUT = 5  # one clip in five is held out of training and chooses the threshold


# ---- matching -----------------------------------------------------------------------------


def onset_f1(reference: Sequence[float], estimated: Sequence[float]) -> float | None:
    """F1 of estimated onsets: 2 matched / (reference + estimated); None without reference.

    As many pairs as possible are matched one to one within TOLERANCE.
    """
    if not len(reference):
        return None
    onsets = (np.asarray(times, float) for times in (reference, estimated))
    pairs = match_events(*onsets, TOLERANCE + ROUNDING)
    return 2 * len(pairs) / (len(reference) + len(estimated))


def onset_mae_ms(reference: Sequence[float], estimated: Sequence[float]) -> float | None:
    """Mean absolute error of the matched onsets in ms; None where nothing matches."""
    errors = matched_errors(reference, estimated)
    return float(1000 * errors.mean()) if len(errors) else None


def matched_errors(reference: Sequence[float], estimated: Sequence[float]) -> np.ndarray:
    """Absolute errors in seconds, float [pairs], of a largest matching within TOLERANCE.

    Of the largest matchings it is the one with the least total error. `mir_eval` returns any of
    them, and so a mean error that depends on the order of its search.
    """
    distance = np.abs(np.subtract.outer(np.asarray(reference, float), np.asarray(estimated, float)))
    close = distance <= TOLERANCE + ROUNDING
    rows, columns = linear_sum_assignment(np.where(close, distance, 1e3))
    return distance[rows, columns][close[rows, columns]]


# ---- onsets -------------------------------------------------------------------------------


def onset_features(mel: np.ndarray) -> np.ndarray:
    """The detector's input, relative to the peak: [T, 64] -> [T, (2 CONTEXT + 1) * 64]."""
    relative = np.maximum(mel - mel.max(initial=np.log(FLOOR)), np.log(FLOOR))
    padded = np.pad(relative, ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    return windows.reshape(len(mel), -1).astype(np.float32)


def frame_times(count: int) -> np.ndarray:
    """Centers of log-mel frames in seconds: float [count]."""
    return (np.arange(count) + 0.5) / FRAME_RATE


def _distance_to_onset(count: int, onsets: Sequence[float]) -> np.ndarray:
    """Seconds from each frame to the nearest onset: float [count]."""
    if not len(onsets):
        return np.full(count, np.inf)
    return np.abs(np.subtract.outer(frame_times(count), np.asarray(onsets, float))).min(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnsetDetector:
    """Detects where events begin, beside speech too.

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
        """Trains on log-mels [T, 64] and the onsets of each in seconds.

        One clip in HELD_OUT is left out of training and chooses the threshold. None where the
        training clips have no onset.
        """
        held_out = [index % HELD_OUT == HELD_OUT - 1 for index in range(len(mels))]
        rng = np.random.default_rng(0)
        features, labels = [], []
        for mel, times, out in zip(mels, onsets, held_out, strict=True):
            if not out:
                distance = _distance_to_onset(len(mel), times)
                rows = (distance < DENSE_RADIUS) | (rng.random(len(mel)) < SPARSE_SHARE)
                features.append(onset_features(mel)[rows])
                labels.append(distance[rows] < POSITIVE_RADIUS)
        if not any(some.any() for some in labels):
            return None
        model = _fit_network(np.concatenate(features), np.concatenate(labels))
        validation = [index for index, out in enumerate(held_out) if out] or range(len(mels))
        curves = [_onset_probability(model, mels[index]) for index in validation]
        references = [onsets[index] for index in validation]
        scores = [_mean_f1(curves, references, threshold) for threshold in THRESHOLDS]
        best = np.flatnonzero(np.isclose(scores, max(scores)))
        middle = best[len(best) // 2]  # of several best thresholds
        return cls(model=model, threshold=float(THRESHOLDS[middle]))

    def __call__(self, mel: np.ndarray) -> np.ndarray:
        """Onsets in log-mel [T, 64] in seconds, ascending."""
        return pick_peaks(_onset_probability(self.model, mel), self.threshold)


def _fit_network(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    size = min(COMPONENTS, *features.shape)
    model = make_pipeline(
        PCA(size, svd_solver="covariance_eigh", whiten=True),
        MLPClassifier((HIDDEN,), max_iter=EPOCHS, batch_size=256, random_state=0),
    )
    # Matrices this small gain nothing from threads, which wait for each other on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
        return model.fit(features, labels)


def _onset_probability(model: Pipeline, mel: np.ndarray) -> np.ndarray:
    return model.predict_proba(onset_features(mel))[:, 1]


def _mean_f1(curves, references, threshold: float) -> float:
    """Mean F1; on a clip without events 1 where nothing is detected, else 0."""
    scores = []
    for curve, reference in zip(curves, references, strict=True):
        estimated = pick_peaks(curve, threshold)
        score = onset_f1(reference, estimated)
        scores.append(float(not len(estimated)) if score is None else score)
    return float(np.mean(scores))


def pick_peaks(curve: np.ndarray, threshold: float) -> np.ndarray:
    """Seconds of a curve's highest points, at least `threshold` and MIN_DISTANCE apart.

    The highest are picked first. A time is the mean of the frame and its neighbors, weighted by
    height, so it may lie between frames.
    """
    candidates = np.flatnonzero(curve >= threshold)
    frames: list[int] = []
    for frame in candidates[np.argsort(-curve[candidates], kind="stable")]:
        if all(abs(frame - other) >= MIN_DISTANCE * FRAME_RATE for other in frames):
            frames.append(int(frame))
    padded = np.pad(curve, 1)
    times = [
        np.average(np.arange(frame - 1, frame + 2), weights=padded[frame : frame + 3])
        for frame in sorted(frames)
    ]
    return (np.array(times) + 0.5) / FRAME_RATE


# ---- classes ------------------------------------------------------------------------------


def class_features(mel: np.ndarray) -> np.ndarray:
    """Features of a clip's events, independent of level and number: [T, 64] -> [320].

    Per band, relative to the loudest point: mean over the loud frames, high quantile and
    deviation over all frames, and the mean rise and fall where the sound changes.
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
