"""Times a training step: `python -m benchmarks.train_step --batch=2`.

The loss, its gradient and AdamW on all parameters, without averaged weights; latents are
given, as no codec is compared. Beside ours, where torch and diffusers are installed, the same
step of the official network.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import measuring, networks
from vssflow_jax.training import optim, state, step

BATCH = flags.DEFINE_integer("batch", 1, "Clips a step.")


def settings(dtype: str):
    """The recipe without what one of both sides leaves out: dropped conditions, averages."""
    config = networks.config(dtype)
    config.dropout.all = 0.0
    config.optim.ema = 0.0
    return config


def ours(dtype: str) -> dict:
    """Our step, compiled whole, its state updated in place."""
    config = settings(dtype)
    model = networks.build(config)
    optimizer = optim.optimizer(config.optim, config.train.steps)
    params = networks.parameters(model)
    current = state.TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema=None,
        opt_state=jax.jit(optimizer.init)(params),
    )
    del params
    codec = networks.Latents(config.codec.channels)
    batch = jax.device_put(networks.batch(config, BATCH.value))
    run = jax.jit(step.make_step(model, config), donate_argnums=0)

    def once():
        nonlocal current
        current, metrics = run(current, codec, batch)
        jax.block_until_ready((current, metrics))

    seconds = measuring.clock(once)
    flops = BATCH.value * networks.training_flops(config)
    return {"seconds": seconds, "type": dtype, "flops": flops}


def theirs(half: bool) -> dict:
    """The official step in PyTorch."""
    import torch

    from benchmarks import official

    config = settings("float32")
    network = official.made(config)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.optim.learning_rate)
    batch = networks.batch(config, BATCH.value)
    features = official.tensors(batch["features"])
    x1 = torch.from_numpy(batch["wave"]).transpose(1, 2)

    def once():
        optimizer.zero_grad()
        x0, t = torch.randn_like(x1), torch.rand(len(x1))
        with official.precision(half):
            concat, context = network.condition(features)
            between = t[:, None, None]
            x = (1 - between) * x0 + between * x1
            velocity = network.velocity(x, t, concat, context)
            loss = torch.nn.functional.mse_loss(velocity.float(), x1 - x0)
        loss.backward()
        optimizer.step()

    return {"seconds": measuring.clock(once), "type": "bfloat16" if half else "float32"}


def rows() -> measuring.Rows:
    """What is measured."""
    out = {}
    for dtype in ("float32", "bfloat16"):
        product = functools.partial(networks.matrix_product, dtype, BATCH.value)
        out[f"{measuring.MATRIX} {dtype}"] = product
    out |= {f"ours {dtype}": functools.partial(ours, dtype) for dtype in ("float32", "bfloat16")}
    if measuring.has("torch", "diffusers"):
        out["torch float32"] = functools.partial(theirs, False)
        out["torch bfloat16 autocast"] = functools.partial(theirs, True)
    return out


if __name__ == "__main__":
    measuring.main(rows, reference="torch float32")
