r"""The base of the comparisons in docs/results.md: the recipe `grid`, small and short.

    python -m vssflow_jax.train --config=configs/small.py --workdir=DIR \
        --config.data.shards=SHARDS
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The recipe `grid` at a fraction of its cost."""
    config = load_recipe("grid")
    config.model.layers = 3
    config.model.unroll = 1
    config.model.head_dim = 24
    config.model.projected_widths.update(clip=64, speaker=64, phonemes=64, lips=32, sync=64)
    config.data.batch_size = 8
    config.optim.ema_decay = 0.99
    config.optim.warmup_steps = 50
    config.train.steps = 300
    config.train.checkpoint_every = 300
    config.train.evaluate = False
    config.sample.steps = 8
    config.sample.scales.sync = None
    return config
