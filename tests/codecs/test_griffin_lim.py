"""Inversion of spectrograms: overlap-add, Griffin-Lim, long sounds."""

import jax.numpy as jnp
import numpy as np
from helpers.synthetic_audio import chirps

from vssflow_jax.codecs import chunked, griffin_lim, mel


def test_istft_inverts_stft():
    waves = chirps()
    np.testing.assert_allclose(griffin_lim.istft(mel.stft(waves)), waves, atol=1e-5)


def test_griffin_lim_keeps_the_spectrogram():
    waves = chirps()
    target = mel.log_mel(waves, 1e-3)
    rebuilt = mel.log_mel(griffin_lim.invert_log_mel(target), 1e-3)
    assert np.abs(target - rebuilt).mean() < 0.25
    assert np.corrcoef(np.ravel(target), np.ravel(rebuilt))[0, 1] > 0.95


def test_a_long_sound_is_the_same_in_chunks():
    """Chunks overlap by what one iteration depends on, times the iterations."""
    rng = np.random.default_rng(0)
    log_mel = mel.log_mel(jnp.asarray(rng.uniform(-0.5, 0.5, (2, 16_000 * 3)), jnp.float32), 1e-3)
    at_once = griffin_lim.invert_log_mel(log_mel, iterations=4)
    in_chunks = griffin_lim.invert_log_mel(log_mel, iterations=4, chunk=100)
    np.testing.assert_allclose(in_chunks, at_once, atol=1e-4)
    short_overlap = chunked.map_overlapping_chunks(
        lambda x, first: griffin_lim._invert_log_mel_chunk(x, first, 4), log_mel, 100, 3, mel.HOP
    )
    assert np.abs(short_overlap - at_once).max() > 1e-3  # a shorter overlap is not enough
