"""Speech from text and voice only: the paper's network, trained without video.

    python -m vssflow_jax.train --config=configs/tts.py --workdir=DIR --config.data.shards=SHARDS

453,073,024 parameters in the network, 463,565,184 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The recipe for speech, its video always dropped."""
    config = load_recipe("visualtts")
    config.dropout.video = 1.0
    return config
