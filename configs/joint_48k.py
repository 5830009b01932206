r"""`configs/joint_improved.py` on the latent of ACE-Step 1.5's codec: 48 kHz stereo, 64 channels.

    python -m vssflow_jax.convert --kind=oobleck --src=Ace-Step1.5/vae --out=weights/oobleck
    python -m vssflow_jax.prepare --config=configs/joint_48k.py --manifest=clips.csv --out=SHARDS
    python -m vssflow_jax.train --config=configs/joint_48k.py --workdir=DIR \
        --config.data.shards=SHARDS

452,384,896 parameters in the network, 463,150,593 in all. The latent has 25
frames a second, as the paper's.
"""

from vssflow_jax.config import load_recipe


def get_config():
    """The improved recipe with another codec, and the sound that it takes."""
    config = load_recipe("joint_improved")
    config.data.sample_rate = 48_000
    config.data.audio_channels = 2
    config.codec.name = "oobleck"
    config.codec.folder = "weights/oobleck"
    return config
