"""The codec task: an autoencoder of spectra and its loss.

Training computes no waveform: frames overlap so much that magnitudes alone determine it, so the
loss compares spectra and needs no inverse transform.

Legend: B examples, n samples, m samples of a crop, T frames, C latent channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs import trained
from vssflow_jax.codecs.pca import STACK, PcaCodec
from vssflow_jax.common.errors import InputError
from vssflow_jax.training import sharding, state, step

FRAME = STACK * mels.HOP  # samples of a latent frame
MIN_MAGNITUDE = 5e-3  # magnitude of a bin under which all is silence to the loss
FLOW_ONLY = {"grad_accumulation": 1, "init_from": "", "sample_every": 0, "evaluate_every": 0}


def check_config(config) -> None:
    """Raises an InputError if the config asks for something that only the flow task has."""
    for name, expected in FLOW_ONLY.items():
        if config.train[name] != expected:
            raise InputError(
                f"train.{name}: found {config.train[name]!r}, expected {expected!r} where "
                "train.task is 'codec'"
            )
    if config.train.evaluate:
        raise InputError("train.evaluate: found True, expected False where train.task is 'codec'")
    if config.codec.crop > config.data.duration:
        raise InputError(
            f"codec.crop: found {config.codec.crop} s, expected at most data.duration, "
            f"{config.data.duration} s"
        )


def random_crops(wave: jax.Array, frames: jax.Array, length: int, key: jax.Array) -> jax.Array:
    """A random part of each waveform: [B, n] -> [B, m].

    Args:
      wave: padded waveforms.
      frames: [B] latent frames of each that are its own.
      length: m, at most n.
      key: of the places.
    """
    last = jnp.clip(frames * FRAME - length, 0, wave.shape[1] - length)
    starts = jax.random.randint(key, last.shape, 0, last + 1)
    return jax.vmap(lambda row, at: jax.lax.dynamic_slice(row, (at,), (length,)))(wave, starts)


def kl_divergence(mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Mean over all numbers of KL(N(mean, deviation^2) || N(0, 1)), in nats."""
    return jnp.mean(0.5 * (mean**2 + deviation**2 - 1) - jnp.log(deviation))


def codec_loss(codec: trained.TrainedCodec, wave: jax.Array, noise: jax.Array, weight: float):
    """Distance between the log spectra of waves [B, m] and of their reconstructions.

    L1 over bins, L1 over mel bands, and `weight` times the divergence of the latent, which is
    drawn from its posterior with `noise` [B, L, C].
    """
    target = jnp.maximum(jnp.abs(mels.stft(wave)), MIN_MAGNITUDE)
    mean, deviation = codec.encode(wave)
    decoded = jnp.maximum(codec.log_magnitude(mean + deviation * noise), jnp.log(MIN_MAGNITUDE))
    bins = jnp.mean(jnp.abs(decoded - jnp.log(target)))
    decoded_mel, target_mel = (
        mels.magnitude_to_log_mel(magnitude, codec.floor)
        for magnitude in (jnp.exp(decoded), target)
    )
    mel_bands = jnp.mean(jnp.abs(decoded_mel - target_mel))
    return bins + mel_bands + weight * kl_divergence(mean, deviation)


def codec_task(config, spec, codec: PcaCodec, mesh) -> step.Task:
    """The task of a run that trains a codec.

    Args:
      config: the run's.
      spec: shapes of a batch.
      codec: that it starts from.
      mesh: the devices.

    Raises:
      InputError: the codec is not a fitted one.
    """
    if not isinstance(codec, PcaCodec):
        raise InputError(f"codec.folder: found a codec {codec.kind!r}, expected a fitted one")
    length = max(round(config.codec.crop * codec.rate), 1) * FRAME

    def loss(params, codec, batch, key):
        place, draw = jax.random.split(key)
        batch = sharding.constrain({name: batch[name] for name in ("wave", "frames")}, mesh)
        wave = random_crops(batch["wave"], batch["frames"], length, place)
        noise = jax.random.normal(draw, (len(wave), length // FRAME, codec.channels))
        trained_codec = trained.init_from_pca(codec, config.codec, params)
        return codec_loss(trained_codec, wave, noise, config.codec.kl_weight)

    def validation_loss(params, codec, batch, number):
        key = jax.random.fold_in(jax.random.key(config.seed), step.VALIDATION_STREAM)
        return loss(params, codec, batch, jax.random.fold_in(key, number))

    def init():
        key = jax.random.fold_in(jax.random.key(config.seed), step.INIT_STREAM)
        return state.init_state(trained.init_from_pca(codec, config.codec).init(key), config)

    places = sharding.make_shardings(jax.eval_shape(init), mesh)
    return step.Task(
        init_state=jax.jit(init, out_shardings=places),
        train_step=step.make_train_step(jax.value_and_grad(loss), config),
        validation_loss=validation_loss,
    )
