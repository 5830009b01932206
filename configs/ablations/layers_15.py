r"""Size ablation: the joint model with 15 layers instead of 10.

    python -m vssflow_jax.train --config=configs/ablations/layers_15.py --workdir=DIR \
        --config.data.shards=SHARDS

671,423,104 parameters in the network, 681,915,264 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe with 15 layers."""
    config = load_recipe("joint")
    config.model.layers = 15
    return config
