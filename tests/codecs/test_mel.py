"""Log-mel spectrograms."""

import jax.numpy as jnp
import numpy as np

from vssflow_jax.codecs import mel


def test_mel_frames_and_silence():
    assert mel.log_mel(jnp.zeros((2, 16_000))).shape == (2, 100, 64)
    np.testing.assert_allclose(mel.log_mel(jnp.zeros(16_000)), np.log(1e-5), rtol=1e-6)


def test_mel_of_a_tone_is_in_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = np.argmax(np.asarray(mel.log_mel(tone))[50])
    assert np.argmax(mel.mel_filterbank()[:, round(1000 / 16_000 * 1024)]) == loudest
