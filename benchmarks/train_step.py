"""Times a training step: `python -m benchmarks.train_step --batch=2`.

The loss, its gradient and AdamW on all parameters, without averaged weights, on latents. If torch
and diffusers are installed, it also times the same step of the official network.
"""

from __future__ import annotations

import jax
from absl import flags

from benchmarks import measuring, networks
from vssflow_jax.training import sharding


def comparable_config(dtype: str):
    """The recipe without condition dropout and averages, which the official step has not."""
    config = networks.read_config(dtype)
    config.dropout.all = 0.0
    config.optim.ema_decay = 0.0
    return config


def measure_ours(dtype: str) -> dict:
    """Our step, compiled as one program that updates its state in place."""
    config = comparable_config(dtype)
    mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1), jax.devices()[:1])
    run_once, _ = networks.compile_train_step(config, mesh, flags.FLAGS.batch)
    seconds = measuring.time_calls(run_once)
    flops = flags.FLAGS.batch * networks.count_training_flops(config)
    return {"seconds": seconds, "type": dtype, "flops": flops}


def measure_official(half: bool) -> dict:
    """The official step in PyTorch."""
    import torch

    from benchmarks import official

    config = comparable_config("float32")
    network = official.build_official(config)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.optim.learning_rate)
    batch = networks.random_batch(config, flags.FLAGS.batch)
    features = official.to_tensors(batch["features"])
    x1 = torch.from_numpy(batch["wave"]).transpose(1, 2)

    def run_once():
        optimizer.zero_grad()
        x0, t = torch.randn_like(x1), torch.rand(len(x1))
        with official.autocast(half):
            concat, context = network.condition(features)
            time = t[:, None, None]
            x = (1 - time) * x0 + time * x1
            velocity = network.velocity(x, t, concat, context)
            loss = torch.nn.functional.mse_loss(velocity.float(), x1 - x0)
        loss.backward()
        optimizer.step()

    return {"seconds": measuring.time_calls(run_once), "type": "bfloat16" if half else "float32"}


def make_rows() -> measuring.Rows:
    """The rows of the table."""
    return networks.make_rows(measure_ours, measure_official, flags.FLAGS.batch)


def define_flags() -> None:
    """The flags of the command."""
    networks.define_flags()
    flags.DEFINE_integer("batch", 1, "Clips a step.")


if __name__ == "__main__":
    measuring.main(make_rows, define_flags, reference="torch float32")
