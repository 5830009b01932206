import numpy as np
from helpers.paths import GOLDEN
from safetensors.numpy import load_file

from vssflow_jax.encoders import dvector
from vssflow_jax.features import registry


def hum(pitch: float, seconds: float, seed: int = 0) -> np.ndarray:
    """A buzzing tone with noise, float32 [n] at 16 kHz."""
    time = np.arange(round(seconds * dvector.SAMPLE_RATE)) / dvector.SAMPLE_RATE
    harmonics = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.1 * harmonics + 0.003 * noise).astype(np.float32)


def test_quiet_waves_are_amplified_and_loud_ones_are_left_alone():
    wave = hum(120, 1.0)
    np.testing.assert_array_equal(dvector.amplify(wave), wave)
    quiet = dvector.amplify(wave * 1e-3)
    assert abs(20 * np.log10(np.sqrt(np.mean(quiet**2))) - dvector.LOUDNESS) < 0.01


def test_windows_cover_the_wave_and_the_last_one_is_mostly_wave():
    for samples in (100, 16_000, 25_600, 38_000, 70_000, 160_001):
        starts = dvector.find_starts(samples)
        assert starts[0] == 0 and set(np.diff(starts)) <= {dvector.WINDOW_STEP}
        filled = (samples - starts[-1] * dvector.HOP) / (dvector.WINDOW * dvector.HOP)
        assert filled >= dvector.COVERAGE or len(starts) == 1
        windows = dvector.split_windows(np.zeros(samples, np.float32))
        assert windows.shape == (len(starts), dvector.WINDOW, 40)


def test_pauses_are_cut_out():
    pause = np.zeros(2 * dvector.SAMPLE_RATE, np.float32)
    wave = np.concatenate([hum(120, 1.5), pause, hum(120, 1.5)])
    speech = dvector.cut_pauses(wave, dvector.find_speech(wave))
    assert 3.0 < len(speech) / dvector.SAMPLE_RATE < 3.6


def embed(wave: np.ndarray) -> np.ndarray:
    return registry.encode_example(speaker_wave=wave, encoder_set="bundled")["speaker"]


def test_bundled_set_embeds_speakers_with_the_weights_of_the_package():
    low, low_again, high = hum(100, 2.5), hum(102, 2.0, seed=1), hum(240, 2.5)
    a, b, c = (embed(wave).astype(float) for wave in (low, low_again, high))
    assert a.shape == (256,)
    assert abs(np.linalg.norm(a) - 1) < 2e-3 and a.min() >= 0
    assert a @ b > a @ c


def test_loudness_and_silence_around_speech_matter_little():
    speech = load_file(GOLDEN / "dvector.safetensors")
    wave = (speech["in.wave_0"] / 32768).astype(np.float32)
    usual = embed(wave).astype(float)
    assert usual @ embed(0.02 * wave).astype(float) > 0.999
    assert usual @ embed(np.pad(wave, (16_000, 8_000))).astype(float) > 0.97
    assert usual @ speech["out.embed_0"] > 0.9  # which has its pauses cut by webrtcvad


def test_bundled_set_is_the_built_in_one_with_other_encoders_of_speaker_and_lips():
    built_in = {e.condition: e.hash for e in registry.select_encoders("built-in")}
    bundled = {e.condition: e.hash for e in registry.select_encoders("bundled")}
    assert {name for name in built_in if built_in[name] != bundled[name]} == {"speaker", "lips"}
