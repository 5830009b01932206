"""Classifier-free guidance with a scale per group of conditions, in one batched pass.

    v = v_null + sum_g w_g (v_g - v_(g-1))

Groups are added one after another: v_0 = v_null has no condition, v_g has those of the
groups up to g. With a single group of all conditions this is
v = v_null + w (v_cond - v_null) (Ho and Salimans 2022, arXiv 2207.12598, equation 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Groups = tuple[tuple[tuple[str, ...], float], ...]  # ((names, scale), ...)


def group_by_scale(names: Sequence[str], scale: float, scales: dict[str, float]) -> Groups:
    """Groups of equal scale, in the order of their first names.

    Args:
      names: all conditions of the route.
      scale: the common scale.
      scales: scales of single conditions that differ from it.
    """
    unknown = sorted(set(scales) - set(names))
    if unknown:
        raise ValueError(f"guidance: found conditions {unknown}, expected some of {tuple(names)}")
    by_scale: dict[float, list[str]] = {}
    for name in names:
        by_scale.setdefault(float(scales.get(name, scale)), []).append(name)
    return tuple((tuple(members), value) for value, members in by_scale.items())


def list_branches(groups: Groups) -> list[tuple[str, ...]]:
    """Conditions that are on in each branch: none, then one more group at a time."""
    active: tuple[str, ...] = ()
    branches = [active]
    for members, _ in groups:
        active += members
        branches.append(active)
    return branches


def combine_branches(velocities: jax.Array, scales: Sequence[float] | jax.Array) -> jax.Array:
    """v_0 + sum_g w_g (v_g - v_(g-1)): [G + 1, B, L, C] and scales [G] -> [B, L, C]."""
    differences = velocities[1:] - velocities[:-1]
    scales = jnp.asarray(scales, velocities.dtype)
    return velocities[0] + jnp.tensordot(scales, differences, axes=1)


def make_guided_velocity(
    velocity: Callable, groups: Groups, scales: jax.Array | None = None
) -> Callable:
    """The guided velocity function of x [B, L, C] and a scalar t, by the formula above.

    Args:
      velocity: (x [G' B, L, C], t [G' B]) -> velocity, where the first axis is branch-major
        and its conditions were prepared in the order of `list_branches`. With one group of
        scale 1 only that branch exists (G' = 1); otherwise G' = G + 1.
      groups: the groups and their scales.
      scales: to use instead of those of the groups, [G]: data for a compiled program.
    """
    if is_unguided(groups):
        return lambda x, t: velocity(x, jnp.full(x.shape[0], t))
    count = len(groups) + 1
    weights = [scale for _, scale in groups] if scales is None else scales

    def guided_velocity(x, t):
        batch = jnp.tile(x, (count, 1, 1))
        velocities = velocity(batch, jnp.full(batch.shape[0], t))
        return combine_branches(velocities.reshape(count, *x.shape), weights)

    return guided_velocity


def is_unguided(groups: Groups) -> bool:
    """Whether every scale is 1, so that the conditional branch alone is the answer."""
    return all(scale == 1 for _, scale in groups)
