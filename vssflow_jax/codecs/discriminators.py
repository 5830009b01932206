"""Networks that tell decoded waves from recorded ones, by their log spectra in several resolutions.

Only the training of a codec uses them: their verdict is a loss that rewards detail where the
average over all likely details, which distances of spectra reward, sounds dull (MelGAN, Kumar et
al. 2019; in several resolutions of the spectrum, UnivNet, Jang et al. 2021).

Legend: B clips, m samples, T frames, F bins, C channels.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from vssflow_jax.codecs.spectrum import stft

RESOLUTIONS = (256, 512, 1024)  # samples of the windows
MIN_MAGNITUDE = 1e-2  # of a bin of the longest window
SLOPE = 0.1  # of the leaky rectifiers
# Channels, kernel and stride of each convolution over time and bins.
CONVOLUTIONS = (
    (16, (3, 8), (1, 4)),
    (32, (3, 8), (1, 4)),
    (64, (3, 4), (1, 2)),
    (1, (3, 3), (1, 1)),
)


class SpectrumDiscriminator(nn.Module):
    """Convolutions over a log spectrum; the last gives a score a place, high for recorded."""

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:  # [B, T, F] -> outputs of each layer
        x, outputs = x[..., None], []
        for i, (channels, kernel, stride) in enumerate(CONVOLUTIONS):
            x = nn.Conv(channels, kernel, stride, name=f"conv_{i}")(x)
            if i + 1 < len(CONVOLUTIONS):
                x = nn.leaky_relu(x, SLOPE)
            outputs.append(x)
        return outputs


class Discriminators(nn.Module):
    """A discriminator for each resolution: waves [B, m] -> the outputs of all their layers."""

    @nn.compact
    def __call__(self, wave: jax.Array) -> list[list[jax.Array]]:
        outputs = []
        for window in RESOLUTIONS:
            spectrum = stft(wave, window, window // 4)
            power = spectrum.real**2 + spectrum.imag**2
            least = MIN_MAGNITUDE**2 * window / max(RESOLUTIONS)
            log_magnitude = 0.5 * jnp.log(power + least)
            outputs.append(SpectrumDiscriminator(name=f"window_{window}")(log_magnitude))
        return outputs


def discriminator_loss(real: list, decoded: list) -> jax.Array:
    """Hinge loss of the scores of recorded and decoded waves, averaged over resolutions."""
    losses = [
        jnp.mean(nn.relu(1 - true[-1])) + jnp.mean(nn.relu(1 + false[-1]))
        for true, false in zip(real, decoded, strict=True)
    ]
    return sum(losses) / len(losses)


def adversarial_loss(real: list, decoded: list, feature_weight: float) -> jax.Array:
    """The decoder's loss: minus the scores, and `feature_weight` times the distance of features.

    Features are the outputs of all layers but the last; their L1 distance counts over the mean of
    the recorded ones.
    """
    total = 0.0
    for true, false in zip(real, decoded, strict=True):
        distances = [
            jnp.mean(jnp.abs(t - f)) / (jnp.mean(jnp.abs(t)) + 1e-6)
            for t, f in zip(true[:-1], false[:-1], strict=True)
        ]
        total += feature_weight * sum(distances) / len(distances) - jnp.mean(false[-1])
    return total / len(real)
