"""Networks of sizes that no fixture of the official code has: our outputs and PyTorch's.

    python tests/helpers/unseen_sizes.py

rewrites `golden/unseen.safetensors`: PyTorch's outputs for CASES, and torchvggish's log-mels of
`draw_wave` (both packages must be installed). Parameters and inputs are drawn from seeds, so the
file contains outputs only.
"""

import importlib.util
import json
from pathlib import Path

import jax
import numpy as np

from helpers import tiny_encoders
from helpers.paths import GOLDEN
from vssflow_jax.encoders import cnn14
from vssflow_jax.encoders.avhubert import AvhubertConfig
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.encoders.cnn14 import Cnn14Config
from vssflow_jax.encoders.rawnet3 import Rawnet3Config
from vssflow_jax.encoders.synchformer import SynchformerConfig
from vssflow_jax.encoders.vggish import VggishConfig
from vssflow_jax.weights import published

FILE = GOLDEN / "unseen"
CASES = {
    "clip_0": (ClipViTConfig(side=40, patch=8, width=48, layers=3, heads=4), (2, 40, 40, 3)),
    "sync_0": (
        SynchformerConfig(side=24, patch=8, frames=6, width=40, layers=3, heads=5),
        (2, 6, 24, 24, 3),
    ),
    "lips_0": (
        AvhubertConfig(
            widths=(6, 10, 10), blocks=(2, 1, 2), prelu=True, width=48, hidden=20, layers=3,
            heads=6, reach=5, groups=3,
        ),
        (2, 9, 88, 88),
    ),
    "lips_1": (
        AvhubertConfig(
            widths=(8, 12), blocks=(1, 3), prelu=False, width=32, hidden=64, layers=1, heads=2,
            reach=16, groups=8,
        ),
        (1, 4, 88, 88),
    ),
    "speaker_1": (
        Rawnet3Config(
            filters=32, taps=51, channels=60, slices=6, pooled=48, attention=16, width=32
        ),
        (1, 4801),
    ),
    "vggish_0": (VggishConfig(widths=(4, 8, 8, 12, 16, 16), hidden=40, width=20), (3, 96, 64)),
    "cnn14_0": (Cnn14Config(widths=(4, 6, 8, 12, 16, 20), features=24, classes=9), (2, 40_001)),
    "cnn14_1": (
        Cnn14Config(widths=(6, 4, 8, 8, 10, 12), features=16, classes=527, window=512),
        (3, 16_000),
    ),
}  # fmt: skip


def draw_case(name):
    """Parameters, official state dict and input of a case."""
    config, shape = CASES[name]
    kind, number = name.split("_")
    params = tiny_encoders.random_params(kind, config, seed=int(number))
    state = tiny_encoders.random_official(kind, config, seed=int(number))
    x = np.random.default_rng(7 + int(number)).standard_normal(shape).astype(np.float32)
    return params, state, x


def run_ours(name):
    """The output of our module; CNN14's features and logits concatenated."""
    config, kind = CASES[name][0], name.split("_")[0]
    params, _, x = draw_case(name)
    if kind == "cnn14":
        x = np.stack([cnn14.power_spectra(wave, config) for wave in x])
    output = jax.jit(published.KINDS[kind].model(config).apply)({"params": params}, x)
    return np.concatenate(output, axis=1) if isinstance(output, tuple) else np.asarray(output)


def run_torch(name):
    """PyTorch's output."""
    from helpers import torch_reference

    _, state, x = draw_case(name)
    return torch_reference.run_network(name.split("_")[0], state, CASES[name][0], x)


def draw_wave(seconds, seed=0, rate=16_000):
    """A wave that rises and falls, with quiet parts: float32 [seconds * rate]."""
    wave = np.random.default_rng(seed).standard_normal(round(seconds * rate)).cumsum()
    return (wave / np.abs(wave).max() * np.sin(np.arange(len(wave)) / rate)).astype(np.float32)


def torchvggish_mels(wave):
    """Log-mels of a wave by torchvggish, [T, 64]; None where it is not installed."""
    package = importlib.util.find_spec("torchvggish")
    if package is None:
        return None
    file = Path(package.origin).with_name("mel_features.py")  # the package itself imports resampy
    spec = importlib.util.spec_from_file_location("mel_features", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.log_mel_spectrogram(
        wave.astype(np.float64), 16_000, log_offset=0.01, num_mel_bins=64,
        lower_edge_hertz=125, upper_edge_hertz=7500,
    )  # fmt: skip


def main():
    import torch
    from safetensors.numpy import save_file

    outputs = {f"out.{name}": run_torch(name) for name in CASES}
    outputs["out.vggish_mels"] = torchvggish_mels(draw_wave(1.1))[:96].astype(np.float32)
    save_file(outputs, f"{FILE}.safetensors")
    sidecar = {
        "fixture": "unseen",
        "made by": "tests/helpers/unseen_sizes.py",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
    FILE.with_suffix(".json").write_text(json.dumps(sidecar, indent=1) + "\n")


if __name__ == "__main__":
    main()
