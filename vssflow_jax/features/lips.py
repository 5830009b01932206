"""Lip features without weights: a small gray crop of the mouth in every frame."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.features.thumbnails import area_weights

SIDE = 32
WIDTH = SIDE * SIDE
ROW = np.dtype((np.float32, WIDTH))
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma


def crop_mouth(frames: Iterable[np.ndarray], box: np.ndarray) -> np.ndarray:
    """Gray crops of the mouth: uint8 T x [H, W, 3] -> float32 [T, 1024] in [-1, 1].

    Args:
      frames: pictures.
      box: (x0, y0, x1, y1) in pixels of these frames, [4] or one a frame [T, 4]. Outside the
        picture its edge is repeated.

    Raises:
      InputError: a box that is empty or lies entirely outside the picture.
    """
    boxes = np.asarray(box, float)
    one_each = boxes.ndim == 2
    pairs = zip(frames, boxes if one_each else itertools.repeat(boxes), strict=one_each)
    crops = (_crop(frame, *map(float, one)).ravel() for frame, one in pairs)
    return np.fromiter(crops, ROW) / np.float32(127.5) - 1


def _crop(frame: np.ndarray, *box: float) -> np.ndarray:
    lines, columns, left, right = _make_crop_weights(*frame.shape[:2], *box)
    gray = frame[lines, columns].astype(np.float32) @ GRAY
    return left @ gray @ right


@functools.lru_cache(maxsize=64)  # most boxes stay where they are
def _make_crop_weights(
    height: int, width: int, x0: float, y0: float, x1: float, y1: float
) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """Lines and columns of a picture that a box touches, and the weights of their averages."""
    if not (x1 > max(x0, 0) and y1 > max(y0, 0) and x0 < width and y0 < height):
        edges = [round(edge, 1) for edge in (x0, y0, x1, y1)]
        raise InputError(
            f"mouth box: found {edges}, expected x0 < x1 and y0 < y1 within a picture of "
            f"{width} x {height}"
        )
    top, bottom = max(0, int(y0)), min(height, int(np.ceil(y1)))
    left, right = max(0, int(x0)), min(width, int(np.ceil(x1)))
    rows = area_weights(bottom - top, y0 - top, y1 - top, SIDE)
    columns = area_weights(right - left, x0 - left, x1 - left, SIDE)
    return slice(top, bottom), slice(left, right), rows, columns.T
