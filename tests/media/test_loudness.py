"""Loudness and true peaks, against FFmpeg's meter."""

import numpy as np
import pytest
from helpers import ebur128, fixtures

from vssflow_jax.common.errors import InputError
from vssflow_jax.media import loudness

RATE = 16_000


def make_speech(rate=RATE, seconds=6.0, level=0.3):
    """Bursts of noise with pauses and a few high peaks."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    wave = rng.normal(size=len(time)) * (np.sin(2 * np.pi * 0.7 * time) > 0) * level / 3
    wave[rng.integers(0, len(wave), 20)] += level * 3
    return wave.astype(np.float32)


def test_the_loudness_of_a_tone():
    """BS.1770: 997 Hz at -20 dBFS in both channels measures -20 LUFS, in one -23."""
    tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(3 * 48_000) / 48_000)
    stereo = np.stack([tone, tone], axis=1)
    assert loudness.measure_loudness(stereo, 48_000) == pytest.approx(-20.0, abs=0.1)
    assert loudness.measure_loudness(tone, 48_000) == pytest.approx(-23.0, abs=0.1)


def test_low_frequencies_of_a_surround_sound_do_not_count():
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")
    wave = np.stack([make_speech()] * 6, axis=1)
    expected, _ = ebur128.measure(wave, RATE)
    assert loudness.measure_loudness(wave, RATE, names) == pytest.approx(expected, abs=0.2)
    wave[:, 3] = 0
    assert loudness.measure_loudness(wave, RATE, names) == pytest.approx(expected, abs=0.2)
    loudness.check_channels(names)
    with pytest.raises(InputError, match="found the channels FL FR FC LFE BL BR SL SR"):
        loudness.check_channels((*names, "SL", "SR"))


def test_a_true_peak_lies_between_samples():
    """A sine of a quarter of the rate, sampled 45 degrees off its peaks."""
    wave = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4).astype(np.float32)
    assert np.abs(wave).max() == pytest.approx(0.707, abs=1e-3)
    assert loudness.find_peaks(wave, RATE)[1000:3000] == pytest.approx(1.0, abs=0.01)


def test_peaks_of_a_long_wave_do_not_depend_on_its_pieces(monkeypatch):
    wave = np.stack([make_speech(), make_speech(level=0.1)], axis=1)
    expected = loudness.find_peaks(wave, RATE)
    monkeypatch.setattr(loudness, "CHUNK", 1000)
    np.testing.assert_allclose(loudness.find_peaks(wave, RATE), expected, atol=1e-6)


@pytest.mark.parametrize("target", [-30.0, -23.0, -16.0])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_target_is_reached_and_peaks_are_limited(target, channels):
    wave = make_speech() if channels == 1 else np.stack([make_speech()] * channels, axis=1)
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")[:channels]
    leveling = loudness.level(wave, RATE, target, names)
    reached, peak = ebur128.measure(loudness.apply_gain(wave, leveling.gain), RATE)
    assert reached == pytest.approx(target, abs=0.5) and not leveling.notes
    assert leveling.loudness == pytest.approx(target, abs=0.1)
    assert peak <= -1.0


def test_a_target_out_of_reach_is_a_line():
    leveling = loudness.level(make_speech(), RATE, -5.0)
    assert "reached" in leveling.notes[0]
    wave = loudness.apply_gain(make_speech(), leveling.gain)
    assert ebur128.measure(wave, RATE)[1] <= -1.0


@pytest.mark.parametrize("wave", [np.zeros(RATE, np.float32), fixtures.make_tone(0.3)])
def test_silence_and_short_sounds_are_left_as_they_are_with_a_line(wave):
    leveling = loudness.level(wave, RATE, -23.0)
    assert (leveling.gain == 1).all() and "left as it is" in leveling.notes[0]


def test_the_limiter_changes_nothing_else():
    wave = make_speech(level=0.9)
    where = np.zeros(len(wave), bool)
    where[RATE : 2 * RATE] = True
    gain = loudness.limit_peaks(wave, RATE, where)
    assert (gain[~where] == 1).all() and (gain[where] < 1).any() and (gain > 0).all()
    assert (loudness.limit_peaks(0.1 * wave, RATE) == 1).all()
    limited = loudness.apply_gain(wave, loudness.limit_peaks(wave, RATE))
    assert ebur128.measure(limited, RATE)[1] <= -1.0
