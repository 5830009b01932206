"""Waves in other rates and numbers of channels."""

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax.common.waves import from_mono, resample, to_mono


@pytest.mark.parametrize(("rate", "target"), [(48_000, 16_000), (16_000, 48_000), (44_100, 16_000)])
def test_a_tone_stays_the_tone_that_it_was(rate, target):
    tone = fixtures.make_tone(1.0, 440.0, rate)
    resampled = resample(tone, rate, target)
    assert resampled.dtype == np.float32 and len(resampled) == target
    inside = slice(target // 10, -target // 10)
    expected = fixtures.make_tone(1.0, 440.0, target)
    np.testing.assert_allclose(resampled[inside], expected[inside], atol=2e-3)


def test_the_same_rate_gives_the_same_samples():
    wave = np.random.default_rng(0).normal(size=100).astype(np.float32)
    assert resample(wave, 16_000, 16_000) is wave
    np.testing.assert_array_equal(to_mono(wave, 16_000, 16_000), wave)


def test_channels_are_averaged():
    wave = np.random.default_rng(0).normal(size=(480, 2)).astype(np.float32)
    np.testing.assert_allclose(to_mono(wave, 48_000, 48_000), wave.mean(1))
    assert to_mono(wave, 48_000, 16_000).shape == (160,)
    assert to_mono(np.zeros((0, 2), np.float32), 48_000, 16_000).shape == (0,)


def test_a_mono_wave_takes_another_format():
    tone = fixtures.make_tone(1.0)
    stereo = from_mono(tone, 16_000, 48_000, 2)
    assert stereo.shape == (48_000, 2) and (stereo[:, 0] == stereo[:, 1]).all()
    np.testing.assert_array_equal(from_mono(tone, 16_000, 16_000, 1), tone)
