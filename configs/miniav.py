r"""The bundled model `miniav`: the recipe `grid`, longer on more clips.

    python -m vssflow_jax.train --config=configs/miniav.py --workdir=runs/miniav

The weights in vssflow_jax/bundled/miniav are of 2026-11-21, two cores with AVX2, of three runs.
The first 2,800 steps had neither a network of durations nor today's guidance, and 1,600 of them
ran with `--config.train.steps=4800`, so that the learning rate there fell from 5.0e-3 to 3.8e-3
only, not to 2.1e-3. Then, each from the averaged weights of the one before,

    python -m vssflow_jax.train --config=configs/miniav.py --workdir=runs/second \
        --config.train.init_from=runs/first --config.train.steps=1400 \
        --config.optim.learning_rate=2.5e-3 --config.optim.warmup_steps=50
    python -m vssflow_jax.train --config=configs/miniav.py --workdir=runs/miniav \
        --config.train.init_from=runs/second --config.train.steps=2400 \
        --config.optim.learning_rate=2.5e-3 --config.optim.warmup_steps=50 \
        --config.data.mix.ratio=0.25

The guidance was chosen on training clips. Scores stand on the model's card.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The recipe `grid`, longer and on more clips."""
    config = load_recipe("grid")
    config.data.corpus_clips = 6000
    config.optim.ema_decay = 0.998
    config.train.steps = 2800
    config.train.checkpoint_every = 400
    config.sample.guidance = 1.8
    config.sample.scales.update(clip=2.2, sync=2.2)
    return config
