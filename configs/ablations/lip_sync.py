r"""Routing ablation `lip_sync`: lips and sync are concatenated, frames and phonemes attended.

    python -m vssflow_jax.train --config=configs/ablations/lip_sync.py --workdir=DIR \
        --config.data.shards=SHARDS

453,218,432 parameters in the network, 463,710,592 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe on another route."""
    config = load_recipe("joint")
    config.model.route = "lip_sync"
    return config
