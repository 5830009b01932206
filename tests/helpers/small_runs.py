"""Runs of a small network on made-up batches, in this process."""

import jax
import jax.numpy as jnp
import pytest

from helpers import train_steps
from vssflow_jax.training import loop, sharding

PLAIN = {"optim__name": "adamw", "optim__schedule": "constant", "model__layers": 1}


class Batches:
    """Made-up batches from some step on spoiled; as Grain's iterator."""

    def __init__(self, good):
        self.number, self.good = 0, good

    def __next__(self):
        self.number += 1
        return train_steps.batch(self.number, spoil=self.number > self.good)

    def get_state(self):
        return {"next_index": self.number}

    def set_state(self, state):
        self.number = state["next_index"]


def run(workdir, batches, validation=None, **changes):
    """A run of the small network."""
    config = train_steps.small(
        train__log_every=1, train__checkpoint_every=2, train__sample_every=0, **PLAIN, **changes
    )
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    codec = train_steps.Slices(jnp.float32(3.0))
    identity = {"codec": "slices"}
    data = loop.TrainingData(
        batches=batches, spec=train_steps.SPEC, num_examples=100, validation=validation
    )
    return loop.Run(config, workdir, mesh, codec, data, identity, train_steps.make_task)


def train_until(run, step):
    """Trains up to a step, after which the run is broken off."""

    def stop(number, state):
        if number == step:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run.train(stop)
