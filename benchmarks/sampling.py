"""Times a guided velocity and a guided sampling: `python -m benchmarks.sampling`.

If torch and diffusers are installed, it also times the official network as the official sampler
calls it. On an accelerator add `--batch=64`; "times real time" is seconds of sound generated per
second.
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

SCALE = 3.0
SAMPLING = "sampling"


def measure_ours(dtype: str) -> dict:
    """Our folded network in one guided pass whose first half has no conditions."""
    config = networks.read_config(dtype)
    model, batch = networks.build_model(config), flags.FLAGS.batch
    params = folded.fold_params(model, networks.synthetic_params(model))
    network = folded.folded_network(model)
    groups = guidance.group_by_scale(network.conditioner_config.route.used, SCALE, {})
    keep = jnp.repeat(jnp.arange(2.0), batch)  # without conditions, then with them
    keep = {name: keep for name in conditions.NAMES}
    features = jax.tree.map(
        lambda x: np.tile(x, (2,) + (1,) * (x.ndim - 1)), random_conditions(config)
    )
    length = networks.make_spec(config).latent_frames
    noise = jax.random.normal(jax.random.key(0), (batch, length, config.codec.channels))

    @jax.jit
    def condition(params, features):
        return network.apply({"params": params}, features, keep, length, batch, method="condition")

    def velocity(params, conditioned):
        apply = functools.partial(network.apply, {"params": params}, method="velocity")
        return guidance.make_guided_velocity(lambda x, t: apply(x, t, conditioned), groups)

    once = jax.jit(lambda params, x, conditioned: velocity(params, conditioned)(x, 0.3))
    conditioned = condition(params, features)
    seconds = measuring.time_calls(lambda: jax.block_until_ready(once(params, noise, conditioned)))
    out = {"seconds": seconds, "type": dtype, "flops": batch * count_guided_flops(config)}
    if not flags.FLAGS.steps:
        return out

    @jax.jit
    def sample(params, features, noise):
        guided = velocity(params, condition(params, features))
        return solvers.solve(guided, noise, "euler", flags.FLAGS.steps)

    sampling_seconds = measuring.time_calls(
        lambda: jax.block_until_ready(sample(params, features, noise))
    )
    return (
        out
        | {SAMPLING: sampling_seconds, f"{SAMPLING} flops": flags.FLAGS.steps * out["flops"]}
        | measure_speed(sampling_seconds)
    )


def random_conditions(config) -> dict:
    """Raw conditions of the batch."""
    return networks.random_features(config, flags.FLAGS.batch)


def count_guided_flops(config) -> float:
    """Operations of one clip: with conditions and without."""
    return networks.count_flops(config) + networks.count_flops(config, context=False)


def measure_speed(seconds: list[float]) -> dict:
    """Seconds of sound per second."""
    duration = flags.FLAGS.batch * networks.read_config().data.duration
    return {"times_real_time": duration / min(seconds)}


def measure_official(half: bool) -> dict:
    """The official network in PyTorch: two passes, one after the other."""
    import torch

    from benchmarks import official

    config = networks.read_config()
    network, batch = official.build_official(config), flags.FLAGS.batch
    x = torch.randn(batch, config.codec.channels, network.length)
    times = torch.full((batch,), 0.3)
    with torch.no_grad(), official.autocast(half):
        concat, context = network.condition(official.to_tensors(random_conditions(config)))

        def step(x, t):
            return network.guided(x, times * 0 + t, concat, context, SCALE)

        def sample():
            latent = x
            for number in range(flags.FLAGS.steps):
                latent = latent + step(latent, number / flags.FLAGS.steps) / flags.FLAGS.steps

        out = {"seconds": measuring.time_calls(lambda: step(x, 0.3)), "type": "float32"}
        if half:
            out["type"] = "bfloat16"
        if not flags.FLAGS.steps:
            return out
        sampling_seconds = measuring.time_calls(sample)
        return out | {SAMPLING: sampling_seconds} | measure_speed(sampling_seconds)


def make_rows() -> measuring.Rows:
    """The rows of the table."""
    return networks.make_rows(measure_ours, measure_official, 2 * flags.FLAGS.batch)


def define_flags() -> None:
    """The flags of the command."""
    networks.define_flags()
    flags.DEFINE_integer("batch", 1, "Clips.")
    flags.DEFINE_integer("steps", 25, "Euler steps of a sampling; 0: only the velocity.")


if __name__ == "__main__":
    measuring.main(make_rows, define_flags, reference="torch float32")
