"""Frames that a page shows of an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def select_evenly(items: Sequence[Item], count: int) -> list[Item]:
    """The items in the middle of `count` equal parts of a sequence; all of them, if fewer."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def features_to_frames(features: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Thumbnails or mouth crops [T, W] in [-1, 1] as frames uint8 [T, *shape]."""
    scaled = np.round((np.asarray(features, np.float32) + 1) * 127.5)
    return np.clip(scaled, 0, 255).astype(np.uint8).reshape(-1, *shape)
