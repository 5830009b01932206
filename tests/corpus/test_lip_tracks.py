"""Tracks of drawn lips: near what is drawn, with errors like those of real tracks."""

import numpy as np
import pytest

from vssflow_jax.corpus import face, lip_tracks, visemes, voices
from vssflow_jax.data.lip_track import MEASUREMENTS

LOOK = voices.load_voices("espeak").voices[0].look
SYMBOLS = ("M", "AA1", "P", "IY1", "F", "OW1", "S", "AE1")
SOUNDS = [(0.4 + 0.15 * k, 0.55 + 0.15 * k, symbol) for k, symbol in enumerate(SYMBOLS)]
SHAPES = visemes.trace_mouth(SOUNDS, 100, 25.0)


def track(seed, shapes=SHAPES):
    return lip_tracks.track_lips(LOOK, shapes, np.random.default_rng(seed))


def test_measurements_are_those_of_the_picture():
    """The outer edges of the lips, in pixels of a large mouth."""
    scale = 8.0
    eyes = 2 * (face.WIDE * LOOK.build * face.EYE_X + face.EYE_RADIUS) * scale
    for opened, width in ((0.0, 0.0), (0.9, -0.2), (0.5, 0.9), (0.3, -0.9)):
        shape = np.array([opened, width, 0.0, 0.0, 0.0])
        drawn = np.asarray(face.draw_mouth(LOOK, scale, shape))[..., 3] > 127
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        (measured,) = face.measure_mouth(LOOK, shape[None])
        at = dict(zip(MEASUREMENTS, measured, strict=True))
        closed_line = 2 * face.CLOSED * scale / eyes
        assert np.ptp(rows) / eyes == pytest.approx(at["outer_opening"] + closed_line, abs=0.01)
        assert np.ptp(columns) / eyes == pytest.approx(at["outer_width"], abs=0.01)
        bottom = (rows[-1] / scale - face.MOUTH_UP + face.MOUTH_Y - face.NOSE_Y) * scale / eyes
        assert bottom - closed_line / 2 == pytest.approx(at["drop"], abs=0.01)


def test_a_closed_mouth_is_not_open():
    (rest,) = face.measure_mouth(LOOK, np.zeros((1, 5)))
    assert rest[0] == rest[1] == 0.0


def test_a_track_depends_on_its_random_numbers_alone():
    np.testing.assert_array_equal(track(1).measurements, track(1).measurements)
    assert np.abs(track(1).measurements - track(2).measurements).max() > 0.01


def test_tracks_follow_the_drawn_mouth():
    exact = face.measure_mouth(LOOK, SHAPES)
    correlations = [
        [np.corrcoef(x, y)[0, 1] for x, y in zip(exact.T, track(seed).measurements.T, strict=True)]
        for seed in range(20)
    ]
    median = dict(zip(MEASUREMENTS, np.median(correlations, 0), strict=True))
    for name in ("inner_opening", "side_opening", "outer_opening", "drop"):
        assert median[name] > 0.8
    assert median["inner_width"] > 0.7


def test_lips_at_rest_wobble_as_measured_on_a_real_talker():
    rest = [track(seed, np.zeros((100, 5))).measurements for seed in range(60)]
    jitter = np.median([np.std(np.diff(x, n=2, axis=0), 0) / np.sqrt(6) for x in rest], 0)
    spread = np.median([x.std(0) for x in rest], 0)
    for name, low, high in (("outer_opening", 0.005, 0.02), ("outer_width", 0.002, 0.008)):
        assert low < jitter[MEASUREMENTS.index(name)] < high
    assert 0.008 < spread[MEASUREMENTS.index("outer_opening")] < 0.03
    inner = np.array(rest)[..., 0]
    assert inner.min() >= 0 and 0.01 < np.median(inner) < 0.04


def test_faces_are_lost_in_some_clips_for_a_moment():
    missing = np.array([(~track(seed).seen).sum() for seed in range(200)])
    assert missing.max() <= lip_tracks.MAX_GAP
    assert 0.1 < (missing > 0).mean() < 0.4
