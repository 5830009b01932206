"""Whose voice it is: what a classifier looks at, and likeness to the reference voice."""

from __future__ import annotations

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics.common import FRAME_RATE
from vssflow_jax.features.registry import encode_clip

SHORTEST = 20  # log-mel frames that are looked at, at least
SPAN = 4.0  # nepers below the loud frames that still count as voice
QUANTILES = (0.1, 0.5, 0.9)
Interval = tuple[float, float]


def features(mel: np.ndarray, spoken: Interval | None = None) -> np.ndarray:
    """What a voice sounds like: log-mel [T, 64] -> [384], whatever the level.

    Per band, over the voiced frames: mean, spread, spread of the change, and quantiles.

    Args:
      mel: of a clip; other things may sound in it too.
      spoken: seconds between which somebody speaks; None: the whole clip.
    """
    first, last = (0, len(mel)) if spoken is None else (round(t * FRAME_RATE) for t in spoken)
    first = max(min(first, len(mel) - SHORTEST), 0)
    mel = mel[first : max(last, first + SHORTEST)]
    mel = mel - np.quantile(mel, 0.98)
    loudness = mel.max(1)
    voiced = loudness > np.quantile(loudness, 0.9) - SPAN
    change = np.gradient(mel, axis=0)[voiced]
    heard = mel[voiced]
    parts = (heard.mean(0), heard.std(0), change.std(0), *np.quantile(heard, QUANTILES, axis=0))
    return np.concatenate(parts).astype(np.float32)


def similarity(
    wave: np.ndarray, reference: np.ndarray, encoder_set: str = "embedded"
) -> float | None:
    """Cosine in [-1, 1] between a wave's embedding and a reference voice's [256]; None: silence.

    The embedded encoder's vectors are centred and scaled to unit size (features.speaker), so
    that voices that have nothing in common come near 0.

    Args:
      wave: float32 [n] at 16 kHz.
      reference: as the shards have it.
      encoder_set: that made it (features.encode).
    """
    try:
        made = encode_clip(speaker_wave=wave, encoder_set=encoder_set)
    except InputError:
        return None
    vector = np.asarray(made["speaker"], np.float64).reshape(-1)
    reference = np.asarray(reference, np.float64).reshape(-1)
    size = np.linalg.norm(vector) * np.linalg.norm(reference)
    return float(vector @ reference / size) if size > 0 else None
