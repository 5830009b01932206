r"""Routing ablation `none`: nothing is concatenated, all conditions are attended.

    python -m vssflow_jax.train --config=configs/ablations/none.py --workdir=DIR \
        --config.data.shards=SHARDS

467,898,496 parameters in the network, 478,390,656 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe on another route."""
    config = load_recipe("joint")
    config.model.route = "none"
    return config
