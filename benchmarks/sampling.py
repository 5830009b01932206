"""Times a guided velocity and a guided sampling: `python -m benchmarks.sampling`.

Beside ours, where torch and diffusers are installed, the official network as the official
sampler calls it. On an accelerator add `--batch=64`; "x real time" is seconds of sound made
in a second.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import measuring, networks
from vssflow_jax import conditions
from vssflow_jax.flow import guidance, solvers
from vssflow_jax.models import folded

BATCH = flags.DEFINE_integer("batch", 1, "Clips.")
STEPS = flags.DEFINE_integer("steps", 25, "Euler steps of a sampling; 0: only the velocity.")
SCALE = 3.0
SAMPLING = "sampling"


def ours(dtype: str) -> dict:
    """Our network, folded, in one guided pass whose first half has no conditions."""
    config = networks.config(dtype)
    model, batch = networks.build(config), BATCH.value
    params = folded.fold_params(model, networks.parameters(model))
    network = folded.folded_network(model)
    groups = guidance.group_by_scale(network.conditioner_config.route.used, SCALE, {})
    keep = jnp.repeat(jnp.arange(2.0), batch)  # without conditions, then with them
    keep = {name: keep for name in conditions.NAMES}
    features = jax.tree.map(lambda x: np.tile(x, (2,) + (1,) * (x.ndim - 1)), given(config))
    length = networks.spec_of(config).latent_frames
    noise = jax.random.normal(jax.random.key(0), (batch, length, config.codec.channels))

    @jax.jit
    def condition(params, features):
        return network.apply({"params": params}, features, keep, length, batch, method="condition")

    def velocity(params, conditioned):
        apply = functools.partial(network.apply, {"params": params}, method="velocity")
        return guidance.make_guided_velocity(lambda x, t: apply(x, t, conditioned), groups)

    once = jax.jit(lambda params, x, conditioned: velocity(params, conditioned)(x, 0.3))
    conditioned = condition(params, features)
    seconds = measuring.clock(lambda: jax.block_until_ready(once(params, noise, conditioned)))
    out = {"seconds": seconds, "type": dtype, "flops": batch * guided_flops(config)}
    if not STEPS.value:
        return out

    @jax.jit
    def sample(params, features, noise):
        guided = velocity(params, condition(params, features))
        return solvers.solve(guided, noise, "euler", STEPS.value)

    made = measuring.clock(lambda: jax.block_until_ready(sample(params, features, noise)))
    return out | {SAMPLING: made, f"{SAMPLING} flops": STEPS.value * out["flops"]} | speed(made)


def given(config) -> dict:
    """Raw conditions of the batch."""
    return networks.features(config, BATCH.value)


def guided_flops(config) -> float:
    """Of one clip: with conditions and without."""
    return networks.flops(config) + networks.flops(config, context=False)


def speed(seconds: list[float]) -> dict:
    """Seconds of sound a second."""
    made = BATCH.value * networks.config().data.duration
    return {"times_real_time": made / min(seconds)}


def theirs(half: bool) -> dict:
    """The official network in PyTorch: two passes, one after the other."""
    import torch

    from benchmarks import official

    config = networks.config()
    network, batch = official.made(config), BATCH.value
    x = torch.randn(batch, config.codec.channels, network.length)
    times = torch.full((batch,), 0.3)
    with torch.no_grad(), official.precision(half):
        concat, context = network.condition(official.tensors(given(config)))

        def step(x, t):
            return network.guided(x, times * 0 + t, concat, context, SCALE)

        def sample():
            latent = x
            for number in range(STEPS.value):
                latent = latent + step(latent, number / STEPS.value) / STEPS.value

        out = {"seconds": measuring.clock(lambda: step(x, 0.3)), "type": "float32"}
        if half:
            out["type"] = "bfloat16"
        if not STEPS.value:
            return out
        made = measuring.clock(sample)
        return out | {SAMPLING: made} | speed(made)


def rows() -> measuring.Rows:
    """What is measured."""
    return networks.beside(ours, theirs, 2 * BATCH.value)


if __name__ == "__main__":
    measuring.main(rows, reference="torch float32")
