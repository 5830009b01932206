r"""`configs/joint_synthetic.py` with what the official code does weakly mended (`base.mend`).

    python -m vssflow_jax.train --config=configs/joint_synthetic_plus.py --workdir=DIR \
        --config.data.shards=SHARDS --config.train.start=RUN

453,073,024 parameters in the network, 463,838,721 in all.
"""

from vssflow_jax.configs import base, joint_synthetic


def get_config():
    """The recipe, mended."""
    return base.mend(joint_synthetic.get_config())
