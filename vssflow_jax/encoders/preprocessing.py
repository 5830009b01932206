"""Inputs of the published encoders, computed as in their training: pictures and spectra.

CLIP's frames are resized by Pillow, Synchformer's by torchvision, whose bicubic filter rounds its
weights to 16 bits; both filters are Keys' cubic with a = -1/2, widened when shrinking, and
round to integers after each direction.

Legend: T frames, H, W their size, S the side of the output.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from einops import rearrange
from PIL import Image

SUPPORT = 2.0  # of the cubic on each side, in source pixels when enlarging
MAX_BITS = 22
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
SYNC_MEAN = SYNC_DEVIATION = (0.5, 0.5, 0.5)


def resize_squeezed(frames: Iterable[np.ndarray], side: int = 224) -> np.ndarray:
    """Frames for CLIP: uint8 T x [H, W, 3] -> [T, S, S, 3], without keeping the aspect ratio."""
    pictures = [Image.fromarray(frame).resize((side, side), Image.BICUBIC) for frame in frames]
    return np.stack([np.asarray(picture) for picture in pictures])


def resize_cropped(frames: Iterable[np.ndarray], side: int = 224) -> np.ndarray:
    """Frames for Synchformer: uint8 T x [H, W, 3] -> [T, S, S, 3].

    The shorter side is resized to S; the longer one is cropped around its center.
    """
    return np.stack([_crop_center(_shrink(frame, side), side) for frame in frames])


def _shrink(frame: np.ndarray, side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    shorter = min(height, width)
    sizes = int(side * height / shorter), int(side * width / shorter)
    return _resize(frame, _filter_weights(width, sizes[1]), _filter_weights(height, sizes[0]))


def _crop_center(picture: np.ndarray, side: int) -> np.ndarray:
    top, left = (round((size - side) / 2) for size in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def normalize_pixels(
    pixels: np.ndarray, mean: float | tuple, deviation: float | tuple
) -> np.ndarray:
    """Integers 0..255 to float: (x / 255 - mean) / deviation, by channel. NumPy or JAX."""
    return (pixels / np.float32(255) - np.float32(mean)) / np.float32(deviation)


def _resize(frame: np.ndarray, columns, rows) -> np.ndarray:
    """uint8 [H, W, 3] -> [h, w, 3]: along the rows first, then along the columns."""
    if columns is not None:
        lines = _weighted_sums(rearrange(frame, "h w c -> w (h c)"), *columns)
        frame = rearrange(lines, "w (h c) -> h w c", c=3)
    if rows is not None:
        lines = _weighted_sums(rearrange(frame, "h w c -> h (w c)"), *rows)
        frame = rearrange(lines, "h (w c) -> h w c", c=3)
    return frame


def _weighted_sums(lines: np.ndarray, weights, bits: int) -> np.ndarray:
    """Weighted sums of lines, uint8 [n, L] -> [m, L]. Exact: all numbers are below 2^24."""
    sums = weights @ lines.astype(np.float32)
    half = np.float32(1 << (bits - 1))
    return np.clip(np.floor((sums + half) / np.float32(1 << bits)), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _filter_weights(size: int, new_size: int):
    """Fixed-point weights of a line: (float32 [new_size, size] of integers, their bits).

    None if the size does not change.
    """
    if size == new_size:
        return None
    scale = size / new_size
    stretch = max(scale, 1.0)
    weights = np.zeros((new_size, size))
    for k in range(new_size):
        center = scale * (k + 0.5)
        first = max(int(center - SUPPORT * stretch + 0.5), 0)
        last = min(int(center + SUPPORT * stretch + 0.5), size)
        row = _cubic((np.arange(first, last) - center + 0.5) / stretch)
        weights[k, first:last] = row / row.sum()
    bits = next(
        (b for b in range(MAX_BITS) if int(0.5 + weights.max() * (1 << (b + 1))) >= 1 << 15),
        MAX_BITS,
    )
    integers = np.trunc(weights * (1 << bits) + np.copysign(0.5, weights))
    return integers.astype(np.float32), bits


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -1/2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def hann_frames(wave: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Frames under a periodic Hann window: [n] -> float64 [1 + (n - window) // hop, window].

    Args:
      wave: n samples, at least `window`.
      window: samples of a frame.
      hop: samples from one frame to the next.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(wave, np.float64), window)[::hop]
    return frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))
