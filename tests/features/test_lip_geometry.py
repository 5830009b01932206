"""Geometry of lips: the same for a face at any place, size and angle, and for real talkers."""

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax.corpus import build
from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack
from vssflow_jax.features import face_mesh, face_tracking, lip_geometry
from vssflow_jax.preparation import examples

FRAMES = 40
needs_networks = pytest.mark.skipif(
    not face_mesh.is_available(), reason="the face finder is not installed"
)
# A face with its eyes 100 apart and an open mouth; x to the right, y down, per landmark.
FACE = {
    33: (0, 0), 263: (100, 0), 2: (50, 50), 0: (50, 66), 13: (50, 74), 14: (50, 94), 17: (50, 106),
    61: (20, 84), 291: (80, 82), 78: (26, 84), 308: (74, 82), 82: (38, 76), 87: (38, 92),
    312: (62, 76), 317: (62, 92),
}  # fmt: skip
EXPECTED = {
    "inner_opening": 0.20, "side_opening": 0.16, "outer_opening": 0.40, "inner_width": 0.48,
    "outer_width": 0.60, "right_corner": 0.02, "left_corner": 0.04, "upper_lip": 0.08,
    "lower_lip": 0.12, "drop": 0.56,
}  # fmt: skip


def make_mouth(points, seen=None):
    seen = np.ones(len(points), bool) if seen is None else seen
    points = np.where(seen[:, None, None], points, np.nan)
    frames = len(points)
    empty = np.zeros((frames, 4)), seen, np.zeros((frames, 2)), np.zeros((frames, 2, 2))
    return face_tracking.MouthTrack(*empty, points)


def make_points():
    face = np.array([FACE[number] for number in face_tracking.LANDMARKS], float)
    return np.tile(face, (FRAMES, 1, 1))


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (0.31, 0.0), (2.0, 25.0)])
def test_measurements_do_not_depend_on_place_size_and_angle(scale, degrees):
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    moving = np.linspace(0, 50, FRAMES)[:, None, None]
    track = lip_geometry.measure_lips(make_mouth(make_points() @ rotation * scale + moving))
    expected = [EXPECTED[name] for name in MEASUREMENTS]
    np.testing.assert_allclose(track.measurements, np.tile(expected, (FRAMES, 1)), atol=1e-5)
    assert track.seen.all()


def test_channels_are_measurements_their_changes_and_whether_a_face_was_seen():
    measurements = np.zeros((FRAMES, len(MEASUREMENTS)), np.float32)
    measurements[:, 0] = 0.01 * np.arange(FRAMES)
    measurements[:, 4] = 0.6
    seen = np.ones(FRAMES, bool)
    seen[10:14] = False
    measurements[10:14] = 99  # of no meaning
    features = lip_geometry.encode_lips(LipTrack(measurements, seen))
    assert features.shape == (FRAMES, lip_geometry.WIDTH) == (FRAMES, len(lip_geometry.CHANNELS))
    column = dict(zip(lip_geometry.CHANNELS, features.T, strict=True))
    np.testing.assert_allclose(column["inner_opening"], 0.1 * np.arange(FRAMES), atol=1e-5)
    np.testing.assert_allclose(column["inner_opening_change"], 0.25, atol=1e-5)
    assert not column["outer_width"].any() and not column["outer_width_change"].any()
    np.testing.assert_array_equal(column["seen"], seen)


def test_a_single_frame_does_not_change():
    track = LipTrack(np.ones((1, len(MEASUREMENTS)), np.float32), np.ones(1, bool))
    assert np.isfinite(lip_geometry.encode_lips(track)).all()


@needs_networks
def test_the_tracker_sees_drawn_lips_move_as_they_were_drawn():
    settings = build.CorpusSettings(clips=9, seed=3)
    example = build.make_example(build.plan_corpus(settings)[0], settings)
    tracked = lip_geometry.measure_lips(face_tracking.track_mouth(example.frames)).measurements
    drawn = example.lips.measurements
    for name, least in (("inner_opening", 0.7), ("outer_opening", 0.7), ("outer_width", 0.3)):
        column = MEASUREMENTS.index(name)
        assert np.corrcoef(drawn[:, column], tracked[:, column])[0, 1] > least


@needs_networks
def test_a_real_talker_opens_and_closes_the_mouth():
    window = examples.Window(id="x", start=0.0, frames=100)
    settings = examples.ExampleSettings(encoder_set="lips=bundled")
    video = fixtures.find_real_video("carphone_pristine.mp4")
    record = examples.encode_video(video, None, window, settings, speaks=True).features
    features = record["lips"].astype(float)
    assert features.shape == (100, lip_geometry.WIDTH) and features[:, -1].all()
    opening = features[:, 0]
    assert -0.1 < opening.min() < 0.1 and 3.0 < opening.max() < 4.0
    assert 0.5 < features[:, 0].std() < 1.5 and 0.5 < features[:, 10].std() < 1.5
    assert "lips" not in examples.encode_video(video, None, window, settings).features
