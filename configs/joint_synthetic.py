r"""Continues the joint model on mixtures only: every clip is a speech and a sound clip in one.

    python -m vssflow_jax.train --config=configs/joint_synthetic.py --workdir=DIR \
        --config.data.shards=SHARDS --config.train.init_from=RUN

RUN is the folder of a run of configs/joint.py, whose weights and codec this run starts from.
SHARDS hold speech and sound clips; with --config.data.mix.ratio=0.5 half of the clips are
mixtures and recorded joint clips are used as well. As published, half of the batches see neither
lips nor sync.

453,073,024 parameters in the network, 463,565,184 in all.
"""

from vssflow_jax.config import load_recipe

CLIPS = 4 * 36  # a step; the learning rate is the paper's rule


def get_config():
    """The joint recipe on mixtures, for 6,000 steps."""
    config = load_recipe("joint")
    config.data.mix.ratio = 1.0
    config.data.batch_size = CLIPS
    config.dropout.frame_ratios = (0.0, 1.0)
    config.optim.learning_rate = CLIPS * 4e-7
    config.train.steps = 6000
    return config
