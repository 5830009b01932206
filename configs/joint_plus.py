r"""`configs/joint.py` with what the official code does weakly mended (`base.mend`).

    python -m vssflow_jax.train --config=configs/joint_plus.py --workdir=DIR \
        --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,838,721 in all.
"""

from vssflow_jax.configs import base, joint


def get_config():
    """The recipe, mended."""
    return base.mend(joint.get_config())
