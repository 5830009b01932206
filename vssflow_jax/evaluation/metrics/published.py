"""Embeddings with published weights: VGGish, for Fréchet audio distance, and PANNs' CNN14.

They hear any sound, not MiniAV's alone. Their weights are found as those of the encoders are
(docs/weights.md). Both compute in float32 on every device, so that scores can be compared.

Legend: n samples, N patches, T frames, F features, C classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from scipy.signal import resample_poly

from vssflow_jax.encoders import cnn14, vggish
from vssflow_jax.weights import published

SAMPLE_RATE = 16_000  # of the waves that metrics hear
CHUNK = {"vggish": 32, "cnn14": 8}  # patches and clips at a time


@dataclasses.dataclass(frozen=True)
class Vggish:
    """Features alone: 128 for each 0.96 s of a clip."""

    config: vggish.VggishConfig
    params: Mapping
    hash: str
    name: str = "vggish"

    def __call__(self, waves: Sequence[np.ndarray]) -> tuple[list[np.ndarray], None]:
        """Features, float32 [N, 128] a wave of float32 [n] at 16 kHz; there are no classes."""
        parts = [vggish.patches(wave) for wave in waves]
        if not parts:
            return [], None
        every, size = np.concatenate(parts), CHUNK[self.name]
        run = _jitted(self.name, self.config)
        out = []
        for first in range(0, len(every), size):
            some = every[first : first + size]
            filled = np.pad(some, ((0, size - len(some)), (0, 0), (0, 0)))
            out.append(np.asarray(run(self.params, filled))[: len(some)])
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return np.split(np.concatenate(out), ends), None


@dataclasses.dataclass(frozen=True)
class Cnn14:
    """2048 features and logits of 527 classes a clip."""

    config: cnn14.Cnn14Config
    params: Mapping
    hash: str
    name: str = "cnn14"

    def __call__(self, waves: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Features, float32 [F], and logits, float32 [C], of waves, float32 [n] at 16 kHz."""
        rate, size = self.config.sample_rate, CHUNK[self.name]
        run, features, logits = _jitted(self.name, self.config), [], []
        for first in range(0, len(waves), size):
            heard = [_resampled(wave, rate) for wave in waves[first : first + size]]
            parts = [cnn14.spectra(wave, self.config) for wave in heard]
            frames = np.full(size, cnn14.SHORTEST, np.int32)
            frames[: len(parts)] = [len(part) for part in parts]
            # Whole seconds, so that few programs are compiled.
            length = -(-frames.max() // cnn14.FRAME_RATE) * cnn14.FRAME_RATE
            power = np.zeros((size, length, parts[0].shape[1]), np.float32)
            for row, part in zip(power, parts, strict=False):
                row[: len(part)] = part
            made = run(self.params, power, frames)
            features += list(np.asarray(made[0])[: len(parts)])
            logits += list(np.asarray(made[1])[: len(parts)])
        return features, logits


NAMES = {"vggish": Vggish, "cnn14": Cnn14}


def load(name: str) -> Vggish | Cnn14:
    """An embedding of NAMES.

    Raises:
      InputError: its weights are nowhere; says what to put where.
    """
    found = published.load(published.find(name), name)
    return NAMES[name](found.config, jax.device_put(found.params), found.hash)


@functools.lru_cache(maxsize=8)
def _jitted(name: str, config):
    """The network as a function of its parameters and a batch, compiled."""
    model = published.KINDS[name].model(config)

    def run(params, *inputs):
        with jax.default_matmul_precision("highest"):
            return model.apply({"params": params}, *inputs)

    return jax.jit(run)


def _resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    """16 kHz to another rate by scipy's polyphase filter; as it is where they are the same."""
    wave = np.asarray(wave, np.float32)
    return wave if rate == SAMPLE_RATE else resample_poly(wave, rate, SAMPLE_RATE)
