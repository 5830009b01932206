"""Pitch: measured in a wave, on its grid, and as pulses."""

import jax
import numpy as np
import pytest

from vssflow_jax.codecs import pitch

FRAMES = 60


def pulses(track):
    """A wave of pulses that follow a pitch, [1, T * 160]."""
    track = np.asarray(track, np.float32)[None]
    return jax.jit(lambda x: pitch.make_pulses(x, pitch.pitch_phase(x)))(track)


@pytest.mark.parametrize("hertz", [60.0, 97.3, 211.0, 480.0])
def test_the_pitch_of_pulses_is_measured(hertz):
    measured, voiced = jax.jit(pitch.measure_pitch)(0.05 * pulses(np.full(FRAMES, hertz)))
    assert voiced[0, 5:-5].all()
    np.testing.assert_allclose(measured[0, 5:-5], hertz, rtol=3e-3)


def test_a_gliding_pitch_is_measured_at_the_centers_of_frames():
    track = np.geomspace(110, 180, FRAMES)
    measured, voiced = jax.jit(pitch.measure_pitch)(0.05 * pulses(track))
    assert voiced[0, 5:-5].all()
    np.testing.assert_allclose(measured[0, 5:-5], track[5:-5], rtol=5e-3)


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).standard_normal((1, 160 * FRAMES)).astype(np.float32)
    for wave in (0.1 * noise, 0 * noise):
        assert np.mean(jax.jit(pitch.measure_pitch)(wave)[1]) < 0.05


def test_a_sum_of_cosines_is_one():
    cycles = np.random.default_rng(0).uniform(-3, 3, 50).astype(np.float32)
    cycles[:3] = 0, 1, -2
    expected = sum(np.cos(2 * np.pi * k * cycles.astype(np.float64)) for k in range(1, 13))
    np.testing.assert_allclose(pitch.sum_cosines(cycles, 12.0), expected, atol=2e-3)


def test_pulses_of_a_part_go_on_in_the_phase_of_the_rest():
    track = np.geomspace(90, 200, FRAMES).astype(np.float32)[None]
    phase = jax.jit(pitch.pitch_phase)(track)
    full = jax.jit(pitch.make_pulses)(track, phase)
    part = jax.jit(pitch.make_pulses)(track[:, 20:40], phase[:, 20:40])
    np.testing.assert_allclose(part[:, 160:-160], full[:, 21 * 160 : 39 * 160], atol=0.1)
    steps = np.diff(np.unwrap(2 * np.pi * np.asarray(phase[0], np.float64)) / (2 * np.pi))
    expected = 0.5 * (track[0, 1:] + track[0, :-1]) / 100
    np.testing.assert_allclose((steps - expected) % 1.0 % 0.999, 0, atol=2e-3)


def test_the_likeliest_pitch_of_a_label_is_its_pitch():
    track = np.asarray([[56.0, 123.4, 333.3, 640.0]], np.float32)
    logits = np.log(np.asarray(pitch.pitch_labels(track)) + 1e-9)
    cents = 1200 * np.log2(np.asarray(pitch.likeliest_pitch(logits)) / track)
    assert np.abs(cents).max() < 5
