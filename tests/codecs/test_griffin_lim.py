"""Inversion of spectrograms: overlap-add, Griffin-Lim, long sounds."""

import functools

import jax
import numpy as np
from helpers.synthetic_audio import chirps

from vssflow_jax.codecs import chunked, griffin_lim, mel


@jax.jit
def log_mel(waves):
    return mel.log_mel(waves, 1e-3)


def test_istft_inverts_stft():
    waves = chirps()
    again = jax.jit(lambda waves: griffin_lim.istft(mel.stft(waves)))(waves)
    np.testing.assert_allclose(again, waves, atol=1e-5)


def test_griffin_lim_keeps_the_spectrogram():
    waves = chirps()
    target = log_mel(waves)
    rebuilt = log_mel(jax.jit(griffin_lim.invert_log_mel)(target))
    assert np.abs(target - rebuilt).mean() < 0.25
    assert np.corrcoef(np.ravel(target), np.ravel(rebuilt))[0, 1] > 0.95


def test_a_long_sound_is_the_same_in_chunks():
    """Chunks overlap by what one iteration depends on, times the iterations."""
    rng = np.random.default_rng(0)
    target = log_mel(rng.uniform(-0.5, 0.5, (2, 16_000 * 3)).astype(np.float32))
    invert = functools.partial(griffin_lim.invert_log_mel, iterations=4)
    at_once = jax.jit(invert)(target)
    in_chunks = jax.jit(functools.partial(invert, chunk=100))(target)
    np.testing.assert_allclose(in_chunks, at_once, atol=1e-4)

    @jax.jit
    def invert_with_short_overlap(target):
        invert_chunk = functools.partial(griffin_lim._invert_log_mel_chunk, iterations=4)
        return chunked.map_overlapping_chunks(invert_chunk, target, 100, 3, mel.HOP)

    short_overlap = invert_with_short_overlap(target)
    assert np.abs(short_overlap - at_once).max() > 1e-3  # a shorter overlap is not enough
