"""What training carries from step to step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from vssflow_jax.training import optim


@struct.dataclass
class TrainState:
    """Parameters, their moving average if there is one, the optimiser's state, and steps done."""

    step: jax.Array
    params: dict
    ema: dict | None
    opt_state: tuple

    @property
    def weights(self) -> dict:
        """What sampling takes: the averages, or the parameters where nothing is averaged."""
        return self.params if self.ema is None else self.ema


def init_state(params, config) -> TrainState:
    """The state before the first step."""
    optimizer = optim.make_optimizer(config.optim, config.train.steps)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=params if config.optim.ema_decay else None,
        opt_state=optimizer.init(params),
    )


def count_parameters(params) -> int:
    """Numbers in a pytree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
