"""The velocity of latents longer than the training clips, computed in overlapping windows.

Legend: B clips, W windows a clip, G branches of guidance, L latent frames, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from einops import repeat

from vssflow_jax.common.chunking import merge_chunks, split_chunks
from vssflow_jax.flow import windows
from vssflow_jax.models import folded
from vssflow_jax.models.vssflow import VSSFlow


def windowed_velocity(
    model: VSSFlow,
    params: Mapping,
    branches: Sequence[Sequence[str]],
    conditions: tuple[Mapping, Mapping],
    plan: windows.WindowPlan,
    num_chunks: int = 1,
    scales: jax.Array | None = None,
) -> Callable:
    """The velocity function of x [G B, L, C], branch-major, and times [G B].

    Of a student, it takes spans [G B] as well.

    In one chunk the conditions are projected once a sample. In several chunks that is repeated
    for each of them at every evaluation, so that memory does not grow with the number of windows;
    it is a small part of the work.

    Args:
      model: the network.
      params: of `folded.fold_params`.
      branches: conditions that are on, by branch.
      conditions: features and whether they are present, by name, each [B W, ...].
      plan: the windows of a clip.
      num_chunks: of windows, evaluated one after another.
      scales: of a student, guidance scale of each condition, [N].
    """
    apply = functools.partial(folded.folded_network(model).apply, {"params": params})
    num_branches, window = len(branches), plan.window
    num_unconditional = folded.count_unconditional(model, branches)

    def project(features, present):
        tiled = jax.tree.map(lambda x: repeat(x, "b ... -> (g b) ...", g=num_branches), features)
        keep = {
            name: jnp.concatenate([present[name] * (name in names) for names in branches])
            for name in present
        }
        size = next(iter(present.values())).shape[0]
        rows = None if scales is None else repeat(scales, "n -> b n", b=num_branches * size)
        return apply(tiled, keep, window, num_unconditional * size, rows, method="condition")

    def split(x, *times):
        by_window = (repeat(t, "b -> (b w)", w=len(plan.voice)) for t in times)
        return windows.split_windows(x, plan.frames), *by_window

    def blend(y, length):
        return windows.blend_windows(y, plan.frames, length, plan.weight)

    if num_chunks == 1:
        projected = project(*conditions)

        def velocity(x, t, *span):
            x_rows, t_rows, *span_rows = split(x, t, *span)
            y = apply(x_rows, t_rows, projected, *span_rows, method="velocity")
            return blend(y, x.shape[1])

        return velocity

    chunks = jax.tree.map(lambda x: split_chunks(x, num_chunks), conditions)

    def evaluate(chunk):
        conditions, x, t, *span = chunk
        return apply(x, t, project(*conditions), *span, method="velocity")

    def chunked_velocity(x, t, *span):
        rows = [split_chunks(part, num_chunks, num_branches) for part in split(x, t, *span)]
        y = jax.lax.map(evaluate, (chunks, *rows))
        num_rows = len(t) // num_branches * len(plan.voice)
        return blend(merge_chunks(y, num_rows, num_branches), x.shape[1])

    return chunked_velocity
