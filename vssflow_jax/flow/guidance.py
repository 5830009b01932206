"""Classifier-free guidance with a scale per group of conditions, in one batched pass.

    v = v_null + sum_g w_g (v_g - v_(g-1))

Groups are added one after another: v_0 = v_null has no condition, v_g has those of the
groups up to g. With a single group of all conditions this is
v = v_null + w (v_cond - v_null) (Ho and Salimans 2022, arXiv 2207.12598, equation 6).

Two variants. Within an interval of time only (Kynkäänniemi et al. 2024, arXiv 2404.07724), the
conditional velocity v_G is the answer at other times. Adaptive projected guidance (APG; Sadat et
al. 2024, arXiv 2410.02416, algorithm 1) works on predictions of the data, mu = x + (1 - t) v:

    D_g <- mu_g - mu_(g-1) + beta D_g        of the step before, 0 at first
    mu = mu_G + sum_g (w_g - 1) (orthogonal_g + eta parallel_g),    v = (mu - x) / (1 - t)

where parallel_g is the part of D_g along mu_G, and orthogonal_g the rest. With eta = 1 and
beta = 0 it is the first formula.
"""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidanceSettings:
    """Variants of guidance; the defaults are the plain formula at all times.

    Attributes:
      start: flow time from which on guidance acts.
      stop: flow time up to which it acts.
      eta: how much of the parallel part is kept (APG).
      momentum: beta, how much of the step before is added (APG).
    """

    start: float = 0.0
    stop: float = 1.0
    eta: float = 1.0
    momentum: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether there are times without guidance."""
        return self.start > 0 or self.stop < 1

    @property
    def projected(self) -> bool:
        """Whether guidance is APG."""
        return self.eta != 1 or self.momentum != 0


def make_projected_velocity(
    velocity: Callable, groups: Groups, scales: jax.Array, settings: GuidanceSettings
) -> Callable:
    """The velocity of APG: (x [B, L, C], scalar t, memory) -> velocity, memory.

    The memory is D [G, B, L, C], zeros before the first step; it is not used without momentum.
    With momentum t must be less than 1.

    Args:
      velocity: as that of `make_guided_velocity`.
      groups: the groups.
      scales: w, [G].
      settings: eta and momentum.
    """
    count = len(groups) + 1

    def projected_velocity(x, t, memory):
        batch = jnp.tile(x, (count, 1, 1))
        velocities = velocity(batch, jnp.full(batch.shape[0], t)).reshape(count, *x.shape)
        differences = velocities[1:] - velocities[:-1]  # D / (1 - t)
        if settings.momentum:
            memory = (1 - t) * differences + settings.momentum * memory
            differences = memory / (1 - t)
        data = x + (1 - t) * velocities[-1]  # mu_G
        parallel = project_parallel(differences, data)
        kept = differences + (settings.eta - 1) * parallel
        weights = jnp.asarray(scales, kept.dtype) - 1
        return velocities[-1] + jnp.tensordot(weights, kept, axes=1), memory

    return projected_velocity


def project_parallel(x: jax.Array, direction: jax.Array) -> jax.Array:
    """The part of each x [.., L, C] along a direction [.., L, C], over frames and channels."""
    dot, square = (
        jnp.sum(part * direction, axis=(-2, -1), keepdims=True) for part in (x, direction)
    )
    return dot / jnp.maximum(square, jnp.finfo(x.dtype).tiny) * direction


def limit_guidance(guided: Callable, conditional: Callable, settings: GuidanceSettings) -> Callable:
    """The guided velocity for start <= t <= stop, the conditional one, cheaper, at other times.

    Args:
      guided: (x, scalar t, ..) -> what it computes.
      conditional: the same with all conditions and without guidance.
      settings: start and stop.
    """

    def limited_velocity(x, t, *memory):
        inside = (settings.start <= t) & (t <= settings.stop)
        return jax.lax.cond(inside, guided, conditional, x, t, *memory)

    return limited_velocity


def make_mean_velocity(velocity: Callable) -> Callable:
    """The velocity of a student, whose guidance is one of its inputs, for a solver over spans.

    Args:
      velocity: (x [B, L, C], t [B], span [B]) -> velocity.
    """

    def mean_velocity(x, t, span, memory):
        times, spans = (jnp.full(x.shape[0], scalar) for scalar in (t, span))
        return velocity(x, times, spans), memory

    return mean_velocity


def is_unguided(groups: Groups) -> bool:
    """Whether every scale is 1, so that the conditional branch alone is the answer."""
    return all(scale == 1 for _, scale in groups)
