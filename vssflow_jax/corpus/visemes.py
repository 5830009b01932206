"""Mouth shapes of phonemes (visemes), and their course through a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Shapes of the mouth: how far open (0 closed, 1 wide), how wide (-1 round, 1 spread), how much of
# the upper teeth and of the tongue shows, and how much the lower lip is drawn in (F and V).
CHANNELS = ("open", "wide", "teeth", "tongue", "bite")
REST = (0.0, 0.0, 0.0, 0.0, 0.0)
_SHAPES = {
    "P B M": (0.0, -0.15, 0.0, 0.0, 0.0),
    "F V": (0.18, 0.1, 0.6, 0.0, 1.0),
    "TH DH": (0.25, 0.15, 0.7, 1.0, 0.0),
    "T D N": (0.22, 0.25, 0.9, 0.5, 0.0),
    "L": (0.35, 0.15, 0.5, 1.0, 0.0),
    "S Z": (0.14, 0.55, 1.0, 0.0, 0.0),
    "SH ZH CH JH": (0.28, -0.7, 0.9, 0.0, 0.0),
    "K G NG HH": (0.32, 0.0, 0.3, 0.15, 0.0),
    "R ER": (0.3, -0.55, 0.3, 0.0, 0.0),
    "W": (0.1, -1.0, 0.0, 0.0, 0.0),
    "Y IY": (0.25, 1.0, 0.7, 0.1, 0.0),
    "IH": (0.38, 0.6, 0.6, 0.1, 0.0),
    "EH EY": (0.55, 0.65, 0.5, 0.2, 0.0),
    "AE": (0.85, 0.6, 0.4, 0.3, 0.0),
    "AA AY": (1.0, 0.05, 0.2, 0.3, 0.0),
    "AH": (0.6, 0.0, 0.3, 0.2, 0.0),
    "AO OY": (0.8, -0.6, 0.0, 0.15, 0.0),
    "OW": (0.55, -0.85, 0.0, 0.0, 0.0),
    "UW UH": (0.3, -0.95, 0.0, 0.0, 0.0),
    "AW": (0.9, -0.2, 0.1, 0.25, 0.0),
}
SHAPES = {symbol: shape for group, shape in _SHAPES.items() for symbol in group.split()}
GLIDES = {"AY": "IY", "OY": "IY", "EY": "IY", "AW": "UW", "OW": "UW"}  # where a diphthong ends

FINE = 200  # times a second at which the path is drawn before it is sampled
SMOOTH = 0.022  # standard deviation of the smoothing between neighbors, seconds
LEAD = 0.02  # lips move a little before the sound, seconds


def trace_mouth(sounds: Sequence[tuple[float, float, str]], frames: int, rate: float) -> np.ndarray:
    """Mouth shapes of a clip.

    Args:
      sounds: (start, end, ARPAbet symbol) in seconds, in order of time.
      frames, rate: frames of the clip, and frames a second.

    Returns:
      float64 [frames, 5], columns `CHANNELS`.
    """
    count = int(np.ceil(frames / rate * FINE)) + 1
    track = np.tile(np.array(REST), (count, 1))
    for start, end, symbol in sounds:
        first, last = (round((t - LEAD) * FINE) for t in (start, end))
        first, last = max(first, 0), min(last, count)
        symbol = symbol.rstrip("012")
        track[first:last] = SHAPES[symbol]
        if symbol in GLIDES:
            track[(first + 2 * last) // 3 : last] = SHAPES[GLIDES[symbol]]
    path = smooth(track, SMOOTH * FINE, mode="nearest")
    return path[np.round(np.arange(frames) / rate * FINE).astype(int)]


def smooth(values: np.ndarray, frames: float, mode: str = "reflect") -> np.ndarray:
    """Values [T, ...] smoothed over time by a Gaussian with a deviation of `frames`."""
    from scipy import ndimage  # here: prepare's processes start a quarter sooner without

    return ndimage.gaussian_filter1d(values, frames, axis=0, mode=mode)
