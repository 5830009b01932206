"""The built-in codec: its latents, its folder, damage that is named."""

import json

import jax
import numpy as np
import pytest
from helpers.synthetic_audio import chirps

from vssflow_jax.codecs import interface as codecs
from vssflow_jax.codecs import mel, pca
from vssflow_jax.common.errors import InputError


@pytest.fixture(scope="module")
def codec():
    return pca.fit_pca(list(chirps(8)), channels=128)


@jax.jit
def encode(codec, waves):
    return codec.encode(waves)


@jax.jit
def decode_mel(codec, latent):
    return codec.decode_mel(latent)


def test_latent_shape_scale_and_rate(codec):
    mean, deviation = encode(codec, chirps(8))
    assert mean.shape == deviation.shape == (8, 50, 128)
    assert not deviation.any()
    assert np.abs(np.mean(mean, (0, 1))).max() < 1e-2
    assert np.mean(np.var(mean, (0, 1))) == pytest.approx(1, abs=0.05)


def test_basis_is_orthonormal_and_decoding_inverts_it(codec):
    np.testing.assert_allclose(codec.basis.T @ codec.basis, np.eye(128), atol=1e-4)
    latent = 0.1 * np.random.default_rng(0).standard_normal((1, 10, 128), np.float32)
    stacked = np.asarray(pca.stack_frames(decode_mel(codec, latent)))
    quiet = (stacked > np.log(codec.floor) + 1e-3).all(-1)
    assert quiet.any()
    recovered = ((stacked - codec.mean) @ codec.basis / codec.scale)[quiet]
    np.testing.assert_allclose(recovered, latent[quiet], atol=1e-3)


def test_more_channels_keep_more():
    waves = chirps(8)
    errors = []
    for channels in (8, 32, 128):
        fitted = pca.fit_pca(list(waves), channels=channels)
        rebuilt = decode_mel(fitted, encode(fitted, waves)[0])
        expected = jax.jit(mel.log_mel)(waves, fitted.floor)
        errors.append(float(np.abs(rebuilt - expected).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_saving_and_loading_keeps_the_codec(codec, tmp_path):
    codecs.save_codec(codec, tmp_path)
    again = codecs.load_codec(tmp_path)
    assert codecs.hash_codec(again) == codecs.hash_codec(codec)
    np.testing.assert_array_equal(again.basis, codec.basis)


def test_damaged_codecs_are_named(codec, tmp_path):
    with pytest.raises(InputError, match=r"codec\.json"):
        codecs.load_codec(tmp_path)
    codecs.save_codec(codec, tmp_path)
    description = json.loads((tmp_path / "codec.json").read_text())
    (tmp_path / "codec.json").write_text(json.dumps({**description, "floor": 0.5}))
    with pytest.raises(InputError, match="hash"):
        codecs.load_codec(tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps({**description, "kind": "magic"}))
    with pytest.raises(InputError, match="magic"):
        codecs.load_codec(tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps(description))
    (tmp_path / "codec.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(InputError, match="not a whole safetensors file"):
        codecs.load_codec(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_frames_than_channels_make_a_usable_codec(count):
    """Of 50, 100 and 200 latent frames; also for sound that it was not fitted on."""
    waves = chirps(8)
    fitted = pca.fit_pca(list(waves[:count]), channels=128)
    assert fitted.channels == 128
    np.testing.assert_allclose(fitted.basis.T @ fitted.basis, np.eye(128), atol=1e-4)
    latents = np.asarray(encode(fitted, waves)[0])
    assert np.isfinite(latents).all() and np.abs(latents).max() < 50
    assert 0.1 < np.mean(np.var(latents[:count], (0, 1))) < 1.5


def test_silence_alone_makes_a_finite_codec():
    fitted = pca.fit_pca([np.zeros(16_000, np.float32)], channels=16)
    assert np.isfinite(encode(fitted, np.zeros((1, 16_000), np.float32))[0]).all()


def test_no_sound_at_all_is_named():
    with pytest.raises(InputError, match="no latent frame of sound"):
        pca.fit_pca([np.zeros(100, np.float32)])
