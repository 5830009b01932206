"""The paper's joint model: 10 layers, 24 heads of 64, speech, sound and both.

    python -m vssflow_jax.train --config=configs/joint.py --workdir=DIR --config.data.shards=SHARDS

453,073,024 parameters in the network (128 of them fixed frequencies), 463,565,184 with
projections and phoneme table. Clips of 10 s. The codec is fitted on the shards. Training is that
of the official code, which neither clips gradients nor averages weights.
"""

from vssflow_jax.config import default_config


def get_config():
    """The base config, as published."""
    config = default_config()
    config.optim.max_grad_norm = None
    config.optim.ema_decay = 0.0
    return config
