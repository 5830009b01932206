"""Small encoders of the published kinds with random weights, and their official state dicts."""

import jax
import numpy as np
from safetensors.numpy import save_file

from vssflow_jax.encoders.avhubert import AvhubertConfig
from vssflow_jax.encoders.clap import ClapConfig
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.encoders.cnn14 import Cnn14Config
from vssflow_jax.encoders.desync import DesyncConfig
from vssflow_jax.encoders.dvector import DvectorConfig
from vssflow_jax.encoders.passt import PasstConfig
from vssflow_jax.encoders.rawnet3 import Rawnet3Config
from vssflow_jax.encoders.synchformer import SynchformerConfig
from vssflow_jax.encoders.syncnet import SyncnetConfig
from vssflow_jax.encoders.vggish import VggishConfig
from vssflow_jax.weights import encoder_names, published
from vssflow_jax.weights.mapping import export_params

SMALL = {
    "clip": ClipViTConfig(side=16, patch=8, width=64, layers=2, heads=1),
    "sync": SynchformerConfig(side=16, patch=8, frames=16, width=64, layers=2, heads=1),
    "lips": AvhubertConfig(
        widths=(4, 8), blocks=(1, 2), width=64, hidden=32, layers=2, heads=1, reach=8, groups=4
    ),
    "speaker": Rawnet3Config(
        filters=16, taps=21, channels=32, slices=4, pooled=24, attention=8, width=12
    ),
    "dvector": DvectorConfig(bands=8, hidden=6, layers=2, width=5),
    "vggish": VggishConfig(widths=(2, 3, 4, 4, 5, 5), hidden=8, width=6),
    "cnn14": Cnn14Config(widths=(2, 3, 4, 5, 6, 7), features=8, classes=5, bands=64, window=64),
    "desync": DesyncConfig(
        side=16,
        patch=8,
        frames=16,
        width=64,
        layers=1,
        heads=1,
        audio_layers=2,
        audio_heads=1,
        head_layers=3,
        head_heads=1,
        segments=2,
    ),
    "passt": PasstConfig(width=64, layers=1, heads=1, classes=5),
    "clap": ClapConfig(
        bands=8,
        window=2,
        width=4,
        depths=(1, 2),
        heads=(1, 2),
        vocabulary=9,
        positions=7,
        text_width=64,
        text_layers=2,
        text_heads=1,
        text_hidden=6,
        projection=5,
    ),
    "syncnet": SyncnetConfig(
        lip_widths=(2, 3, 4, 3, 2, 5), sound_widths=(2, 3, 4, 3, 2, 5), width=6
    ),
}

POSITIVE = ("scale", "variance", "window", "low", "band", "gain", "filters")  # arrays near 1


def random_params(kind, config=None, seed=0):
    """Random parameters of a small encoder."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = 0.2 * rng.standard_normal(leaf.shape).astype(np.float32)
        if path[-1].key == "time":
            return -np.linspace(0.05, 0.001, *leaf.shape).astype(np.float32)
        return np.abs(1 + noise) if path[-1].key in POSITIVE else noise

    shapes = published.parameter_shapes(kind, config or SMALL[kind])
    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_official(kind, config=None, seed=0, **naming):
    """The official state dict of `parameters`."""
    config = config or SMALL[kind]
    entries = published.KINDS[kind].entries(config, **naming)
    layers = getattr(config, "layers", 1)
    state = encoder_names.join_qkv(
        export_params(entries, layers, random_params(kind, config, seed))
    )
    return {name: np.ascontiguousarray(array) for name, array in state.items()}


def convert_random(kind, folder, seed=0, config=None):
    """Converts a small encoder into `folder / kind`."""
    file = folder / f"{kind}.safetensors"
    save_file(random_official(kind, config, seed), file)
    published.convert(kind, file, folder / kind, unverified=True)
    return folder / kind
