"""Conditions to network inputs: align, project, mask, route (VSSFlow, section 3.3).

Legend: B clips, n frames of a condition, L latent frames, W projected width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from vssflow_jax import conditions
from vssflow_jax.models import alignment, layers


@struct.dataclass
class RoutedConditions:
    """The conditions as inputs of the network; a path that the route does not use is None.

    Attributes:
      concat: [B, L, Wc] conditions concatenated on channels (Wc may be 0).
      context: [B, 1 + L, Dc] or [B, L, Dc] rows for cross-attention.
      added: [B, W] condition added to the time token.
    """

    concat: jax.Array
    context: jax.Array | None
    added: jax.Array | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionerConfig:
    """Route and widths.

    Attributes:
      route: which condition enters where.
      widths: projected widths that differ from the table's, as (name, width) pairs.
      learned_null_phonemes: dropped phonemes become the last row of their table, which no
        phoneme uses, instead of zeros: a learned "unknown", distinct from "no speech", id 0.
      time_aligned_sync: sync tokens are placed at the time of their frames, not evenly spread.
      dtype: of the computation.
    """

    route: conditions.Route
    widths: tuple[tuple[str, int], ...] = ()
    learned_null_phonemes: bool = False
    time_aligned_sync: bool = False
    dtype: str = "float32"

    def width(self, name: str) -> int:
        """Projected width of a condition."""
        return conditions.projected_width(name, dict(self.widths))

    def alignment(self, name: str) -> str:
        """How a condition's frames are aligned to the latent grid."""
        if name == "sync" and self.time_aligned_sync:
            return conditions.BY_TIME
        return conditions.BY_NAME[name].alignment


class Conditioner(nn.Module):
    """Projects each condition of the route, and routes it to its input of the network."""

    config: ConditionerConfig

    def setup(self):
        self.projections = {name: self._projection(name) for name in self.config.route.used}

    def _projection(self, name: str) -> nn.Module:
        width, dtype = self.config.width(name), jnp.dtype(self.config.dtype)
        if conditions.BY_NAME[name].ids:
            return nn.Embed(conditions.BY_NAME[name].width, width, dtype=dtype, name=name)
        return layers.Projection(2 * width, width, dtype, name=name)

    def project(
        self, features: Mapping[str, jax.Array], keep: Mapping[str, jax.Array], length: int
    ) -> dict[str, jax.Array]:
        """Aligned and projected conditions by name: [B, L, W]; for one token [B, W].

        Args:
          features: [B, n, width] by name; ids [B, n]; once a clip [B, width].
          keep: [B] or, by latent frame, [B, L]: 1 keeps, 0 drops (absent or dropped out).
          length: L.
        """
        projected = {}
        for name in self.config.route.used:
            condition, x = conditions.BY_NAME[name], features[name]
            if condition.alignment != conditions.TOKEN:
                x = alignment.align_to_grid(x, self.config.alignment(name), length)
            if condition.ids and self.config.learned_null_phonemes:
                ids = jnp.where(_append_axes(keep[name], x) > 0, x, condition.width - 1)
                projected[name] = self.projections[name](ids)
            else:
                y = self.projections[name](x)
                projected[name] = y * _append_axes(keep[name], y).astype(y.dtype)
        return projected

    def route(self, projected: Mapping[str, jax.Array], length: int) -> RoutedConditions:
        """Concatenates projected conditions along channels and tokens."""
        route = self.config.route
        batch = next(iter(projected.values())).shape[0]

        def concatenate(names):
            return jnp.concatenate([projected[name] for name in names], axis=-1)

        concat = concatenate(route.concat) if route.concat else jnp.zeros((batch, length, 0))
        context = concatenate(route.cross) if route.cross else None
        for name in route.token:
            token = projected[name][:, None]  # [B, 1, W]
            padding = context.shape[-1] - token.shape[-1]
            token = jnp.pad(token, [(0, 0), (0, 0), (0, padding)])
            context = jnp.concatenate([token, context], axis=1)
        added = concatenate(route.added) if route.added else None
        return RoutedConditions(concat=concat, context=context, added=added)

    def __call__(
        self, features: Mapping[str, jax.Array], keep: Mapping[str, jax.Array], length: int
    ):
        """Routed conditions; those with keep 0 are exactly zero (or the null row).

        Args:
          features: raw conditions.
          keep: 1 keeps, 0 drops, by name.
          length: L; for all three see `project`.
        """
        return self.route(self.project(features, keep, length), length)


def _append_axes(keep: jax.Array, x: jax.Array) -> jax.Array:
    """`keep` with axes of size 1 appended, to as many as `x` has."""
    return keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim))
