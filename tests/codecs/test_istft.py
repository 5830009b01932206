"""The codec with an inverse transform: before training, its step, its parts, its folder."""

import functools

import jax
import numpy as np
import pytest
from helpers.synthetic_audio import chirps

from vssflow_jax.codecs import discriminators, istft, pca, pitch, trained
from vssflow_jax.codecs import interface as codecs
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline
from vssflow_jax.training import codec_setup, codec_step, setup, sharding

SPEC = pipeline.BatchSpec.from_duration(2.0, {})
BATCH = 2


def small(**changes):
    """The recipe, small; `changes` by dotted name with two underscores for dots."""
    config = load_recipe("codec")
    config.codec.update(channels=32, width=16, encoder_blocks=1, decoder_blocks=1, crop=0.4)
    config.data.update(batch_size=BATCH, duration=2.0)
    config.optim.update(name="adamw", warmup_steps=2)
    config.train.update(steps=6, log_every=1, checkpoint_every=2, validate_every=0)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


@functools.cache
def pca_codec():
    """The codec that training starts from."""
    return pca.fit_pca(list(chirps(8)), channels=32)


@functools.cache
def random_codec():
    """A codec whose networks make random corrections."""
    rng = np.random.default_rng(0)
    codec = istft.IstftCodec.from_pca(pca_codec(), config=small().codec)
    params = jax.tree.map(
        lambda x: np.asarray(x) + 0.05 * rng.standard_normal(x.shape, np.float32),
        jax.jit(codec.init)(jax.random.key(0)),
    )
    return codec.replace(**params)


def batch():
    frames = np.full(BATCH, 50, np.int32)
    return {"wave": chirps(BATCH), "frames": frames}


def mesh():
    return sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])


@functools.cache
def decode(chunk):
    return jax.jit(lambda codec, latent: codec.decode(latent, chunk))


def latents(frames, rows=2):
    return np.random.default_rng(0).standard_normal((rows, frames, 32), np.float32)


def test_shapes_rates_and_the_pca_codec_before_training():
    codec = istft.IstftCodec.from_pca(pca_codec(), config=small().codec)
    codec = codec.replace(**jax.jit(codec.init)(jax.random.key(0)))
    waves = chirps()
    mean, deviation = jax.jit(codec.encode)(waves)
    np.testing.assert_allclose(mean, jax.jit(pca_codec().encode)(waves)[0], atol=1e-4)
    np.testing.assert_allclose(deviation, np.exp(-2), rtol=1e-5)
    assert mean.shape == (4, 50, 32) and codec.channels == 32
    assert codec.rate == 25 and codec.sample_rate == 16_000
    assert decode(250)(codec, mean).shape == waves.shape


def test_decoding_in_chunks_leaves_no_seams():
    codec, latent = random_codec(), latents(90)
    assert codec.reach == 5
    chunked, together = decode(20)(codec, latent), decode(100)(codec, latent)
    scale = np.abs(together).max()
    # The phase of the pulses is a sum over all frames before, so rounding differs.
    np.testing.assert_allclose(chunked, together, atol=2e-3 * scale)


def test_the_sound_of_a_clip_does_not_depend_on_its_batch():
    together = decode(100)(random_codec(), latents(30, rows=3))
    alone = decode(100)(random_codec(), latents(30, rows=3)[1:2])
    np.testing.assert_allclose(alone[0], together[1], atol=2e-3 * np.abs(together).max())


def test_pulses_follow_the_pitch_that_the_decoder_reads():
    codec, latent = random_codec(), latents(30, rows=1)
    logits, pulse_filter, noise_gain = jax.jit(codec.filters)(latent)
    track = jax.jit(codec.pitch)(latent)
    np.testing.assert_allclose(track, jax.jit(pitch.likeliest_pitch)(logits), rtol=1e-5)
    assert pulse_filter.shape == noise_gain.shape == (1, 120, istft.BINS)

    @jax.jit
    def synthesize(pulse_filter, noise_gain, track):
        pulses = pitch.make_pulses(track, pitch.pitch_phase(track))
        noise = jax.random.normal(jax.random.key(0), (istft.CHUNK, 640))[:30].reshape(1, -1)
        return istft.synthesize(pulse_filter, noise_gain, pulses, noise)

    wave = synthesize(pulse_filter, noise_gain, track)
    decoded = decode(100)(codec, latent)
    np.testing.assert_allclose(decoded, wave, atol=2e-3 * np.abs(wave).max())


def test_normalized_latents_decode_to_the_same():
    codec, waves = random_codec(), chirps()
    normalized = trained.normalize_latents(codec, list(waves))
    mean = jax.jit(normalized.encode)(waves)[0]
    assert np.var(mean, (0, 1)).mean() == pytest.approx(1, rel=1e-4)
    before = jax.jit(codec.filters)(jax.jit(codec.encode)(waves)[0])
    after = jax.jit(normalized.filters)(mean)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-3 * np.abs(one).max())


def test_its_folder_holds_it_and_another_decoder_keeps_the_hash_of_the_latents(tmp_path):
    codec = random_codec()
    codecs.save_codec(codec, tmp_path)
    again = codecs.load_codec(tmp_path)
    latent = latents(10, rows=1)
    np.testing.assert_array_equal(decode(100)(again, latent), decode(100)(codec, latent))
    other = codec.replace(decoder=jax.tree.map(lambda x: 2 * x, codec.decoder), latent_blocks=2)
    assert codecs.hash_latents(other) == codecs.hash_latents(again) != codecs.hash_codec(codec)
    assert codecs.hash_codec(other) != codecs.hash_codec(codec)
    changed = codec.replace(encoder=jax.tree.map(lambda x: 2 * x, codec.encoder))
    assert codecs.hash_latents(changed) != codecs.hash_latents(codec)


def test_a_step_with_discriminators_moves_both_sides(monkeypatch):
    monkeypatch.setattr(discriminators, "RESOLUTIONS", (256,))  # each is a program of its own
    config = small(codec__adversarial_weight=0.1)
    task = codec_step.codec_task(config, SPEC, pca_codec(), mesh())
    state = task.init_state()
    assert set(state.params) == {"encoder", "decoder", "discriminators"}
    step = jax.jit(task.train_step)
    after, metrics = step(state, pca_codec(), batch())
    after, metrics = step(after, pca_codec(), batch())  # the first has the learning rate 0
    assert not metrics["skipped"] and np.isfinite(metrics["loss"])
    for name in state.params:
        pairs = zip(*map(jax.tree.leaves, (state.params[name], after.params[name])), strict=True)
        assert any(np.any(before != moved) for before, moved in map(jax.device_get, pairs))
    codec = codec_step.assemble_codec(config, pca_codec(), after.params)
    for name in ("encoder", "decoder"):  # the codec that is written leaves the third out
        jax.tree.map(np.testing.assert_array_equal, getattr(codec, name), after.params[name])


def test_training_from_a_trained_codec_keeps_its_latents(tmp_path):
    codec = random_codec()
    task = codec_step.codec_task(small(), SPEC, codec, mesh())
    state = task.init_state()
    assert set(state.params) == {"decoder"}
    jax.tree.map(np.testing.assert_array_equal, state.params["decoder"], codec.decoder)
    state, metrics = jax.jit(task.train_step)(state, codec, batch())
    assert np.isfinite(metrics["loss"])
    codec_setup.write_codec(small(), tmp_path, codec, state.params, ())
    written = codecs.load_codec(tmp_path / "codec")
    assert codecs.hash_latents(written) == codecs.hash_latents(codec)
    wider = small(codec__width=24)
    init = functools.partial(codec_step.init_params, wider, codec)
    params = jax.eval_shape(init, jax.random.key(0))
    assert codec_step.assemble_codec(wider, codec, params).decoder_width == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec__head": "vocoder"}, "codec.head: found 'vocoder', expected"),
        (
            {"codec__head": "griffin_lim", "codec__adversarial_weight": 0.1},
            "codec.adversarial_weight: found 0.1, expected 0",
        ),
    ],
)
def test_unsupported_heads_are_errors(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        setup.check(small(data__shards=str(tmp_path), **changes), tmp_path)


@pytest.mark.slow
def test_the_loss_falls_on_chirps():
    config = small(train__steps=100, codec__width=32, optim__learning_rate=5e-3)
    task = codec_step.codec_task(config, SPEC, pca_codec(), mesh())
    state, step = task.init_state(), jax.jit(task.train_step)
    losses = []
    for _ in range(config.train.steps):
        state, metrics = step(state, pca_codec(), batch())
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
