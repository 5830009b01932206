"""Mouth pictures: a small grey crop of every frame."""

from __future__ import annotations

import numpy as np

from vssflow_jax.errors import InputError
from vssflow_jax.features.pixels import area

SIDE = 32
WIDTH = SIDE * SIDE
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma


def mouth_crops(frames: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Grey crops of the mouth: uint8 [T, H, W, 3] -> float32 [T, 1024] in [-1, 1].

    Args:
      frames: pictures.
      box: (x0, y0, x1, y1) in pixels of these frames, [4] or one a frame [T, 4]. What lies
        outside the picture repeats its edge.

    Raises:
      InputError: a box that is empty or lies wholly outside the picture.
    """
    height, width = frames.shape[1:3]
    boxes = np.broadcast_to(np.asarray(box, float), (len(frames), 4))
    x0, y0, x1, y1 = boxes.T
    good = (x1 > x0) & (y1 > y0) & (x1 > 0) & (y1 > 0) & (x0 < width) & (y0 < height)
    if not np.all(good):
        found = boxes[np.argmin(good)].round(1).tolist()
        raise InputError(f"mouth box: found {found}, expected x0 < x1 and y0 < y1 within a "
                         f"picture of {width} x {height}")  # fmt: skip
    crops = [_crop(frame, *map(float, one)) for frame, one in zip(frames, boxes, strict=True)]
    return np.stack(crops).reshape(len(frames), WIDTH) / 127.5 - 1


def _crop(frame: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    height, width = frame.shape[:2]
    top, bottom = max(0, int(y0)), min(height, int(np.ceil(y1)))
    left, right = max(0, int(x0)), min(width, int(np.ceil(x1)))
    grey = frame[top:bottom, left:right].astype(np.float32) @ GREY
    rows = area(bottom - top, y0 - top, y1 - top, SIDE)
    columns = area(right - left, x0 - left, x1 - left, SIDE)
    return rows @ grey @ columns.T
