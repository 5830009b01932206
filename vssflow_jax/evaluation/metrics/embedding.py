"""The audio embedding for Fréchet distance, KL and inception score.

The built-in one is a small convolutional network over log-mels that classifies MiniAV's sounds
and voices. Its weights are in the package; they were trained by
`python -m benchmarks.fit_embedding --shards=DATA --out=FILE`.

Legend: B clips, T log-mel frames, D features, K classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import read_arrays
from vssflow_jax.common.waves import resample
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.evaluation.metrics import common

BUILT_IN = Path(__file__).with_name("miniav.safetensors")
CONVOLUTIONS = 4  # each halves time and frequency
STRIDE = 2**CONVOLUTIONS
MEAN, SCALE = -4.0, 2.0  # normalization of log-mels
BATCH_SIZE = 32
LENGTH_MULTIPLE = 100  # log-mel frames: lengths are padded to whole seconds


class Embedding(Protocol):
    """An audio embedding.

    Attributes:
      name: for the protocol.
      hash: of its weights; compare scores of equal hashes only.
    """

    name: str
    hash: str

    def __call__(
        self, waves: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE
    ) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray] | None]:
        """Features and logits of waves, float32 [samples] each.

        Features are float32 [D] a wave, or [patches, D]; logits are float32 [K] a wave, None for
        an embedding without classes.
        """


def init_params(key: jax.Array, widths: Sequence[int], features: int, classes: int) -> dict:
    """Random parameters: `widths` channels after each convolution, D features, K classes."""
    shapes, inputs = {}, 1
    for number, width in enumerate(widths):
        shapes[f"conv{number}/kernel"] = (3, 3, inputs, width)
        inputs = width
    shapes["features/kernel"] = (2 * inputs * common.BANDS // STRIDE, features)
    shapes["logits/kernel"] = (features, classes)
    keys = jax.random.split(key, len(shapes))
    he_normal = jax.nn.initializers.he_normal()
    kernels = {
        name: he_normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    biases = {
        name.replace("kernel", "bias"): jnp.zeros(kernel.shape[-1])
        for name, kernel in kernels.items()
    }
    return kernels | biases


def network(params: Mapping, mel: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features [B, D] and logits [B, K] of log-mels.

    Args:
      params: as `init_params` returns them.
      mel: float32 [B, T, 64], T a multiple of 16, padded with silence.
      frames: int [B], frames of each clip without padding.
    """
    x = ((mel - MEAN) / SCALE)[..., None]  # B T 64 1
    for number in range(CONVOLUTIONS):
        x = jax.lax.conv_general_dilated(
            x,
            params[f"conv{number}/kernel"],
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + params[f"conv{number}/bias"])
    x = x.reshape(*x.shape[:2], -1)  # B T/16 (4 channels)
    count = jnp.maximum(-(-frames // STRIDE), 1)[:, None, None]
    x = x * (jnp.arange(x.shape[1])[None, :, None] < count)
    pooled = jnp.concatenate([x.sum(1) / count[:, 0], x.max(1)], -1)
    features = pooled @ params["features/kernel"] + params["features/bias"]
    logits = jax.nn.relu(features) @ params["logits/kernel"] + params["logits/bias"]
    return features, logits


_network = jax.jit(network)


def pad_mels(mels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Log-mels [T, 64] of any lengths as one batch [B, T', 64], and their lengths [B]."""
    frames = np.array([len(mel) for mel in mels], np.int32)
    longest = -(-max(int(frames.max(initial=1)), 1) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    longest += -longest % STRIDE
    batch = np.full((len(mels), longest, common.BANDS), np.log(common.FLOOR), np.float32)
    for row, mel in zip(batch, mels, strict=True):
        row[: len(mel)] = mel
    return batch, frames


@dataclasses.dataclass(frozen=True)
class LogMelEmbedding:
    """The built-in network with its parameters; see `Embedding`."""

    params: Mapping[str, np.ndarray]
    hash: str
    name: str = "miniav"

    def __call__(
        self, waves: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features [n, D] and logits [n, K] of waves."""
        waves = [resample(wave, sample_rate, SAMPLE_RATE) for wave in waves]
        return self.embed_mels(common.log_mels(waves))

    def embed_mels(self, mels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Features [n, D] and logits [n, K] of log-mels [T, 64]."""
        silence = np.full((1, common.BANDS), np.log(common.FLOOR), np.float32)
        features, logits = [], []
        for first in range(0, len(mels), BATCH_SIZE):
            chunk = list(mels[first : first + BATCH_SIZE])
            batch, frames = pad_mels(chunk + [silence] * (BATCH_SIZE - len(chunk)))
            outputs = _network(self.params, batch, frames)
            features.append(np.asarray(outputs[0])[: len(chunk)])
            logits.append(np.asarray(outputs[1])[: len(chunk)])
        if not features:
            widths = (self.params[f"{part}/bias"].shape[0] for part in ("features", "logits"))
            return tuple(np.zeros((0, width), np.float32) for width in widths)
        return np.concatenate(features), np.concatenate(logits)


def load(path: str | Path = BUILT_IN) -> LogMelEmbedding:
    """Loads the built-in embedding, or another file that `fit_embedding` wrote.

    Raises:
      InputError: no such file, or other arrays in it.
    """
    params = {name: np.asarray(array, np.float32) for name, array in read_arrays(path).items()}
    expected = init_params(jax.random.key(0), (1,) * CONVOLUTIONS, 1, 1)
    if params.keys() != expected.keys():
        raise InputError(f"{path}: found arrays {sorted(params)}, expected {sorted(expected)}")
    sha = hashlib.sha256()
    for name in sorted(params):
        sha.update(name.encode() + np.ascontiguousarray(params[name]).tobytes())
    return LogMelEmbedding(params, sha.hexdigest()[:16])
