"""The optimizer: learning rate, update rule, gradient clipping and averaged weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from vssflow_jax.models import duration_model

MAIN = "main"  # the optimizer of all parameters but the duration model's
MUON_RMS = 0.2  # root mean square of an update over the learning rate, as AdamW's is
DURATION_LEARNING_RATE = 2e-3  # largest learning rate of the duration model
DURATION_MAX_GRAD_NORM = 1.0
DISCRIMINATORS = "discriminators"  # the name of their parameters, where a codec has some
DISCRIMINATOR_LEARNING_RATE = 5e-4
DISCRIMINATOR_MAX_GRAD_NORM = 10.0
DISCRIMINATOR_DECAYS = (0.8, 0.95)  # of Adam's means
EPSILON = 1e-8  # of Adam
NEWTON_SCHULZ_STEPS = 3  # enough after the preconditioning; 5 are usual without


def learning_rate_schedule(optim, steps: int, peak: float | None = None) -> optax.Schedule:
    """Learning rate by step: linear warm-up from 0, then constant or a cosine to 0.

    Args:
      optim: the config's group.
      steps: of the run.
      peak: the largest rate; None: the config's.
    """
    peak = optim.learning_rate if peak is None else peak
    if optim.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif optim.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(steps - optim.warmup_steps, 1))
    else:
        raise ValueError(
            f"optim.schedule: found {optim.schedule!r}, expected 'constant' or 'cosine'"
        )
    warmup = optax.linear_schedule(0.0, peak, max(optim.warmup_steps, 1))
    return optax.join_schedules([warmup, after], [optim.warmup_steps])


def make_optimizer(config) -> optax.GradientTransformation:
    """The rule of `optim.name` for the network, Adam for what learns beside it, each clipped.

    None sees another's gradient, so that the network's updates are bit-identical with and without
    a duration model.
    """
    optim, steps = config.optim, config.train.steps
    limit = optim.max_grad_norm
    clip = optax.identity() if limit is None else clip_by_norm(limit)
    rule = make_rule(optim, learning_rate_schedule(optim, steps))
    optimizers = {MAIN: optax.chain(clip, rule)}
    if config.model.duration_width:
        rate = learning_rate_schedule(optim, steps, DURATION_LEARNING_RATE)
        clip = clip_by_norm(DURATION_MAX_GRAD_NORM)
        optimizers[duration_model.PARAMS_KEY] = optax.chain(clip, optax.adam(rate))
    if config.codec.adversarial_weight:
        rate = learning_rate_schedule(optim, steps, DISCRIMINATOR_LEARNING_RATE)
        clip = clip_by_norm(DISCRIMINATOR_MAX_GRAD_NORM)
        adam_rule = optax.adam(rate, *DISCRIMINATOR_DECAYS)
        optimizers[DISCRIMINATORS] = optax.chain(clip, adam_rule)
    return optax.partition(optimizers, label_parameters)


def label_parameters(params) -> dict[str, str]:
    """The name of the optimizer of each part of the parameters."""
    others = (duration_model.PARAMS_KEY, DISCRIMINATORS)
    return {name: name if name in others else MAIN for name in params}


def make_rule(optim, rate: optax.Schedule) -> optax.GradientTransformation:
    """The update rule of `optim.name`.

    "adamw" is the published one, with weight decay on everything. "muon" (Jordan et al. 2024)
    orthogonalizes the updates of matrices, scales them to AdamW's size (Liu et al. 2025, arXiv
    2502.16982), and leaves all other parameters to AdamW.
    """
    if optim.name == "adamw":
        decay = optax.add_decayed_weights(optim.weight_decay)
        return optax.chain(adam(optim.b1, optim.b2), decay, optax.scale_by_learning_rate(rate))
    if optim.name == "muon":
        return optax.contrib.muon(
            rate,
            ns_steps=NEWTON_SCHULZ_STEPS,
            preconditioning="schatten",
            weight_decay=optim.weight_decay,
            adam_b1=optim.b1,
            adam_b2=optim.b2,
            adam_weight_decay=optim.weight_decay,
            muon_weight_dimension_numbers=muon_dimension_numbers,
            consistent_rms=MUON_RMS,
        )
    raise ValueError(f"optim.name: found {optim.name!r}, expected 'adamw' or 'muon'")


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """Scales the gradient to a global norm of at most `limit`.

    By one factor: `optax.clip_by_global_norm` divides every number, which costs the compiler a
    second copy of the gradient.
    """

    def clip(gradient, params=None):
        del params
        factor = jnp.minimum(1.0, limit / optax.tree.norm(gradient))
        return jax.tree.map(lambda g: g * factor, gradient)

    return optax.stateless(clip)


def adam(b1: float, b2: float) -> optax.GradientTransformation:
    """`optax.scale_by_adam` whose moments are finished before anything is computed from them.

    Otherwise the compiler computes them once more where the parameters are updated, and keeps
    the old ones for that: a copy of each, instead of arrays that change in place.
    """
    rule = optax.scale_by_adam(b1, b2, EPSILON)

    def update(gradient, state, params=None):
        del params
        _, state = rule.update(gradient, state)
        mean, square = jax.lax.optimization_barrier((state.mu, state.nu))
        corrected = (
            optax.tree.bias_correction(mean, b1, state.count),
            optax.tree.bias_correction(square, b2, state.count),
        )
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + EPSILON), *corrected)
        return updates, state._replace(mu=mean, nu=square)

    return optax.GradientTransformation(rule.init, update)


def muon_dimension_numbers(params):
    """The input and output axes of each matrix in `params`; None for all other arrays.

    Kernels are [in, out], [in, heads, h] or, at the attention's end, [heads, h, out]; stacked
    layers come first. Each layer and each head is a matrix of its own.
    """

    def axes(path, array):
        names = [key.key for key in path]
        if names[-1] != "kernel":
            return None
        inputs = 3 if names[-2] in ("query", "key", "value") else 2
        return optax.contrib.MuonDimensionNumbers(array.ndim - inputs, array.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


def update_ema(ema, params, step: jax.Array, decay: float):
    """Exponential moving average of the parameters; None stays None.

    Early on the decay is (1 + step) / (10 + step), so that the first weights do not linger.
    Not `optax.incremental_update`: it rounds differently, and runs would no longer resume bit
    for bit.
    """
    if ema is None:
        return None
    step = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + (1 - rate) * (new - old), ema, params)
