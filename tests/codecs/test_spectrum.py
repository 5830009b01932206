"""Short-time spectra and their inverse."""

import jax
import numpy as np
import pytest

from vssflow_jax.codecs import mel, spectrum

WAVE = np.random.default_rng(0).standard_normal((2, 3200)).astype(np.float32)


@pytest.mark.parametrize(("window", "hop"), [(640, 160), (1024, 160), (256, 64)])
def test_the_inverse_of_a_spectrum_is_its_wave(window, hop):
    transform = jax.jit(lambda wave: spectrum.stft(wave, window, hop))(WAVE)
    assert transform.shape == (2, 3200 // hop, window // 2 + 1)
    inverse = jax.jit(lambda x: spectrum.istft(x, window, hop))(transform)
    np.testing.assert_allclose(inverse, WAVE, atol=1e-4)


def test_frames_lie_where_those_of_the_log_mel_do():
    ours = jax.jit(lambda wave: spectrum.stft(wave, mel.WINDOW, mel.HOP))(WAVE)
    theirs = jax.jit(mel.stft)(WAVE)
    np.testing.assert_allclose(ours[:, 3:-3], theirs[:, 3:-3], atol=1e-3)


def test_adding_frames_is_the_transpose_of_splitting():
    frames = np.random.default_rng(1).standard_normal((20, 1024)).astype(np.float32)
    split = spectrum.split_frames(WAVE[0], 1024, 160)
    added = spectrum.add_frames(frames, 160)
    np.testing.assert_allclose(np.sum(split * frames), np.sum(WAVE[0] * added), rtol=1e-4)
