"""Video features without weights: thumbnails of the frames, and their differences."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

SIDE = 16
WIDTH = SIDE * SIDE * 3
ROW = np.dtype((np.float32, WIDTH))
GAIN = 8.0  # of differences: brings those of a moving object to the scale of the thumbnails


@functools.lru_cache(maxsize=64)
def area_weights(size: int, low: float, high: float, bins: int) -> np.ndarray:
    """Weights that average pixels [low, high) of a line of `size` into `bins`: [bins, size].

    Rows sum to 1. Bins finer than a pixel repeat it; bins outside the line repeat the nearest
    pixel.
    """
    edges = np.linspace(low, high, bins + 1)
    left = np.maximum(edges[:-1, None], np.arange(size))
    right = np.minimum(edges[1:, None], np.arange(1, size + 1))
    weights = np.maximum(right - left, 0)
    centers = np.clip((edges[:-1] + edges[1:]) / 2, 0, size - 1).astype(int)
    outside = weights.sum(1) <= 0
    weights[outside, centers[outside]] = 1
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def make_thumbnails(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Area averages of frames: uint8 T x [H, W, 3] -> float32 [T, 768] in [-1, 1].

    The 768 values are 16 rows of 16 columns of red, green, blue.
    """
    rows = (_average_areas(frame).ravel() for frame in frames)
    return np.fromiter(rows, ROW) / np.float32(127.5) - 1


def _average_areas(frame: np.ndarray) -> np.ndarray:
    """Uint8 [H, W, 3] -> float32 [16, 48] in [0, 255]."""
    height, width = frame.shape[:2]
    lines = frame.reshape(height, width * 3).astype(np.float32)
    return area_weights(height, 0, height, SIDE) @ lines @ _column_weights(width)


@functools.lru_cache(maxsize=64)
def _column_weights(width: int) -> np.ndarray:
    """Weights of the colors of a line, [W * 3, 48]."""
    return np.kron(area_weights(width, 0, width, SIDE).T, np.eye(3, dtype=np.float32))


def subtract_previous(thumbnails: np.ndarray) -> np.ndarray:
    """Change since the frame before, times GAIN: [T, 768] -> [T, 768]; the first row is zero."""
    return GAIN * np.diff(thumbnails, axis=0, prepend=thumbnails[:1])
