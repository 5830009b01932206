r"""Masked lips: the joint model, where half of the batches see neither lips nor sync.

    python -m vssflow_jax.train --config=configs/ablations/masked_lips.py --workdir=DIR \
        --config.data.shards=SHARDS

Other shares of masked frames: --config.dropout.frame_ratios="(0.0, 0.5, 1.0)", of which each
batch draws one.

453,073,024 parameters in the network, 463,565,184 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe with masked frames."""
    config = load_recipe("joint")
    config.dropout.frame_ratios = (0.0, 1.0)
    return config
