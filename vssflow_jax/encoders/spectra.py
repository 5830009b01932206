"""Frames of a wave under a window, as the networks that hear want them."""

from __future__ import annotations

import numpy as np


def hann_frames(wave: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Frames under a periodic Hann window: [n] -> float64 [1 + (n - window) // hop, window].

    Args:
      wave: n samples, at least `window`.
      window: samples of a frame.
      hop: samples from one frame to the next.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(wave, np.float64), window)[::hop]
    return frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
