"""Embeddings with published weights: VGGish, for Fréchet audio distance, CNN14 and PaSST.

They are made for any kind of sound. Their weights are looked up like those of the encoders
(docs/weights.md). All compute in float32 on every device, so that scores are comparable.

Legend: n samples, N patches, T frames, F features, C classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from vssflow_jax.common.waves import cut_or_pad, resample
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.encoders import cnn14, passt, vggish
from vssflow_jax.weights import published

BATCH_SIZE = {"vggish": 32, "cnn14": 8, "passt": 4}  # patches and clips


@dataclasses.dataclass(frozen=True)
class Vggish:
    """VGGish: 128 features for each 0.96 s of a clip, no classes."""

    config: vggish.VggishConfig
    params: Mapping
    hash: str
    name: str = "vggish"

    def __call__(
        self, waves: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE
    ) -> tuple[list[np.ndarray], None]:
        """Features, float32 [N, 128] a wave of float32 [n]; no logits."""
        waves = (resample(wave, sample_rate, SAMPLE_RATE) for wave in waves)
        patches = [vggish.log_mel_patches(wave) for wave in waves]
        if not patches:
            return [], None
        rows, size = np.concatenate(patches), BATCH_SIZE[self.name]
        run = _jitted(self.name, self.config)
        features = []
        for first in range(0, len(rows), size):
            chunk = rows[first : first + size]
            batch = np.pad(chunk, ((0, size - len(chunk)), (0, 0), (0, 0)))
            features.append(np.asarray(run(self.params, batch))[: len(chunk)])
        ends = np.cumsum([len(part) for part in patches])[:-1]
        return np.split(np.concatenate(features), ends), None


@dataclasses.dataclass(frozen=True)
class Cnn14:
    """CNN14: 2048 features and logits of 527 classes a clip."""

    config: cnn14.Cnn14Config
    params: Mapping
    hash: str
    name: str = "cnn14"

    def __call__(
        self, waves: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Features, float32 [F], and logits, float32 [C], of waves, float32 [n]."""
        rate, size = self.config.sample_rate, BATCH_SIZE[self.name]
        run, features, logits = _jitted(self.name, self.config), [], []
        for first in range(0, len(waves), size):
            chunk = [resample(wave, sample_rate, rate) for wave in waves[first : first + size]]
            spectra = [cnn14.power_spectra(wave, self.config) for wave in chunk]
            frames = np.full(size, cnn14.MIN_FRAMES, np.int32)
            frames[: len(spectra)] = [len(part) for part in spectra]
            # Whole seconds, so that few programs are compiled.
            length = -(-frames.max() // cnn14.FRAME_RATE) * cnn14.FRAME_RATE
            power = np.zeros((size, length, spectra[0].shape[1]), np.float32)
            for row, part in zip(power, spectra, strict=False):
                row[: len(part)] = part
            outputs = run(self.params, power, frames)
            features += list(np.asarray(outputs[0])[: len(spectra)])
            logits += list(np.asarray(outputs[1])[: len(spectra)])
        return features, logits


@dataclasses.dataclass(frozen=True)
class Passt:
    """PaSST: 768 features and logits of 527 classes a clip, of its first ten seconds."""

    config: passt.PasstConfig
    params: Mapping
    hash: str
    name: str = "passt"

    def __call__(
        self, waves: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Features, float32 [D], and logits, float32 [C], of waves, float32 [n].

        As av-benchmark does it: without the wave's mean, shorter waves followed by silence.
        """
        size, samples = BATCH_SIZE[self.name], passt.SECONDS * passt.SAMPLE_RATE
        run, features, logits = _jitted(self.name, self.config), [], []
        for first in range(0, len(waves), size):
            chunk = (wave - np.mean(wave) for wave in waves[first : first + size])
            chunk = (resample(wave, sample_rate, passt.SAMPLE_RATE) for wave in chunk)
            mels = np.stack([passt.log_mel(cut_or_pad(wave, samples)) for wave in chunk])
            outputs = run(self.params, cut_or_pad(mels, size))
            features += list(np.asarray(outputs[0])[: len(mels)])
            logits += list(np.asarray(outputs[1])[: len(mels)])
        return features, logits


NAMES = {"vggish": Vggish, "cnn14": Cnn14, "passt": Passt}


def load(name: str) -> Vggish | Cnn14 | Passt:
    """Loads an embedding of NAMES.

    Raises:
      InputError: there are no weights; it says which file belongs where.
    """
    weights = published.load_encoder(published.find_weights(name), name)
    return NAMES[name](weights.config, jax.device_put(weights.params), weights.hash)


@functools.lru_cache(maxsize=8)
def _jitted(name: str, config):
    """The compiled network: a function of its parameters and a batch."""
    model = published.KINDS[name].model(config)

    def run(params, *inputs):
        with jax.default_matmul_precision("highest"):
            return model.apply({"params": params}, *inputs)

    return jax.jit(run)
