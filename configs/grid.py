"""The quickstart's network on 51 words: GRID sentences in eSpeak's voices, and MiniAV's events.

    python -m vssflow_jax.train --config=configs/grid.py --workdir=runs/grid

Needs no further package of voices. Base of the recipes `quickstart`, `natural`, `miniav` and
`small`. Measured on 2026-11-26, two cores: 19 minutes in all, of which corpus and shards 2.5,
training 13.8, evaluation and report 2.7. Word errors 0.09 (codec floor 0.08), joint 0.13 (0.08),
from text alone 0.14; onset F1 0.98 (1.00), joint 0.80 (0.92); sound class 0.94.
"""

from vssflow_jax.config import default_config


def get_config():
    """A network of 5.5 million parameters on MiniAV with eSpeak's voices."""
    config = default_config()
    config.data.corpus = "miniav"
    config.data.duration = 4.0
    config.data.batch_size = 16

    config.model.layers = 5
    config.model.unroll = 5
    config.model.remat = "none"  # all fits in memory
    config.model.heads = 4
    config.model.kv_heads = 2
    config.model.mlp_ratio = 2
    config.model.time_features = 64
    config.model.cross_attention_rope = True
    config.model.learned_null_phonemes = True
    config.model.time_aligned_sync = True
    config.model.duration_width = 64
    config.model.projected_widths.update(clip=128, speaker=128, phonemes=64, lips=64, sync=128)
    config.flow.mask_padding = True

    config.dropout.granularity = "example"
    config.dropout.all = 0.05
    config.dropout.video = 0.1
    config.dropout.each = 0.05

    config.optim.name = "muon"
    config.optim.learning_rate = 5e-3
    config.optim.warmup_steps = 100
    config.optim.schedule = "cosine"
    config.optim.b2 = 0.99
    config.optim.ema_decay = 0.995

    config.train.steps = 1160
    config.train.log_every = 20
    config.train.checkpoint_every = 200
    config.train.sample_every = 0
    config.train.validate_every = 0
    config.train.evaluate = True
    config.sample.steps = 12
    config.sample.guidance = 1.5
    config.sample.scales.sync = 1.8
    return config
