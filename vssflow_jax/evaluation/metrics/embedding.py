"""What clips sound like, as vectors: the embedding under Fréchet distance, KL and inception score.

The embedded one is a small convolutional network over log-mels that tells MiniAV's sounds and
voices apart; its weights are in the package and were made by
`python -m benchmarks.fit_embedding --shards=DATA --out=FILE`.

Legend: B clips, T log-mel frames, D features, K names.
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
from vssflow_jax.evaluation.metrics import common

EMBEDDED = Path(__file__).with_name("miniav.safetensors")
KERNELS = 4  # convolutions, each halving time and frequency
SHRINK = 2**KERNELS
CENTRE, SCALE = -4.0, 2.0  # of log-mels, so that the network sees values near unit scale
CHUNK = 32  # clips at a time
PACE = 100  # log-mel frames: lengths are padded to whole seconds


class Embedding(Protocol):
    """What an embedding offers; `load` makes one by its name.

    Attributes:
      name: what the protocol calls it.
      hash: of its weights; scores of different hashes cannot be compared.
    """

    name: str
    hash: str

    def __call__(
        self, waves: Sequence[np.ndarray]
    ) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray] | None]:
        """Features and logits of waves, float32 [samples] each at 16 kHz.

        Features are float32 [D] a wave, or [parts, D] where it is heard in parts; logits are
        float32 [K] a wave, None where the embedding names nothing.
        """


def initial(key: jax.Array, widths: Sequence[int], features: int, names: int) -> dict:
    """Random parameters: `widths` channels after each convolution, D features, K names."""
    shapes, inputs = {}, 1
    for number, width in enumerate(widths):
        shapes[f"conv{number}/kernel"] = (3, 3, inputs, width)
        inputs = width
    shapes["features/kernel"] = (2 * inputs * common.BANDS // SHRINK, features)
    shapes["logits/kernel"] = (features, names)
    keys = jax.random.split(key, len(shapes))
    make = jax.nn.initializers.he_normal()
    kernels = {name: make(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}
    biases = {
        name.replace("kernel", "bias"): jnp.zeros(kernel.shape[-1])
        for name, kernel in kernels.items()
    }
    return kernels | biases


def network(params: Mapping, mel: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Features [B, D] and logits [B, K] of log-mels.

    Args:
      params: of `initial`.
      mel: float32 [B, T, 64], T a multiple of 16, padded with silence.
      frames: int [B], how many of the T belong to the clip.
    """
    x = ((mel - CENTRE) / SCALE)[..., None]  # B T 64 1
    for number in range(KERNELS):
        x = jax.lax.conv_general_dilated(
            x,
            params[f"conv{number}/kernel"],
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + params[f"conv{number}/bias"])
    x = x.reshape(*x.shape[:2], -1)  # B T/16 (4 channels)
    count = jnp.maximum(-(-frames // SHRINK), 1)[:, None, None]
    inside = jnp.arange(x.shape[1])[None, :, None] < count
    x = x * inside
    pooled = jnp.concatenate([x.sum(1) / count[:, 0], x.max(1)], -1)
    features = pooled @ params["features/kernel"] + params["features/bias"]
    logits = jax.nn.relu(features) @ params["logits/kernel"] + params["logits/bias"]
    return features, logits


_network = jax.jit(network)


def padded(mels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Log-mels [T, 64] of any lengths as one batch [B, T', 64], and their lengths [B]."""
    frames = np.array([len(mel) for mel in mels], np.int32)
    longest = -(-max(int(frames.max(initial=1)), 1) // PACE) * PACE
    longest += -longest % SHRINK
    batch = np.full((len(mels), longest, common.BANDS), np.log(common.FLOOR), np.float32)
    for row, mel in zip(batch, mels, strict=True):
        row[: len(mel)] = mel
    return batch, frames


@dataclasses.dataclass(frozen=True)
class LogMelEmbedding:
    """The embedded network with its parameters; see `Embedding`."""

    params: Mapping[str, np.ndarray]
    hash: str
    name: str = "miniav"

    def __call__(self, waves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Features [n, D] and logits [n, K] of waves at 16 kHz."""
        return self.of_mels(common.log_mels(waves))

    def of_mels(self, mels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The same of log-mels [T, 64]."""
        silence = np.full((1, common.BANDS), np.log(common.FLOOR), np.float32)
        features, logits = [], []
        for first in range(0, len(mels), CHUNK):
            some = list(mels[first : first + CHUNK])
            batch, frames = padded(some + [silence] * (CHUNK - len(some)))
            made = _network(self.params, batch, frames)
            features.append(np.asarray(made[0])[: len(some)])
            logits.append(np.asarray(made[1])[: len(some)])
        if not features:
            widths = (self.params[f"{part}/bias"].shape[0] for part in ("features", "logits"))
            return tuple(np.zeros((0, width), np.float32) for width in widths)
        return np.concatenate(features), np.concatenate(logits)


def load(path: str | Path = EMBEDDED) -> LogMelEmbedding:
    """The embedded embedding, or another file that `fit_embedding` wrote.

    Raises:
      InputError: no such file, or not one of these.
    """
    params = {name: np.asarray(array, np.float32) for name, array in read_arrays(path).items()}
    like = initial(jax.random.key(0), (1,) * KERNELS, 1, 1)
    if params.keys() != like.keys():
        raise InputError(f"{path}: found arrays {sorted(params)}, expected {sorted(like)}")
    sha = hashlib.sha256()
    for name in sorted(params):
        sha.update(name.encode() + np.ascontiguousarray(params[name]).tobytes())
    return LogMelEmbedding(params, sha.hexdigest()[:16])
