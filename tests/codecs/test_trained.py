"""The trained codec: before training, its step, its run, its folder."""

import functools
import json
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.synthetic_audio import chirps

from vssflow_jax import train
from vssflow_jax.codecs import griffin_lim, mel, pca, trained
from vssflow_jax.codecs import interface as codecs
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline
from vssflow_jax.generation import hooks
from vssflow_jax.training import codec_setup, codec_step, setup, sharding

SPEC = pipeline.BatchSpec.from_duration(2.0, {})
BATCH = 4


def small(**changes):
    """The recipe, small; `changes` by dotted name with two underscores for dots."""
    config = load_recipe("codec")
    config.codec.update(
        head="griffin_lim",
        channels=32,
        width=16,
        encoder_blocks=1,
        decoder_blocks=1,
        crop=0.4,
        iterations=2,
    )
    config.data.update(batch_size=BATCH, duration=2.0)
    config.optim.update(name="adamw", warmup_steps=2)  # compiles twice as fast as the recipe's
    config.train.update(steps=6, log_every=1, checkpoint_every=2, validate_every=0)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


@functools.cache
def pca_codec():
    """The codec that training starts from."""
    return pca.fit_pca(list(chirps(8)), channels=32)


@functools.cache
def untrained_codec():
    """The codec before its training."""
    codec = trained.TrainedCodec.from_pca(pca_codec(), config=small().codec)
    return codec.replace(**jax.jit(codec.init)(jax.random.key(0)))


@functools.cache
def random_codec():
    """A codec whose networks make random corrections."""
    rng, codec = np.random.default_rng(0), untrained_codec()

    def add_noise(x):
        return np.asarray(x) + 0.05 * rng.standard_normal(x.shape, np.float32)

    encoder, decoder = (jax.tree.map(add_noise, tree) for tree in (codec.encoder, codec.decoder))
    return codec.replace(encoder=encoder, decoder=decoder)


@jax.jit
def run_codec(codec, waves):
    """All outputs of a codec for waves: mean, deviation, log magnitudes, log-mel, waves."""
    mean, deviation = codec.encode(waves)
    return mean, deviation, codec.log_magnitude(mean), codec.decode_mel(mean), codec.decode(mean)


@jax.jit
def log_magnitude(codec, latent):
    return codec.log_magnitude(latent)


def batch(number):
    """A synthetic batch: chirps of all lengths."""
    waves = chirps(BATCH, seed=number)
    frames = np.random.default_rng(number).integers(10, 51, BATCH)
    for wave, count in zip(waves, frames, strict=True):
        wave[count * codec_step.FRAME :] = 0
    return {"wave": waves, "frames": frames.astype(np.int32)}


def mesh():
    return sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])


def test_before_training_it_is_the_pca_codec_with_a_deviation():
    waves = chirps()
    mean, deviation, _, bands, again = run_codec(untrained_codec(), waves)
    np.testing.assert_allclose(mean, jax.jit(pca_codec().encode)(waves)[0], atol=1e-4)
    np.testing.assert_allclose(deviation, np.exp(-2), rtol=1e-5)
    assert mean.shape == (4, 50, 32)
    assert untrained_codec().rate == 25 and untrained_codec().channels == 32
    assert again.shape == waves.shape
    # Spreading bands over bins and summing them again blurs them a little.
    assert np.abs(bands - jax.jit(pca_codec().decode_mel)(mean)).mean() < 0.35


def test_spreading_keeps_a_flat_spectrum_flat():
    flat = np.ones((1, mel.WINDOW // 2 + 1), np.float32)
    spread = np.exp(mel.magnitude_to_log_mel(flat)) @ trained.band_to_bin_matrix()
    reached = trained.band_to_bin_matrix().sum(0) > 0
    np.testing.assert_allclose(spread[:, reached], 1, rtol=1e-4)
    assert reached.sum() > 500


def test_inversion_from_magnitudes_is_better_than_from_mel_bands():
    waves = chirps(1)
    magnitude, log_mel = jnp.abs(mel.stft(waves)), mel.log_mel(waves)
    error = [
        jnp.linalg.norm(jnp.abs(mel.stft(wave)) - magnitude)
        for wave in (
            griffin_lim.griffin_lim(magnitude, 16),
            griffin_lim.invert_log_mel(log_mel, 16),
        )
    ]
    assert error[0] < 0.5 * error[1]


def test_normalized_latents_have_mean_0_and_variance_1_and_decode_to_the_same():
    waves = chirps()
    normalized = trained.normalize_latents(random_codec(), list(waves))
    before, after = run_codec(random_codec(), waves), run_codec(normalized, waves)
    np.testing.assert_allclose(np.mean(after[0], (0, 1)), 0, atol=1e-4)
    assert np.var(after[0], (0, 1)).mean() == pytest.approx(1, rel=1e-4)
    assert np.var(before[0], (0, 1)).mean() != pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(after[1] * normalized.spread, before[1], rtol=1e-4)
    np.testing.assert_allclose(after[2], before[2], atol=1e-3)


def test_magnitudes_depend_on_near_latents_alone():
    latent = np.random.default_rng(0).standard_normal((2, 40, 32), np.float32)
    full = log_magnitude(random_codec(), latent)
    part = log_magnitude(random_codec(), latent[:, 10:30])
    # A block of the decoder sees 3 mel frames to either side, less than a latent frame.
    np.testing.assert_allclose(part[:, 4:-4], full[:, 44:116], atol=1e-4)
    assert np.abs(part[:, 0] - full[:, 40]).max() > 1e-3  # the edge does see its surroundings
    longer = log_magnitude(random_codec(), np.pad(latent, ((0, 0), (0, 9), (0, 0))))
    np.testing.assert_allclose(longer[:, :156], full[:, :156], atol=1e-4)


def test_crops_lie_within_their_clips():
    wave = np.arange(10 * codec_step.FRAME, dtype=np.float32)[None].repeat(3, 0)
    frames, length = jnp.asarray([10, 6, 2]), 4 * codec_step.FRAME
    starts = {int(f): [] for f in frames}
    cuts = jax.jit(lambda key: codec_step.random_crops(wave, frames, length, key))
    for seed in range(20):
        cut = np.asarray(cuts(jax.random.key(seed)))
        assert cut.shape == (3, length)
        for row, own in zip(cut, frames, strict=True):
            starts[int(own)].append(row[0])
            np.testing.assert_array_equal(np.diff(row), 1)
    assert max(starts[10]) <= 6 * codec_step.FRAME and len(set(starts[10])) > 10
    assert max(starts[6]) <= 2 * codec_step.FRAME
    assert set(starts[2]) == {0.0}  # shorter than the crop: padding stays in


def test_divergence_is_that_of_a_normal_distribution():
    mean, deviation = jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 0.5])
    expected = (0 + (0.5 * (1 + 0.25 - 1) + np.log(2))) / 2
    assert codec_step.kl_divergence(mean, deviation) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_the_loss_falls_on_chirps():
    config = small(train__steps=80, codec__width=32, optim__learning_rate=5e-3)
    task = codec_step.codec_task(config, SPEC, pca_codec(), mesh())
    state, step, validate = (
        task.init_state(),
        jax.jit(task.train_step),
        jax.jit(task.validation_loss),
    )
    before = validate(state.ema, pca_codec(), batch(99), 0)
    for number in range(config.train.steps):
        state, metrics = step(state, pca_codec(), batch(number % 4))
    assert not metrics["skipped"]
    assert validate(state.params, pca_codec(), batch(99), 0) < 0.85 * before


def copy_at_step_3(workdir, into):
    """A hook that copies a run's folder at step 3, as if the machine had stopped there."""

    def hook(self, step, current):
        if step == 3:
            while not (workdir / "checkpoints" / "2").exists():  # it is written in the background
                time.sleep(0.05)
            shutil.copytree(workdir, into)

    return hook


@pytest.mark.slow
@pytest.mark.parametrize("head", ["griffin_lim", "istft"])
def test_an_interrupted_run_gives_the_same_codec_bit_for_bit(
    head, tiny_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(setup, "set_compilation_cache", lambda folder: None)
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    config = small(
        data__shards=str(tiny_run / "shards"),
        train__steps=4,
        codec__head=head,
        codec__adversarial_weight=0.1 if head == "istft" else 0.0,
    )
    with monkeypatch.context() as patch:
        patch.setattr(hooks.PeriodicHook, "__call__", copy_at_step_3(straight, cut))
        train.train(config, straight)
    assert not (cut / "codec").exists()
    train.train(config, cut)
    assert "resuming from step 2" in capsys.readouterr().out
    for name in ("codec.json", "codec.safetensors"):
        assert (cut / "codec" / name).read_bytes() == (straight / "codec" / name).read_bytes()
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]
        for folder in (straight, cut)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    codec = codecs.load_codec(straight / "codec")
    assert jax.jit(codec.encode)(chirps())[0].shape == (4, 50, 32)
    assert codec.kind == {"griffin_lim": "trained", "istft": "istft"}[head]
    assert codecs.load_codec(straight / "start").kind == "pca"


def test_its_folder_is_read_and_damage_is_an_error(tmp_path):
    codec = trained.normalize_latents(random_codec(), list(chirps()))
    codecs.save_codec(codec, tmp_path)
    again = codecs.load_codec(tmp_path)
    for one, two in zip(run_codec(again, chirps()), run_codec(codec, chirps()), strict=True):
        np.testing.assert_array_equal(one, two)
    config = small(codec__folder=str(tmp_path), train__task="flow")
    taken = codec_setup.ensure_codec(config, (), tmp_path / "run")
    assert codecs.hash_codec(taken) == codecs.hash_codec(codec)
    text = (tmp_path / "codec.json").read_text()
    for old, new in (('"iterations": 2', '"iterations": 3'), ('"width": 16', '"breadth": 16')):
        assert old in text
        (tmp_path / "codec.json").write_text(text.replace(old, new))
        with pytest.raises(InputError, match=r"codec hash is|not a codec of the kind trained"):
            codecs.load_codec(tmp_path)
    (tmp_path / "codec.json").write_text(text)
    data = bytearray((tmp_path / "codec.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "codec.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="codec hash is"):
        codecs.load_codec(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__task": "vocoder"}, "train.task: found 'vocoder', expected"),
        ({"train__grad_accumulation": 2}, "train.grad_accumulation: found 2, expected 1"),
        ({"train__sample_every": 5}, "train.sample_every: found 5, expected 0"),
        ({"train__evaluate": True}, "train.evaluate: found True"),
        ({"codec__crop": 3.0}, "codec.crop: found 3.0 s, expected at most data.duration"),
    ],
)
def test_unsupported_fields_of_a_codecs_run_are_errors(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train.train(small(**changes), tmp_path)


def test_training_starts_from_no_codec_with_magnitudes():
    with pytest.raises(InputError, match="found a codec 'trained', expected a fitted one"):
        codec_step.codec_task(small(), SPEC, random_codec(), mesh())
