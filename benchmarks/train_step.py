"""Times a training step: `python -m benchmarks.train_step --batch=2`.

The loss, its gradient and AdamW on all parameters, without averaged weights; latents are
given, as no codec is compared. Beside ours, where torch and diffusers are installed, the same
step of the official network.
"""

from __future__ import annotations

import jax
from absl import flags

from benchmarks import measuring, networks
from vssflow_jax.training import sharding

BATCH = flags.DEFINE_integer("batch", 1, "Clips a step.")


def settings(dtype: str):
    """The recipe without what one of both sides leaves out: dropped conditions, averages."""
    config = networks.config(dtype)
    config.dropout.all = 0.0
    config.optim.ema_decay = 0.0
    return config


def ours(dtype: str) -> dict:
    """Our step, compiled whole, its state updated in place."""
    config = settings(dtype)
    mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1), jax.devices()[:1])
    once, _ = networks.training(config, mesh, BATCH.value)
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
    return networks.beside(ours, theirs, BATCH.value)


if __name__ == "__main__":
    measuring.main(rows, reference="torch float32")
