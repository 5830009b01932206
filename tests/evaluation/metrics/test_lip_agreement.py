"""Agreement of speech with lips, on curves with known answers."""

import numpy as np
import pytest

from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack
from vssflow_jax.evaluation.metrics.lip_agreement import correlate_lips, measure_envelope

FRAMES, HOP, RATE = 100, 640, 16_000
OPENING = np.abs(np.sin(np.linspace(0, 9, FRAMES))) * np.linspace(0, 1, FRAMES)


def track_opening(opening, seen=None):
    measurements = np.zeros((len(opening), len(MEASUREMENTS)), np.float32)
    measurements[:, MEASUREMENTS.index("inner_opening")] = opening
    return LipTrack(measurements, np.ones(len(opening), bool) if seen is None else seen)


def sound_of(curve):
    return np.repeat(curve, HOP) * np.random.default_rng(0).normal(size=FRAMES * HOP)


def test_sound_that_is_louder_where_the_mouth_is_open_agrees():
    wave = sound_of(OPENING)
    assert correlate_lips(wave, RATE, track_opening(OPENING)) > 0.95
    assert correlate_lips(0.01 * wave, RATE, track_opening(3 * OPENING + 1)) > 0.95
    assert correlate_lips(wave, RATE, track_opening(1 - OPENING)) < -0.95
    assert correlate_lips(wave, RATE, track_opening(np.roll(OPENING, 25))) < 0.5


def test_frames_without_a_face_are_interpolated():
    seen = np.arange(FRAMES) % 20 >= 4
    track = track_opening(np.where(seen, OPENING, 9), seen)
    assert correlate_lips(sound_of(OPENING), RATE, track) > 0.9


def test_what_does_not_change_has_no_correlation():
    assert correlate_lips(np.zeros(FRAMES * HOP), RATE, track_opening(OPENING)) == 0
    assert correlate_lips(sound_of(OPENING), RATE, track_opening(np.ones(FRAMES))) == 0


def test_a_wave_is_silent_after_its_end():
    envelope = measure_envelope(sound_of(np.ones(FRAMES))[: FRAMES * HOP // 2], RATE, FRAMES)
    assert len(envelope) == FRAMES and envelope[:40] == pytest.approx(1, abs=0.1)
    assert not envelope[70:].any()
