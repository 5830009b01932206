"""The velocity of latents that are longer than the network takes: by windows, in turns.

Legend: B clips, W windows a clip, G branches of guidance, L latent frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from vssflow_jax.common.chunking import chunked_map, merge_chunks, split_chunks
from vssflow_jax.flow import windows


def by_windows(
    apply: Callable,
    silent: Callable[[Sequence[Sequence[str]]], int],
    branches: Sequence[Sequence[str]],
    conditions: tuple[Mapping, Mapping],
    plan: windows.WindowPlan,
    *,
    length: int,
    turns: int,
) -> Callable:
    """The velocity function of x [G B, L, C], branch-major, and times [G B].

    Where all windows go together their conditions are projected once a sample. Where they take
    turns that is done again at every turn, so that memory does not grow with their number: it
    is a small part of the work.

    Args:
      apply: of a folded network (`models.folded`) with its parameters.
      silent: how many first branches have a context of zeros, of all branches.
      branches: conditions that are on, by branch.
      conditions: features and whether they are present, by name, each [B W, ...].
      plan: the windows of a clip.
      length: frames of a window.
      turns: in which they go through the network.
    """
    count, first = len(branches), plan.first
    given = jax.tree.map(lambda x: split_chunks(x, turns), conditions)
    size = jax.tree.leaves(given)[0].shape[1]
    quiet = silent(branches) * size

    def project(features, present):
        tiled = jax.tree.map(lambda x: jnp.tile(x, (count,) + (1,) * (x.ndim - 1)), features)
        keep = {
            name: jnp.concatenate([present[name] * (name in names) for names in branches])
            for name in present
        }
        return apply(tiled, keep, length, quiet, method="condition")

    once = project(*jax.tree.map(lambda x: x[0], given)) if turns == 1 else None

    def turn(given, x, t):
        conditioned = project(*given) if once is None else once
        return apply(x, t, conditioned, method="velocity")

    def velocity(x, t):
        rows = (windows.split_windows(x, first, length), jnp.repeat(t, len(first)))  # [G B W, ...]
        cut = [split_chunks(part, turns, count) for part in rows]
        out = chunked_map(turn, (given, *cut))
        out = merge_chunks(out, len(rows[1]) // count, count)
        return windows.blend_windows(out, first, x.shape[1], plan.weight)

    return velocity
