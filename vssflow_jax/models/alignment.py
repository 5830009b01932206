"""Index maps that align the frames of a condition to the latent grid.

The arithmetic is float32, as in the interpolation of the official code: at some lengths rounding
moves an index by one, and published weights were trained with it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.conditions import SYNC_HOP, SYNC_SEGMENT, SYNC_TUBE


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Source row of each target row: floor(k * source / target), int32 [target]."""
    if source == target:
        return np.arange(target, dtype=np.int32)
    if target == 2 * source:
        return np.arange(target, dtype=np.int32) >> 1
    return _floor_indices(np.arange(target, dtype=np.float32), source, target)


def nearest_exact_indices(source: int, target: int) -> np.ndarray:
    """Source row whose center is nearest: floor((k + 1/2) * source / target), int32 [target]."""
    centers = np.arange(target, dtype=np.float32) + np.float32(0.5)
    return _floor_indices(centers, source, target)


def _floor_indices(position: np.ndarray, source: int, target: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(target)
    return np.minimum(np.floor(position * scale), source - 1).astype(np.int32)


def segment_token_indices(source: int, target: int) -> np.ndarray:
    """Token of overlapping segments whose video frames are at each latent frame, int32 [target].

    Token j of segment s is computed from the video frames 8 s + 2 j and 8 s + 2 j + 1. Each frame
    is in two segments; the one that has it in its middle half is taken. An encoder with one token
    a frame (source = target) needs no change. Slots after the last complete segment of `target`
    frames are padding, and not used.
    """
    frame = np.arange(target)
    if source == target:
        return frame.astype(np.int32)
    tokens = SYNC_SEGMENT // SYNC_TUBE
    last = min(max(target - SYNC_SEGMENT, 0) // SYNC_HOP, max(source // tokens - 1, 0))
    segment = np.clip((frame - SYNC_SEGMENT // 4) // SYNC_HOP, 0, last)
    token = np.minimum((frame - segment * SYNC_HOP) // SYNC_TUBE, tokens - 1)
    return np.minimum(segment * tokens + token, source - 1).astype(np.int32)


def uniform_duration_indices(source: int, target: int) -> np.ndarray:
    """Source id of each of `target` frames when a list of ids is spread evenly over them.

    Each id is repeated ceil(target / source) times, then sampled by `nearest_indices`: the
    uniform durations of the official code, for when no times are known.
    """
    repeats = -(-target // source) if source < target else 1
    repeated = np.repeat(np.arange(source), repeats)
    return repeated[nearest_indices(source * repeats, target)].astype(np.int32)


def align_to_grid(frames: jax.Array, alignment: str, length: int) -> jax.Array:
    """Frames of a condition at the latent frames: [B, n, ..] -> [B, length, ..].

    Args:
      frames: features or ids.
      alignment: the condition table's, or BY_TIME.
      length: latent frames.
    """
    count = frames.shape[1]
    if alignment == conditions.NEAREST:
        return frames[:, nearest_indices(count, length)]
    if alignment == conditions.NEAREST_EXACT:
        return frames[:, nearest_exact_indices(count, length)]
    if alignment == conditions.BY_TIME:
        return frames[:, segment_token_indices(count, length)]
    if alignment == conditions.PAD:
        frames = frames[:, :length]
        widths = [(0, 0)] * frames.ndim
        widths[1] = (0, length - frames.shape[1])
        return jnp.pad(frames, widths)
    raise ValueError(f"alignment {alignment!r} is not one of frames")
