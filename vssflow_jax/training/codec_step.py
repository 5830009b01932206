"""The codec task: an autoencoder of spectra or of waves, by its head, and its loss.

With the head "griffin_lim" training computes no waveform: frames overlap so much that magnitudes
alone determine it, so the loss compares spectra and needs no inverse transform. With the head
"istft" the loss compares spectra of the decoded waveform in several resolutions.

Legend: B examples, n samples, m samples of a crop, T frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs import pitch as pitches
from vssflow_jax.codecs.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
)
from vssflow_jax.codecs.istft import IstftCodec, synthesize
from vssflow_jax.codecs.pca import STACK, PcaCodec
from vssflow_jax.codecs.spectrum import stft
from vssflow_jax.codecs.trained import TrainedCodec
from vssflow_jax.common.errors import InputError
from vssflow_jax.training import optim, sharding, state, step

FRAME = STACK * mels.HOP  # samples of a latent frame
MIN_MAGNITUDE = 5e-3  # magnitude of a bin under which all is silence to the loss
RESOLUTIONS = (256, 512, 1024)  # windows in which waveforms are compared
FEATURE_WEIGHT = 2.0  # of the distance of the discriminators' features over that of their scores
DISCRIMINATORS = optim.DISCRIMINATORS
PITCH_WEIGHT = 0.1  # of the cross-entropy of the pitch
FLOW_ONLY = {"grad_accumulation": 1, "init_from": "", "sample_every": 0, "evaluate_every": 0}


def check_config(config) -> None:
    """Raises an InputError if the config asks for something that only the flow task has."""
    for name, expected in FLOW_ONLY.items():
        if config.train[name] != expected:
            raise InputError(
                f"train.{name}: found {config.train[name]!r}, expected {expected!r} where "
                "train.task is 'codec'"
            )
    if config.data.latents:
        raise InputError("data.latents: found True, expected False where train.task is 'codec'")
    if config.train.evaluate:
        raise InputError("train.evaluate: found True, expected False where train.task is 'codec'")


def check_codec(config) -> None:
    """Raises an InputError if no codec can be trained with the config's `codec`."""
    if config.codec.adversarial_weight and config.codec.head != "istft":
        raise InputError(
            f"codec.adversarial_weight: found {config.codec.adversarial_weight}, expected 0 where "
            f"codec.head is {config.codec.head!r}"
        )
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


def sample_latent(codec, wave: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A latent from the posterior of waves [B, m], and its divergence: [B, L, C], []."""
    mean, deviation = codec.encode(wave)
    noise = jax.random.normal(key, mean.shape)
    return mean + deviation * noise, kl_divergence(mean, deviation)


def magnitude_loss(codec: TrainedCodec, wave: jax.Array, key: jax.Array, kl_weight: float):
    """Distance between the log spectra of waves [B, m] and of their reconstructions.

    L1 over bins, L1 over mel bands, and `kl_weight` times the divergence of the latent.
    """
    target = jnp.maximum(jnp.abs(mels.stft(wave)), MIN_MAGNITUDE)
    latent, divergence = sample_latent(codec, wave, key)
    decoded = jnp.maximum(codec.log_magnitude(latent), jnp.log(MIN_MAGNITUDE))
    bins = jnp.mean(jnp.abs(decoded - jnp.log(target)))
    decoded_mel, target_mel = (
        mels.magnitude_to_log_mel(magnitude, codec.floor)
        for magnitude in (jnp.exp(decoded), target)
    )
    mel_bands = jnp.mean(jnp.abs(decoded_mel - target_mel))
    return bins + mel_bands + kl_weight * divergence


def spectral_distance(wave: jax.Array, target: jax.Array, floor: float) -> jax.Array:
    """Distance between two waves [B, m] by their spectra in several resolutions.

    The mean over resolutions of the L1 distance of log magnitudes and of that of magnitudes over
    the target's mean, and the L1 distance of log-mel bands.
    """
    total = 0.0
    for window in RESOLUTIONS:
        ours, theirs = (magnitude(stft(x, window, window // 4)) for x in (wave, target))
        least = MIN_MAGNITUDE * (window / mels.WINDOW) ** 0.5
        logs = jnp.mean(jnp.abs(jnp.log(jnp.maximum(ours, least) / jnp.maximum(theirs, least))))
        linear = jnp.sum(jnp.abs(ours - theirs)) / (jnp.sum(theirs) + least)
        total += (logs + linear) / len(RESOLUTIONS)
    ours, theirs = (
        mels.magnitude_to_log_mel(magnitude(stft(x, mels.WINDOW, mels.HOP)), floor)
        for x in (wave, target)
    )
    return total + jnp.mean(jnp.abs(ours - theirs))


def magnitude(spectrum: jax.Array) -> jax.Array:
    """Absolute values with a finite gradient at 0."""
    return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-12)


def reconstruct_waves(
    codec: IstftCodec, wave: jax.Array, key: jax.Array, kl_weight: float
) -> tuple[jax.Array, jax.Array]:
    """Waves [B, m] through a codec, and the loss that is no distance between waves.

    That is the cross-entropy of the pitch where a frame has one, and `kl_weight` times the
    divergence of the latent. Pulses follow the measured pitch where there is one.
    """
    latent_key, noise_key = jax.random.split(key)
    latent, divergence = sample_latent(codec, wave, latent_key)
    logits, pulse_filter, noise_gain = codec.filters(latent)
    pitch, voiced = pitches.measure_pitch(wave)
    entropy = -jnp.sum(pitches.pitch_labels(pitch) * jax.nn.log_softmax(logits), axis=-1)
    pitch_loss = jnp.sum(voiced * entropy) / (jnp.sum(voiced) + 1)
    pitch = jnp.where(voiced, pitch, jax.lax.stop_gradient(pitches.likeliest_pitch(logits)))
    pulses = pitches.make_pulses(pitch, pitches.pitch_phase(pitch))
    noise = jax.random.normal(noise_key, wave.shape)
    decoded = synthesize(pulse_filter, noise_gain, pulses, noise)
    return decoded, PITCH_WEIGHT * pitch_loss + kl_weight * divergence


def waveform_loss(codec: IstftCodec, wave: jax.Array, key: jax.Array, kl_weight: float):
    """Distance between waves [B, m] and their reconstructions; see `reconstruct_waves`."""
    decoded, other = reconstruct_waves(codec, wave, key, kl_weight)
    return spectral_distance(decoded, wave, codec.floor) + other


HEADS = {"griffin_lim": (TrainedCodec, magnitude_loss), "istft": (IstftCodec, waveform_loss)}


def adversarial_loss_and_gradient(params, start, wave: jax.Array, key: jax.Array, config):
    """`waveform_loss` beside the verdict of discriminators, which learn in the same step.

    Args:
      params: of the codec and of the discriminators.
      start: the codec that the run starts from.
      wave: [B, m].
      key: of this step.
      config: the run's.

    Returns:
      The codec's loss; its gradient, and under the discriminators' name that of their own loss.
    """
    codec_params = drop_discriminators(params)

    def reconstruct(codec_params):
        codec = assemble_codec(config, start, codec_params)
        decoded, other = reconstruct_waves(codec, wave, key, config.codec.kl_weight)
        return decoded, spectral_distance(decoded, wave, codec.floor) + other

    def discriminate(discriminators, wave):
        return Discriminators().apply({"params": discriminators}, wave)

    def adversary(decoded_outputs):
        loss = adversarial_loss(real, decoded_outputs, FEATURE_WEIGHT)
        return config.codec.adversarial_weight * loss

    (decoded, distance), pull_codec = jax.vjp(reconstruct, codec_params)
    real, pull_real = jax.vjp(lambda part: discriminate(part, wave), params[DISCRIMINATORS])
    outputs, pull_decoded = jax.vjp(discriminate, params[DISCRIMINATORS], decoded)
    own = jax.grad(discriminator_loss, (0, 1))(real, outputs)
    learned = jax.tree.map(jnp.add, pull_real(own[0])[0], pull_decoded(own[1])[0])
    adversarial, towards = jax.value_and_grad(adversary)(outputs)
    (gradient,) = pull_codec((pull_decoded(towards)[1], jnp.ones(())))
    return distance + adversarial, gradient | {DISCRIMINATORS: learned}


def drop_discriminators(params: Mapping) -> dict:
    """The parameters of the codec alone."""
    return {name: part for name, part in params.items() if name != DISCRIMINATORS}


def assemble_codec(config, start, params=None) -> TrainedCodec | IstftCodec:
    """The codec that a run trains: of new networks, or of a trained codec with a new decoder.

    Args:
      config: the run's.
      start: the codec that it starts from.
      params: as trained, maybe with discriminators, which the codec leaves out; None: not
        initialized yet.

    Raises:
      InputError: training cannot start from that codec.
    """
    codec_class, _ = HEADS[config.codec.head]
    if isinstance(start, PcaCodec):
        codec_params = drop_discriminators(params or {})
        return codec_class.from_pca(start, config=config.codec, params=codec_params)
    if isinstance(start, IstftCodec) and codec_class is IstftCodec:
        return start.with_decoder(config=config.codec, params=params or {"decoder": {}})
    raise InputError(
        f"codec.folder: found a codec {start.kind!r}, expected a fitted one, or one with the head "
        "'istft' to train its decoder"
    )


def init_params(config, start, key: jax.Array) -> dict:
    """First parameters: of both networks, or of the decoder alone, whose weights are kept.

    A decoder of other sizes than the config's is replaced by a new one.
    """
    params = assemble_codec(config, start).init(key)
    if not isinstance(start, PcaCodec):
        old, new = (jax.tree.map(jnp.shape, tree) for tree in (start.decoder, params["decoder"]))
        params = {"decoder": start.decoder if old == new else params["decoder"]}
    if config.codec.adversarial_weight:
        wave = jnp.zeros((1, FRAME))
        params[DISCRIMINATORS] = Discriminators().init(jax.random.fold_in(key, 1), wave)["params"]
    return params


def codec_task(config, spec, codec, mesh) -> step.Task:
    """The task of a run that trains a codec.

    Args:
      config: the run's.
      spec: shapes of a batch.
      codec: that it starts from: a fitted one, or a trained one, whose encoder then stays.
      mesh: the devices.

    Raises:
      InputError: training cannot start from that codec.
    """
    assemble_codec(config, codec)
    length = max(round(config.codec.crop * codec.rate), 1) * FRAME
    _, distance = HEADS[config.codec.head]

    def crop(batch, key):
        batch = sharding.constrain({name: batch[name] for name in ("wave", "frames")}, mesh)
        return random_crops(batch["wave"], batch["frames"], length, key)

    def loss(params, codec, batch, key):
        place, draw = jax.random.split(key)
        wave = crop(batch, place)
        return distance(assemble_codec(config, codec, params), wave, draw, config.codec.kl_weight)

    def adversarial(params, codec, batch, key):
        place, draw = jax.random.split(key)
        wave = crop(batch, place)
        return adversarial_loss_and_gradient(params, codec, wave, draw, config)

    def validation_loss(params, codec, batch, number):
        key = jax.random.fold_in(jax.random.key(config.seed), step.VALIDATION_STREAM)
        return loss(params, codec, batch, jax.random.fold_in(key, number))

    def init():
        key = jax.random.fold_in(jax.random.key(config.seed), step.INIT_STREAM)
        return state.init_state(init_params(config, codec, key), config)

    places = sharding.make_shardings(jax.eval_shape(init), mesh)
    return step.Task(
        init_state=jax.jit(init, out_shardings=places),
        train_step=step.make_train_step(
            adversarial if config.codec.adversarial_weight else jax.value_and_grad(loss), config
        ),
        validation_loss=validation_loss,
    )
