"""One training step of any loss: gradient in, a better state out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vssflow_jax.training import optim
from vssflow_jax.training.state import TrainState

# Streams of random numbers of a run's seed: a step's is its number, from 0; these are no steps.
VALIDATION_STREAM = 2**32 - 1
AUXILIARY_STREAM = 2**32 - 2  # of a step's own key
INIT_STREAM = 2**32 - 3  # the first weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a run trains, as functions.

    Attributes:
      init_state: () -> the first state, from the config's seed.
      train_step: (state, frozen, batch) -> state and metrics.
      validation_loss: (weights, frozen, batch, number of the batch) -> loss.
      frozen: arrays on the devices that steps read and never change; None: the codec.
      identity: what its checkpoints are made with, besides codec, data set and config.
    """

    init_state: Callable[[], TrainState]
    train_step: Callable
    validation_loss: Callable
    frozen: Any = None
    identity: Mapping[str, str] = dataclasses.field(default_factory=dict)


def make_train_step(
    loss_and_gradient: Callable, config, auxiliary_losses: Mapping[str, Callable] | None = None
) -> Callable:
    """The function (state, frozen, batch) -> (state, metrics), ready for `jax.jit`.

    Randomness is `fold_in(seed, step)`: nothing about it needs saving. If the loss or a
    gradient is not finite, all but the step's number stays as it was, and `skipped` is 1.

    Args:
      loss_and_gradient: (params, frozen, batch, key) -> loss and its gradient.
      config: the run's.
      auxiliary_losses: by the name of their parameters, losses of networks that learn beside the
        main one, (params, batch, key) -> loss.
    """
    optimizer = optim.make_optimizer(config)
    learning_rate = optim.learning_rate_schedule(config.optim, config.train.steps)

    def update(state: TrainState, gradient) -> TrainState:
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = jax.lax.optimization_barrier(optax.apply_updates(state.params, updates))
        ema = optim.update_ema(state.ema, params, state.step, config.optim.ema_decay)
        return state.replace(params=params, ema=ema, opt_state=opt_state)

    def train_step(state: TrainState, frozen, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        loss, gradient = loss_and_gradient(state.params, frozen, batch, key)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        metrics = {"loss": loss, "grad_norm": norm, "learning_rate": learning_rate(state.step)}
        for name, auxiliary_loss in (auxiliary_losses or {}).items():
            auxiliary_key = jax.random.fold_in(key, AUXILIARY_STREAM)
            metrics[f"{name}_loss"], gradient[name] = jax.value_and_grad(auxiliary_loss)(
                state.params[name], batch, auxiliary_key
            )
            finite &= jnp.isfinite(optax.tree.norm(gradient[name]))
        metrics["skipped"] = ~finite
        state = update_if(finite, update, state, gradient)
        return state.replace(step=state.step + 1), metrics

    return train_step


def update_if(condition: jax.Array, update: Callable, state: TrainState, gradient) -> TrainState:
    """update(state, gradient) if the condition holds, else the state, in its own memory.

    By a loop of at most one round, whose state XLA changes in place. `jax.lax.cond` would copy the
    new state: on GPUs with this order of the branches, on CPUs with the other, on TPUs with both.
    """

    def update_once(carry):
        return jnp.zeros_like(condition), update(carry[1], gradient)

    return jax.lax.while_loop(lambda carry: carry[0], update_once, (condition, state))[1]
