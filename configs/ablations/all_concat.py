r"""Routing ablation `all_concat`: all conditions are concatenated, the voice joins the time token.

    python -m vssflow_jax.train --config=configs/ablations/all_concat.py --workdir=DIR \
        --config.data.shards=SHARDS

477,943,936 parameters in the network, 488,436,096 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe on another route."""
    config = load_recipe("joint")
    config.model.route = "all_concat"
    return config
