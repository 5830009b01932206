r"""`configs/v2s.py` with what the official code does weakly mended (`base.mend`).

    python -m vssflow_jax.train --config=configs/v2s_plus.py --workdir=DIR \
        --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,838,721 in all.
"""

from vssflow_jax.configs import base, v2s


def get_config():
    """The recipe, mended."""
    return base.mend(v2s.get_config())
