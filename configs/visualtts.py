r"""Speech for a silent talker alone: the paper's network on clips of the task "speech".

    python -m vssflow_jax.train --config=configs/visualtts.py --workdir=DIR \
        --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,565,184 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe on speech."""
    config = load_recipe("joint")
    config.data.tasks = ("speech",)
    return config
