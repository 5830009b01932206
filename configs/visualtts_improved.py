r"""`configs/visualtts.py` with what the official code does weakly mended (`config.improved`).

    python -m vssflow_jax.train --config=configs/visualtts_improved.py --workdir=DIR \
        --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,838,721 in all.
"""

from vssflow_jax.config import improved, load_recipe


def get_config():
    """The recipe, mended."""
    return improved(load_recipe("visualtts"))
