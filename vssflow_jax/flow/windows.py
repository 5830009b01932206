"""Windows over latents longer than the training clips: overlapping, denoised together.

At every evaluation of the velocity all windows go through the network in one batch, and their
velocities are blended where they overlap, so that no seam appears (MultiDiffusion, arXiv
2302.08113, equation 5, with tapered weights).

Legend: B clips, L latent frames, W windows, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange


def window_starts(length: int, window: int, overlap: int, multiple: int = 5) -> np.ndarray:
    """First frames of windows that cover `length` frames, int [W], each a multiple of `multiple`.

    A multiple of 5 latent frames is a whole number of frames at 10 and at 25 a second. The
    last window may reach past the end.
    """
    if length <= window:
        return np.zeros(1, int)
    hop = max((window - overlap) // multiple, 1) * multiple
    return np.arange(0, length - overlap, hop)


def taper_weights(window: int, overlap: int) -> np.ndarray:
    """Blending weight of a window's frames: 1 inside, falling linearly over the overlaps."""
    ramp = (np.arange(window) + 0.5) / max(overlap, 1)
    return np.minimum(1, np.minimum(ramp, ramp[::-1])).astype(np.float32)


class WindowPlan(NamedTuple):
    """The windows of a clip. A window with several voices is listed once for each voice.

    Attributes:
      first: first frame of each window, int [W].
      voice: number of the voice that conditions it, int [W].
      weight: blending weights of its frames, float32 [W, window].
    """

    first: np.ndarray
    voice: np.ndarray
    weight: np.ndarray


def plan_windows(
    length: int, window: int, overlap: int, voices: np.ndarray | None = None
) -> WindowPlan:
    """Windows that cover `length` frames.

    Args:
      length, window, overlap: in frames.
      voices: number of the voice at each frame, int, at most [length]; the last one goes on
        to the end. In a window with two voices each frame is taken from its own voice's window.
    """
    taper = taper_weights(window, overlap)
    voices = np.zeros(1, int) if voices is None else np.asarray(voices)
    rows = []
    for start in window_starts(length, window, overlap).tolist():
        speaking = voices[np.minimum(np.arange(start, start + window), len(voices) - 1)]
        rows += [(start, int(voice), taper * (speaking == voice)) for voice in np.unique(speaking)]
    first, voice, weight = zip(*rows, strict=True)
    return WindowPlan(np.array(first), np.array(voice), np.stack(weight).astype(np.float32))


def split_windows(x: jax.Array, first: np.ndarray, window: int) -> jax.Array:
    """Windows of x, batch-major: [B, L, C] -> [B * W, window, C], zeros past the end."""
    x = jnp.pad(x, [(0, 0), (0, window), (0, 0)])  # the last one may reach past the end
    windows = x[:, first[:, None] + np.arange(window)]  # [B, W, window, C]
    return rearrange(windows, "b w t c -> (b w) t c")


def blend_windows(y: jax.Array, first: np.ndarray, length: int, weight: jax.Array) -> jax.Array:
    """Weighted mean of overlapping windows: [B * W, window, C] -> [B, length, C].

    Args:
      y: values in the windows.
      first: first frame of each window, int [W].
      length: L, frames of the result.
      weight: of the windows' frames, [W, window]; at every frame one of them is above 0.
    """
    window, channels = y.shape[1:]
    y = rearrange(y, "(b w) t c -> b w t c", w=len(first))
    index = (first[:, None] + np.arange(window)).ravel()
    total = jnp.zeros(length + window, jnp.float32).at[index].add(jnp.ravel(weight))[:length]
    weighted = rearrange(y * weight[..., None], "b w t c -> b (w t) c")
    summed = jnp.zeros((y.shape[0], length + window, channels), y.dtype)
    summed = summed.at[:, index].add(weighted)
    return summed[:, :length] / total[:, None]
