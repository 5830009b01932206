r"""Size ablation: the joint model with 5 layers instead of 10.

    python -m vssflow_jax.train --config=configs/ablations/layers_5.py --workdir=DIR \
        --config.data.shards=SHARDS

234,722,944 parameters in the network, 245,215,104 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe with 5 layers."""
    config = load_recipe("joint")
    config.model.layers = 5
    return config
