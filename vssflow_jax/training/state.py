"""What training carries from step to step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from vssflow_jax.training import optim


@struct.dataclass
class TrainState:
    """Parameters, their moving average, the optimiser's state, and steps done."""

    step: jax.Array
    params: dict
    ema: dict
    opt_state: tuple


def initial(params, config) -> TrainState:
    """The state before the first step."""
    optimizer = optim.optimizer(config.optim, config.train.steps)
    return TrainState(
        step=jnp.zeros((), jnp.int32), params=params, ema=params, opt_state=optimizer.init(params)
    )


def count_parameters(params) -> int:
    """Numbers in a pytree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
