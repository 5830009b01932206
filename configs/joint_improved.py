r"""`configs/joint.py` without the weaknesses of the official code (`config.improved`).

    python -m vssflow_jax.train --config=configs/joint_improved.py --workdir=DIR \
        --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,838,721 in all.
"""

from vssflow_jax.config import improved, load_recipe


def get_config():
    """The improved recipe."""
    return improved(load_recipe("joint"))
