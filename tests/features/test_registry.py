"""Encoders of conditions: shapes, rates, hashes, sets."""

import numpy as np
import pytest
from helpers import fixtures
from helpers.fixtures import make_voice

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack
from vssflow_jax.features import face_mesh, registry
from vssflow_jax.preparation import examples


@pytest.mark.parametrize("count", [1, 25, 49, 100])
def test_conditions_have_the_shapes_of_the_schema(count):
    frames = fixtures.make_frames(count)
    example = registry.encode_example(frames, make_voice(), (5, 5, 25, 25))
    for encoder in registry.BUILT_IN:
        condition = conditions.BY_NAME[encoder.condition]
        assert encoder.width == condition.width
        rows = conditions.num_frames(condition.name, count / 25, encoder.rate)
        shape = (condition.width,) if encoder.rate is None else (rows, condition.width)
        assert example[condition.name].shape == shape
        assert example[condition.name].dtype == np.float16
    assert example.keys() == {name for name in conditions.NAMES if name != "phonemes"}


def test_bundled_lips_are_geometry_and_need_landmarks():
    frames = fixtures.make_frames(10)
    bundled = {"encoder_set": "lips=bundled"}
    assert registry.encode_example(frames, None, (5, 5, 25, 25), **bundled) == {}
    track = LipTrack(np.ones((8, len(MEASUREMENTS)), np.float32), np.ones(8, bool))
    (features,) = registry.encode_example(frames, lips=track, **bundled).values()
    assert features.shape == (10, registry.LIP_GEOMETRY.width)
    assert registry.needs_landmarks("bundled") and not registry.needs_landmarks("built-in")
    assert registry.select_frame_side("bundled") == 640
    assert registry.select_frame_side("built-in") == 256
    assert registry.select_frame_side("speaker=bundled,clip=built-in") == 256
    assert registry.select_frame_side("speaker=bundled") == 256  # of no encoder


def test_what_is_missing_is_absent():
    frames = fixtures.make_frames(10)
    assert registry.encode_example(frames).keys() == {"clip", "sync"}
    assert registry.encode_example(speaker_wave=make_voice()).keys() == {"speaker"}
    assert registry.encode_example() == {}
    with pytest.raises(InputError, match="expected one of"):
        registry.encode_example(frames, encoder_set="embeded")


def test_slow_rates_take_the_frame_on_show():
    rows = np.arange(25)[:, None]
    taken = registry.hold_at_rate(rows, 25.0, 10.0, 10)[:, 0]
    np.testing.assert_array_equal(taken, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22])
    np.testing.assert_array_equal(registry.hold_at_rate(rows, 25.0, 25.0, 25), rows)


def test_a_change_of_an_encoder_changes_its_hash():
    first = registry.BUILT_IN[0]
    hashes = {e.hash for e in registry.BUILT_IN}
    assert len(hashes) == len(registry.BUILT_IN)
    assert registry.Encoder(**{**vars(first), "version": first.version + 1}).hash not in hashes


@pytest.mark.parametrize("name", ["carphone_pristine.mp4", "bigbuckbunny.mp4"])
def test_long_clips_pictures_are_decoded_again_and_not_held(name, monkeypatch):
    """The conditions are those of a clip whose pictures are all in memory."""
    window = examples.Window(id="x", start=1.0, frames=50)
    speaks = name.startswith("carphone") and face_mesh.is_available()
    held = examples.encode_video(
        fixtures.find_real_video(name), None, window, examples.ExampleSettings(), speaks=speaks
    )
    monkeypatch.setattr(examples, "MAX_SECONDS_IN_MEMORY", 1.0)
    monkeypatch.setattr(media, "read_video", None)
    again = examples.encode_video(
        fixtures.find_real_video(name), None, window, examples.ExampleSettings(), speaks=speaks
    )
    assert held.meta == again.meta and held.features.keys() == again.features.keys()
    assert ("lips" in held.features) == (held.lips is not None) == speaks
    for condition, features in held.features.items():
        np.testing.assert_array_equal(features, again.features[condition])


class ReadFrames(list):
    """Frames in place of those of a file."""

    scale, notes = (1.0, 1.0), ()


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_two_ends_of_a_loop_are_neighbors(tmp_path, monkeypatch, in_memory):
    """The conditions of pictures that are shifted round are those of the loop, shifted round."""
    monkeypatch.setattr(examples, "MAX_SECONDS_IN_MEMORY", 10.0 if in_memory else 0.0)
    frames = np.random.default_rng(0).integers(0, 255, (50, 8, 8, 3)).astype(np.uint8)
    window = examples.Window(id="x", start=0.0, frames=50, wrap=25)
    loops = []
    for shift in (0, 20):
        reader = [np.roll(frames, shift, axis=0)[k] for k in range(50)]
        monkeypatch.setattr(media, "FrameReader", lambda *_, r=reader, **__: ReadFrames(r))
        loops.append(examples.encode_video("in.mp4", None, window, examples.ExampleSettings()))
    one, two = (loop.features for loop in loops)
    assert {name: len(rows) for name, rows in one.items()} == {"clip": 20, "sync": 50}
    np.testing.assert_array_equal(np.roll(one["clip"], 8, axis=0), two["clip"])
    np.testing.assert_array_equal(np.roll(one["sync"], 20, axis=0), two["sync"])
    assert np.abs(one["sync"][0]).max() > 0


def test_a_loop_holds_the_last_picture_of_a_shorter_video():
    loop = examples.LoopFrames([np.uint8(k) for k in range(3)], count=5, wrap=2)
    assert list(loop) == list(loop) == [2, 2, 0, 1, 2, 2, 2, 0, 1]


def test_a_bundled_set_has_built_in_encoders_where_none_is_bundled():
    built_in = dict.fromkeys(("clip", "speaker", "lips", "sync"), "built-in")
    assert registry.name_encoders("built-in") == built_in
    bundled = {"speaker": "bundled", "lips": "bundled"}
    assert registry.name_encoders("bundled") == built_in | bundled
    for condition, encoder in (("clip", "thumbnails"), ("speaker", "d-vector")):
        chosen = f"{condition}=bundled"
        assert [one.name for one in registry.select_encoders(chosen)] == [encoder]
    assert registry.name_encoders("sync=bundled") == {"sync": "built-in"}


def test_statistics_of_earlier_versions_name_the_built_in_set():
    assert registry.read_encoder_set({}) == "built-in"
    assert registry.read_encoder_set({"encoders": "embedded"}) == "built-in"
    old = {"encoders": "clip=published,sync=embedded"}
    assert registry.read_encoder_set(old) == "clip=published,sync=built-in"
