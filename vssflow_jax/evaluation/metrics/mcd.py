"""Mel-cepstral distortion with dynamic time warping."""

from __future__ import annotations

import librosa
import numpy as np
from scipy.fft import dct

from vssflow_jax.evaluation.metrics.common import FRAME_RATE, log_mels

COEFFICIENTS = 13  # c_1 to c_13; c_0 is the loudness and left out
RANGE = np.log(1000.0)  # 60 dB: anything that far under the peak counts as silence
SHORTEST = 2  # frames
DECIBELS = 10 * np.sqrt(2) / np.log(10)
Interval = tuple[float, float]


def cepstra(mel: np.ndarray) -> np.ndarray:
    """Mel-cepstral coefficients c_1 .. c_13 of log-mels: [T, 64] -> float64 [T, 13].

    With ln mel_b = c_0 + sum_m c_m cos(pi m (b + 1/2) / 64) for band b: of all cepstra the one
    whose squared distance is the mean squared distance of log spectra.
    """
    mel = np.maximum(mel, mel.max(initial=-np.inf) - RANGE)
    return dct(np.float64(mel), axis=-1)[:, 1 : COEFFICIENTS + 1] / mel.shape[1]


def crop_mel(mel: np.ndarray, spoken: Interval | None) -> np.ndarray:
    """The frames of a log-mel between two times in seconds; all of them for None."""
    if spoken is None:
        return mel
    first, last = (round(time * FRAME_RATE) for time in spoken)
    return mel[max(first, 0) : max(last, first + SHORTEST)]


def mel_distortion(reference: np.ndarray, generated: np.ndarray) -> float | None:
    """Distortion in dB between log-mels [T, 64], [T', 64]; None with fewer than two frames in one.

    The mean over the warping path of 10 sqrt(2) / ln 10 |c - c'|. The path minimizes the sum of
    distances; it advances by one frame on either side or on both.

    Source: Kubichek (1993), Mel-cepstral distance measure for objective speech quality
    assessment; warped as is usual for synthetic speech (librosa.sequence.dtw).
    """
    if min(len(reference), len(generated)) < SHORTEST:
        return None
    cost, path = librosa.sequence.dtw(cepstra(reference).T, cepstra(generated).T)
    return float(DECIBELS * cost[-1, -1] / len(path))


def distortion(reference: np.ndarray, generated: np.ndarray) -> float | None:
    """Distortion in dB between two waves, float32 [n], [m] at 16 kHz; see `mel_distortion`."""
    return mel_distortion(*log_mels([reference, generated]))
