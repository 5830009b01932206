"""The velocity of latents longer than the training clips, computed in overlapping windows.

Legend: B clips, W windows a clip, G branches of guidance, L latent frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from vssflow_jax.common.chunking import chunked_map, merge_chunks, split_chunks
from vssflow_jax.flow import windows


def windowed_velocity(
    apply: Callable,
    count_unconditional: Callable[[Sequence[Sequence[str]]], int],
    branches: Sequence[Sequence[str]],
    conditions: tuple[Mapping, Mapping],
    plan: windows.WindowPlan,
    *,
    num_chunks: int,
) -> Callable:
    """The velocity function of x [G B, L, C], branch-major, and times [G B].

    Where all windows are evaluated in one chunk, their conditions are projected once a sample.
    With several chunks that is repeated for every chunk, so that memory does not grow with the
    number of windows; it is a small part of the work.

    Args:
      apply: applies the network with its parameters; its methods are `condition` and `velocity`.
      count_unconditional: how many of the first branches have a context of zeros.
      branches: conditions that are on, by branch.
      conditions: features and whether they are present, by name, each [B W, ...].
      plan: the windows of a clip.
      num_chunks: of windows, evaluated one after another.
    """
    count, first, window = len(branches), plan.first, plan.weight.shape[1]
    chunks = jax.tree.map(lambda x: split_chunks(x, num_chunks), conditions)
    size = jax.tree.leaves(chunks)[0].shape[1]
    num_unconditional = count_unconditional(branches) * size

    def project(features, present):
        tiled = jax.tree.map(lambda x: jnp.tile(x, (count,) + (1,) * (x.ndim - 1)), features)
        keep = {
            name: jnp.concatenate([present[name] * (name in names) for names in branches])
            for name in present
        }
        return apply(tiled, keep, window, num_unconditional, method="condition")

    projected = project(*jax.tree.map(lambda x: x[0], chunks)) if num_chunks == 1 else None

    def evaluate(chunk, x, t):
        conditioned = project(*chunk) if projected is None else projected
        return apply(x, t, conditioned, method="velocity")

    def velocity(x, t):
        rows = (windows.split_windows(x, first, window), jnp.repeat(t, len(first)))  # [G B W, ...]
        row_chunks = [split_chunks(part, num_chunks, count) for part in rows]
        out = chunked_map(evaluate, (chunks, *row_chunks))
        out = merge_chunks(out, len(rows[1]) // count, count)
        return windows.blend_windows(out, first, x.shape[1], plan.weight)

    return velocity
