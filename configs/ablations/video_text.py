r"""Routing ablation `video_text`: frames and phonemes are concatenated, sync and lips attended.

    python -m vssflow_jax.train --config=configs/ablations/video_text.py --workdir=DIR \
        --config.data.shards=SHARDS

459,757,696 parameters in the network, 470,249,856 in all.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The joint recipe on another route."""
    config = load_recipe("joint")
    config.model.route = "video_text"
    return config
