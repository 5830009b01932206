"""What training carries from step to step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from vssflow_jax.training import optim


@struct.dataclass
class TrainState:
    """Steps taken, parameters, their moving average if there is one, and the optimizer's state."""

    step: jax.Array
    params: dict
    ema: dict | None
    opt_state: tuple

    @property
    def weights(self) -> dict:
        """The weights to sample with: the averages, or the parameters if none are averaged."""
        return self.params if self.ema is None else self.ema


def init_state(params, config) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=params if config.optim.ema_decay else None,
        opt_state=optim.make_optimizer(config).init(params),
    )


def count_parameters(params) -> int:
    """Numbers in a pytree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
