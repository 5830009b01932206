"""The speaker embedding without weights."""

import librosa
import numpy as np
import pytest
from helpers.fixtures import make_voice

from vssflow_jax.codecs import mel
from vssflow_jax.common.errors import InputError
from vssflow_jax.features import speaker


def test_the_mel_analysis_is_the_codecs():
    np.testing.assert_allclose(speaker.filterbank(), mel.mel_filterbank(), atol=1e-7)
    wave = make_voice()
    np.testing.assert_allclose(speaker.log_mel(wave), mel.log_mel(wave, speaker.FLOOR), atol=2e-3)
    bank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64, fmin=0, fmax=8000)
    np.testing.assert_allclose(speaker.filterbank(), bank, atol=1e-7)


def test_the_embedding_does_not_hear_loudness_or_pauses():
    wave = make_voice()
    embedding = speaker.embed_speaker(wave)
    assert embedding.shape == (256,) and embedding.dtype == np.float32
    np.testing.assert_allclose(speaker.embed_speaker(wave * 0.1), embedding, atol=0.01)
    pause = np.zeros(16_000, np.float32)
    paused = speaker.embed_speaker(np.concatenate([pause, wave, pause]))
    other = speaker.embed_speaker(make_voice(1, pitch=210.0))
    distance = lambda a, b: float(np.mean((a - b) ** 2))  # noqa: E731
    assert distance(paused, embedding) < 0.2 * distance(other, embedding)


SILENT = [np.zeros(16_000), np.full(16_000, 5e-4), np.zeros(0), make_voice()[:800]]


@pytest.mark.parametrize("wave", SILENT)
def test_silence_and_scraps_are_no_voice(wave):
    with pytest.raises(InputError, match="speaker audio: found"):
        speaker.embed_speaker(wave)


def test_the_voiced_part_is_found():
    wave = np.zeros(64_000, np.float32)
    wave[16_000:48_000] = make_voice()
    start, end = speaker.find_voiced_span(wave)
    assert start == pytest.approx(1.0, abs=0.05) and end == pytest.approx(3.0, abs=0.05)
    assert speaker.find_voiced_span(np.zeros(32_000, np.float32)) == (0.0, 2.0)
