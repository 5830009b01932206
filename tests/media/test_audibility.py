"""How much of speech is heard beside noise, tones and silence."""

import numpy as np
import pytest

from vssflow_jax.media.audibility import find_audible_gain, measure_audibility

RATE = 16_000


@pytest.fixture(scope="module")
def speech():
    """A second of noise of all bands between half seconds of silence, in place of speech."""
    wave = np.zeros(2 * RATE, np.float32)
    wave[RATE // 2 : -RATE // 2] = np.random.default_rng(0).normal(0, 0.1, RATE)
    return wave


@pytest.fixture(scope="module")
def noise():
    """Two seconds of noise as loud as the speech."""
    return np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)


def test_noise_as_loud_hides_half_and_15_db_more_all(speech, noise):
    assert measure_audibility(speech, noise, RATE) == pytest.approx(0.5, abs=0.02)
    assert measure_audibility(speech, noise * 10 ** (-7.5 / 20), RATE) == pytest.approx(
        0.74, abs=0.03
    )
    assert measure_audibility(speech, noise * 100, RATE) == 0
    assert measure_audibility(speech, noise / 100, RATE) == 1
    assert measure_audibility(speech, 0 * noise, RATE) == 1
    assert measure_audibility(0 * speech, noise, RATE) == 1


def test_what_sounds_between_the_words_or_in_one_band_hides_little(speech, noise):
    aside = noise.copy()
    aside[RATE // 2 : -RATE // 2] = 0
    assert measure_audibility(speech, aside, RATE) > 0.97
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    assert measure_audibility(speech, tone, RATE) > 0.75


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_channels_and_rates_do_not_matter(speech, noise, rate):
    pair = [np.interp(np.arange(2 * rate) / rate, np.arange(2 * RATE) / RATE, wave)
            for wave in (speech, noise)]  # fmt: skip
    mono = measure_audibility(*pair, rate)
    stereo = measure_audibility(*(np.stack([wave, wave], axis=1) for wave in pair), rate)
    assert mono == pytest.approx(stereo, abs=1e-6)
    assert mono == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("least", [0.55, 0.7, 0.9])
def test_the_gain_is_the_highest_with_which_enough_is_heard(speech, noise, least):
    gain = find_audible_gain(speech, noise, RATE, least)
    assert gain < 0
    heard = [measure_audibility(speech, noise * 10 ** ((gain + d) / 20), RATE) for d in (0, 0.1)]
    assert heard[0] >= least > heard[1]
    assert find_audible_gain(speech, noise * 10, RATE, least) == pytest.approx(gain - 20, abs=0.05)


def test_a_gain_that_hides_nothing_stays(speech, noise):
    assert find_audible_gain(speech, noise / 100, RATE, 0.9, highest=3.0) == 3.0
    assert find_audible_gain(speech, noise, RATE, 0.0) == 0.0
    assert find_audible_gain(0 * speech, noise, RATE, 1.0) == 0.0
