"""Log-mel, Griffin-Lim and the embedded codec."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.synthetic_audio import chirps

from vssflow_jax.codecs import chunked, griffin_lim, mel, pca
from vssflow_jax.codecs import interface as codecs
from vssflow_jax.common.errors import InputError


@pytest.fixture(scope="module")
def codec():
    return pca.fit_pca(list(chirps(8)), channels=128)


def test_mel_frames_and_silence():
    assert mel.log_mel(jnp.zeros((2, 16_000))).shape == (2, 100, 64)
    np.testing.assert_allclose(mel.log_mel(jnp.zeros(16_000)), np.log(1e-5), rtol=1e-6)


def test_mel_of_a_tone_is_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = np.argmax(np.asarray(mel.log_mel(tone))[50])
    assert np.argmax(mel.mel_filterbank()[:, round(1000 / 16_000 * 1024)]) == loudest


def test_istft_inverts_stft():
    waves = chirps()
    np.testing.assert_allclose(griffin_lim.istft(mel.stft(waves)), waves, atol=1e-5)


def test_griffin_lim_keeps_the_spectrogram():
    waves = chirps()
    target = mel.log_mel(waves, 1e-3)
    rebuilt = mel.log_mel(griffin_lim.invert_log_mel(target), 1e-3)
    assert np.abs(target - rebuilt).mean() < 0.25
    assert np.corrcoef(np.ravel(target), np.ravel(rebuilt))[0, 1] > 0.95


def test_latent_shape_scale_and_rate(codec):
    mean, deviation = codec.encode(jnp.asarray(chirps(8)))
    assert mean.shape == deviation.shape == (8, 50, 128)
    assert not deviation.any()
    assert np.abs(np.mean(mean, (0, 1))).max() < 1e-2
    assert np.mean(np.var(mean, (0, 1))) == pytest.approx(1, abs=0.05)


def test_basis_is_orthonormal_and_decoding_inverts_it(codec):
    np.testing.assert_allclose(codec.basis.T @ codec.basis, np.eye(128), atol=1e-4)
    latent = jax.random.normal(jax.random.key(0), (1, 10, 128)) * 0.1
    stacked = pca.stack_frames(codec.decode_mel(latent)) - codec.mean
    quiet = np.asarray(pca.stack_frames(codec.decode_mel(latent)) > np.log(codec.floor) + 1e-3).all(
        -1
    )
    found = np.asarray(stacked @ codec.basis / codec.scale)[quiet]
    np.testing.assert_allclose(found, np.asarray(latent)[quiet], atol=1e-3)


def test_more_channels_keep_more():
    waves = chirps(8)
    errors = []
    for channels in (8, 32, 128):
        fitted = pca.fit_pca(list(waves), channels=channels)
        rebuilt = fitted.decode_mel(fitted.encode(jnp.asarray(waves))[0])
        errors.append(float(np.abs(rebuilt - mel.log_mel(waves, fitted.floor)).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_codec_survives_its_folder(codec, tmp_path):
    codecs.save_codec(codec, tmp_path)
    again = codecs.load_codec(tmp_path)
    assert codecs.hash_codec(again) == codecs.hash_codec(codec)
    np.testing.assert_array_equal(again.basis, codec.basis)


def test_broken_codecs_are_named(codec, tmp_path):
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
    with pytest.raises(InputError, match="not a codec"):
        codecs.load_codec(tmp_path)


def test_too_little_audio_to_fit():
    with pytest.raises(ValueError, match="latent frames"):
        pca.fit_pca([np.zeros(16_000, np.float32)])


def test_a_long_sound_is_the_same_in_pieces():
    """Pieces overlap as far as a turn of the iteration sees, times the turns."""
    rng = np.random.default_rng(0)
    mel_of = mel.log_mel(jnp.asarray(rng.uniform(-0.5, 0.5, (2, 16_000 * 3)), jnp.float32), 1e-3)
    whole = griffin_lim.invert_log_mel(mel_of, iterations=4)
    cut = griffin_lim.invert_log_mel(mel_of, iterations=4, chunk=100)
    np.testing.assert_allclose(cut, whole, atol=1e-4)
    near = chunked.map_overlapping_chunks(
        lambda x, first: griffin_lim._invert_log_mel_chunk(x, first, 4), mel_of, 100, 3, mel.HOP
    )
    assert np.abs(near - whole).max() > 1e-3  # with less of an overlap it would not be


@pytest.mark.parametrize("length", [7, 20, 21, 50, 59])
def test_pieces_cover_a_clip(length):
    """A running mean of nine frames, exact at every frame, whatever the ends of the pieces."""

    def mean(x):
        padded = np.pad(x, [(0, 0), (4, 4), (0, 0)])
        return np.stack([padded[:, k : k + 9].mean((1, 2)) for k in range(x.shape[1])], 1)

    x = np.random.default_rng(0).normal(size=(3, length, 2)).astype(np.float32)
    sizes = []

    def function(part, first):
        sizes.append(part.shape)
        padded = jnp.pad(part, [(0, 0), (4, 4), (0, 0)])
        rows = [padded[:, k : k + 9].mean((1, 2)) for k in range(part.shape[1])]
        return jnp.stack(rows, 1)

    np.testing.assert_allclose(
        chunked.map_overlapping_chunks(function, x, 20, 4, 1), mean(x), atol=1e-6
    )
    assert all(rows * frames <= 20 for rows, frames, _ in sizes)
