r"""A trained codec: learned from the sound of the shards, for `--config.codec.folder`.

    python -m vssflow_jax.train --config=configs/codec.py --workdir=runs/codec \
        --config.data.shards=SHARDS
    python -m vssflow_jax.train --config=configs/grid.py --workdir=runs/mine \
        --config.codec.folder=runs/codec/codec
"""

from vssflow_jax.config import default_config


def get_config():
    """The codec's run."""
    config = default_config()
    config.data.corpus = "miniav"
    config.data.duration = 4.0
    config.data.batch_size = 16

    config.codec.head = "istft"
    config.codec.channels = 64
    config.codec.width = 192
    config.codec.encoder_blocks = 3
    config.codec.decoder_blocks = 5
    config.codec.crop = 0.96

    config.optim.name = "muon"
    config.optim.learning_rate = 5e-3
    config.optim.warmup_steps = 20
    config.optim.schedule = "cosine"
    config.optim.b2 = 0.99
    config.optim.ema_decay = 0.98

    config.train.task = "codec"
    config.train.steps = 600
    config.train.log_every = 10
    config.train.checkpoint_every = 50
    config.train.validate_every = 200
    config.train.validate_clips = 64
    config.train.sample_every = 0
    return config
