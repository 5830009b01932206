"""Windows over latents longer than the training clips: overlapping, denoised together.

At every evaluation of the velocity all windows go through the network in one batch, and their
velocities are blended where they overlap, so that no seam appears (MultiDiffusion, arXiv
2302.08113, equation 5, with tapered weights).

A loop has windows that reach over its end into its start, so that the network sees the join in the
middle of a window at every evaluation. A prefix, such as a voice prompt, is the start of every
window.

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


def loop_starts(length: int, window: int, overlap: int, multiple: int = 5) -> np.ndarray:
    """First frames of windows that cover a circle of `length` frames, int [W], at least two.

    They are evenly spread, up to rounding to multiples of `multiple`.
    """
    count = max(-(-length // max(window - overlap - multiple, 1)), 2)
    return np.round(np.arange(count) * length / count / multiple).astype(int) * multiple


def taper_weights(window: int, overlap: int) -> np.ndarray:
    """Blending weight of a window's frames: 1 inside, falling linearly over the overlaps."""
    ramp = (np.arange(window) + 0.5) / max(overlap, 1)
    return np.minimum(1, np.minimum(ramp, ramp[::-1])).astype(np.float32)


class WindowPlan(NamedTuple):
    """The windows of a clip. A window with several voices is listed once for each voice.

    Attributes:
      frames: of the clip in each window, int [W, window]; those past its end have no weight there.
      voice: number of the voice that conditions it, int [W].
      weight: blending weights of its frames, float32 [W, window].
    """

    frames: np.ndarray
    voice: np.ndarray
    weight: np.ndarray

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.weight.shape[1]


def plan_windows(
    length: int,
    window: int,
    overlap: int,
    voices: np.ndarray | None = None,
    *,
    prefix: int = 0,
    is_loop: bool = False,
) -> WindowPlan:
    """Windows that cover `length` frames.

    Args:
      length, window, overlap: in frames.
      voices: number of the voice at each frame, int, at most [length]; the last one goes on
        to the end. In a window with two voices each frame is taken from its own voice's window.
      prefix: frames at the start of the clip with which every window starts.
      is_loop: whether the end of the clip is followed by its start.
    """
    body = window - prefix
    taper = taper_weights(body, overlap)
    voices = np.zeros(1, int) if voices is None else np.asarray(voices)
    find_starts = loop_starts if is_loop else window_starts
    rows = []
    for start in find_starts(length - prefix, body, overlap).tolist():
        frames = prefix + start + np.arange(body)
        frames = np.concatenate([np.arange(prefix), frames % length if is_loop else frames])
        weight = np.concatenate([np.ones(prefix), taper])
        speaking = voices[np.minimum(frames, len(voices) - 1)]
        rows += [
            (frames, int(voice), weight * (speaking == voice)) for voice in np.unique(speaking)
        ]
    frames, voice, weight = zip(*rows, strict=True)
    return WindowPlan(np.stack(frames), np.array(voice), np.stack(weight).astype(np.float32))


def split_windows(x: jax.Array, frames: jax.Array) -> jax.Array:
    """Windows of x [B, L, C] with these frames [W, window], batch-major: [B * W, window, C].

    Frames past the end are zeros.
    """
    x = jnp.pad(x, [(0, 0), (0, frames.shape[1]), (0, 0)])  # the last one may reach past the end
    return rearrange(x[:, frames], "b w t c -> (b w) t c")


def blend_windows(y: jax.Array, frames: jax.Array, length: int, weight: jax.Array) -> jax.Array:
    """Weighted mean of overlapping windows: [B * W, window, C] -> [B, length, C].

    Args:
      y: values in the windows.
      frames: of the windows, [W, window].
      length: L, frames of the result.
      weight: of the windows' frames, [W, window]; at every frame one of them is above 0.
    """
    window, channels = y.shape[1:]
    y = rearrange(y, "(b w) t c -> b w t c", w=len(frames))
    index = frames.ravel()
    total = jnp.zeros(length + window, jnp.float32).at[index].add(jnp.ravel(weight))[:length]
    weighted = rearrange(y * weight[..., None], "b w t c -> b (w t) c")
    summed = jnp.zeros((y.shape[0], length + window, channels), y.dtype)
    summed = summed.at[:, index].add(weighted)
    return summed[:, :length] / total[:, None]
