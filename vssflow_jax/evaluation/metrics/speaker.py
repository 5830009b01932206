"""Voices: features for the speaker classifier, and similarity to a reference voice."""

from __future__ import annotations

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics.common import FRAME_RATE
from vssflow_jax.features.registry import encode_example

MIN_FRAMES = 20  # log-mel frames, at least
VOICED_RANGE = 4.0  # nepers below the loud frames that count as voiced
QUANTILES = (0.1, 0.5, 0.9)
Interval = tuple[float, float]


def voice_features(mel: np.ndarray, spoken: Interval | None = None) -> np.ndarray:
    """Features of a voice, independent of the level: log-mel [T, 64] -> [384].

    Per band, over the voiced frames: mean, deviation, deviation of the change, and quantiles.

    Args:
      mel: of a clip; it may contain other sounds too.
      spoken: start and end of the speech in seconds; None: the clip's.
    """
    first, last = (0, len(mel)) if spoken is None else (round(t * FRAME_RATE) for t in spoken)
    first = max(min(first, len(mel) - MIN_FRAMES), 0)
    mel = mel[first : max(last, first + MIN_FRAMES)]
    mel = mel - np.quantile(mel, 0.98)
    loudness = mel.max(1)
    voiced = loudness > np.quantile(loudness, 0.9) - VOICED_RANGE
    change = np.gradient(mel, axis=0)[voiced]
    voice = mel[voiced]
    parts = (voice.mean(0), voice.std(0), change.std(0), *np.quantile(voice, QUANTILES, axis=0))
    return np.concatenate(parts).astype(np.float32)


def similarity(
    wave: np.ndarray, reference: np.ndarray, encoder_set: str = "built-in"
) -> float | None:
    """Cosine in [-1, 1] between a wave's embedding and a reference voice's [256]; None: silence.

    The built-in encoder's vectors are centered and scaled to unit norm (features.speaker), so
    unrelated voices come near 0.

    Args:
      wave: float32 [n] at 16 kHz.
      reference: as the shards store it.
      encoder_set: the encoders that computed it (features.registry).
    """
    try:
        features = encode_example(speaker_wave=wave, encoder_set=encoder_set)
    except InputError:
        return None
    vector = np.asarray(features["speaker"], np.float64).reshape(-1)
    reference = np.asarray(reference, np.float64).reshape(-1)
    norm = np.linalg.norm(vector) * np.linalg.norm(reference)
    return float(vector @ reference / norm) if norm > 0 else None
