"""Index maps that lay a condition's frames on the latent grid.

The arithmetic is float32, as in the interpolation of the official code: at some lengths
rounding moves an index by one, and published weights were trained with it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions

# Synchformer's segments, in video frames (25 a second): length, distance, frames of a token.
SEGMENT, HOP, PAIR = 16, 8, 2


def nearest_indices(source: int, target: int) -> np.ndarray:
    """Source row of each target row: floor(k * source / target), int32 [target]."""
    if source == target:
        return np.arange(target, dtype=np.int32)
    if target == 2 * source:
        return np.arange(target, dtype=np.int32) >> 1
    return _floor(np.arange(target, dtype=np.float32), source, target)


def nearest_exact_indices(source: int, target: int) -> np.ndarray:
    """Source row whose centre is nearest: floor((k + 1/2) * source / target), int32 [target]."""
    return _floor(np.arange(target, dtype=np.float32) + np.float32(0.5), source, target)


def _floor(position: np.ndarray, source: int, target: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(target)
    return np.minimum(np.floor(position * scale), source - 1).astype(np.int32)


def segment_token_indices(source: int, target: int) -> np.ndarray:
    """Source token that saw each frame, int32 [target]: the time of overlapping segments.

    Token j of segment s saw the video frames 8 s + 2 j and the next one. Two segments see
    each frame; the one that has it in its middle half is taken. An encoder with one token a
    frame (source = target) is in its place already. Slots behind the last whole segment that
    `target` frames have are padding, and not read.
    """
    frame = np.arange(target)
    if source == target:
        return frame.astype(np.int32)
    tokens = SEGMENT // PAIR
    last = min(max(target - SEGMENT, 0) // HOP, max(source // tokens - 1, 0))
    segment = np.clip((frame - SEGMENT // 4) // HOP, 0, last)
    token = np.minimum((frame - segment * HOP) // PAIR, tokens - 1)
    return np.minimum(segment * tokens + token, source - 1).astype(np.int32)


def uniform_duration_indices(source: int, target: int) -> np.ndarray:
    """Source id of each of `target` frames when a list of ids is spread evenly over them.

    Each id is repeated ceil(target / source) times, then sampled by `nearest`: the uniform
    durations of the official code, for when no times are known.
    """
    repeats = -(-target // source) if source < target else 1
    return np.repeat(np.arange(source), repeats)[nearest_indices(source * repeats, target)].astype(
        np.int32
    )


def align_to_grid(frames: jax.Array, how: str, length: int) -> jax.Array:
    """Lays frames on the latent grid: [B, n, ..] -> [B, length, ..].

    Args:
      frames: a condition's frames (features or ids).
      how: the condition table's alignment, or SEEN.
      length: latent frames.
    """
    count = frames.shape[1]
    if how == conditions.NEAREST:
        return frames[:, nearest_indices(count, length)]
    if how == conditions.NEAREST_EXACT:
        return frames[:, nearest_exact_indices(count, length)]
    if how == conditions.BY_TIME:
        return frames[:, segment_token_indices(count, length)]
    if how == conditions.PAD:
        frames = frames[:, :length]
        widths = [(0, 0)] * frames.ndim
        widths[1] = (0, length - frames.shape[1])
        return jnp.pad(frames, widths)
    raise ValueError(f"alignment {how!r} does not lie along frames")
