import librosa
import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax import conditions, media
from vssflow_jax.codecs import mel
from vssflow_jax.common.errors import InputError
from vssflow_jax.features import face_mesh, lips, registry, speaker, thumbnails
from vssflow_jax.preparation import examples


def voice(seed=0, seconds=2.0, pitch=120.0):
    """Harmonics in syllables, with noise: float32, like a voice to the statistics."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * pitch * (time + 0.005 * np.sin(2 * np.pi * time))
    wave = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = np.sin(2 * np.pi * 2 * time) ** 2
    return (0.1 * wave * envelope + 0.003 * generator.normal(size=time.shape)).astype(np.float32)


# ---- pixels -------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(128, 128), (144, 193), (16, 16), (7, 250)])
def test_thumbnails_are_area_averages_within_range(height, width):
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    thumbs = thumbnails.make_thumbnails(frames)
    assert thumbs.shape == (3, 768) and thumbs.dtype == np.float32
    assert np.abs(thumbs).max() <= 1
    mean = thumbs.reshape(3, 256, 3).mean(1)
    np.testing.assert_allclose(mean, frames.mean((1, 2)) / 127.5 - 1, atol=1e-3)
    for value in (0, 255):
        plain = np.full((1, height, width, 3), value, np.uint8)
        np.testing.assert_allclose(thumbnails.make_thumbnails(plain), value / 127.5 - 1, atol=1e-5)


def test_thumbnails_of_whole_blocks_are_their_means():
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    blocks = frames.reshape(2, 16, 2, 16, 4, 3).mean((2, 4)).reshape(2, 768) / 127.5 - 1
    np.testing.assert_allclose(thumbnails.make_thumbnails(frames), blocks, atol=1e-5)


def test_a_still_picture_has_no_differences():
    thumbs = thumbnails.make_thumbnails(np.repeat(fixtures.make_frames(1), 5, 0))
    assert not thumbnails.subtract_previous(thumbs).any()
    moving = thumbnails.make_thumbnails(fixtures.make_frames(5))
    summed = np.cumsum(thumbnails.subtract_previous(moving), 0) / thumbnails.GAIN
    np.testing.assert_allclose(summed, moving - moving[0], atol=1e-5)


# ---- lips ---------------------------------------------------------------------------------


def test_a_crop_shows_the_box_and_nothing_else():
    frames = np.zeros((2, 100, 100, 3), np.uint8)
    frames[:, 40:60, 20:50] = 255
    inside = lips.crop_mouth(frames, (20, 40, 50, 60))
    assert inside.shape == (2, 1024) and inside.dtype == np.float32
    np.testing.assert_allclose(inside, 1, atol=1e-5)
    np.testing.assert_allclose(lips.crop_mouth(frames, (60, 0, 90, 30)), -1, atol=1e-5)
    half = lips.crop_mouth(frames, (5, 40, 35, 60)).reshape(2, 32, 32)
    assert (half[:, :, :15] < -0.9).all() and (half[:, :, 17:] > 0.9).all()


def test_boxes_may_move_and_reach_over_the_edge():
    frames = fixtures.make_frames(3)
    boxes = np.array([[0, 0, 20, 20], [5, 5, 25, 25], [-10, -10, 20, 20]], float)
    crops = lips.crop_mouth(frames, boxes)
    for t in range(2):
        np.testing.assert_array_equal(crops[t], lips.crop_mouth(frames[t : t + 1], boxes[t])[0])
    assert np.isfinite(crops).all()


EMPTY = [(10, 10, 10, 20), (20, 10, 10, 20), (200, 0, 220, 20), (0, -9, 9, -1)]


@pytest.mark.parametrize("box", EMPTY)
def test_an_empty_box_is_an_error(box):
    with pytest.raises(InputError, match="mouth box"):
        lips.crop_mouth(fixtures.make_frames(2), box)


# ---- speaker ------------------------------------------------------------------------------


def test_the_mel_analysis_is_the_codecs():
    np.testing.assert_allclose(speaker.filterbank(), mel.mel_filterbank(), atol=1e-7)
    wave = voice()
    np.testing.assert_allclose(speaker.log_mel(wave), mel.log_mel(wave, speaker.FLOOR), atol=2e-3)
    bank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64, fmin=0, fmax=8000)
    np.testing.assert_allclose(speaker.filterbank(), bank, atol=1e-7)


def test_the_embedding_does_not_hear_loudness_or_pauses():
    wave = voice()
    embedding = speaker.embed_speaker(wave)
    assert embedding.shape == (256,) and embedding.dtype == np.float32
    np.testing.assert_allclose(speaker.embed_speaker(wave * 0.1), embedding, atol=0.01)
    pause = np.zeros(16_000, np.float32)
    paused = speaker.embed_speaker(np.concatenate([pause, wave, pause]))
    other = speaker.embed_speaker(voice(1, pitch=210.0))
    distance = lambda a, b: float(np.mean((a - b) ** 2))  # noqa: E731
    assert distance(paused, embedding) < 0.2 * distance(other, embedding)


SILENT = [np.zeros(16_000), np.full(16_000, 5e-4), np.zeros(0), voice()[:800]]


@pytest.mark.parametrize("wave", SILENT)
def test_silence_and_scraps_are_no_voice(wave):
    with pytest.raises(InputError, match="speaker audio: found"):
        speaker.embed_speaker(wave)


def test_the_voiced_part_is_found():
    wave = np.zeros(64_000, np.float32)
    wave[16_000:48_000] = voice()
    start, end = speaker.find_voiced_span(wave)
    assert start == pytest.approx(1.0, abs=0.05) and end == pytest.approx(3.0, abs=0.05)
    assert speaker.find_voiced_span(np.zeros(32_000, np.float32)) == (0.0, 2.0)


# ---- all of them --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 25, 49, 100])
def test_conditions_have_the_shapes_of_the_schema(count):
    frames = fixtures.make_frames(count)
    made = registry.encode_example(frames, voice(), (5, 5, 25, 25))
    for encoder in registry.BUILT_IN:
        condition = conditions.BY_NAME[encoder.condition]
        assert encoder.width == condition.width
        rows = conditions.num_frames(condition.name, count / 25, encoder.rate)
        shape = (condition.width,) if encoder.rate is None else (rows, condition.width)
        assert made[condition.name].shape == shape
        assert made[condition.name].dtype == np.float16
    assert made.keys() == {name for name in conditions.NAMES if name != "phonemes"}


def test_what_is_missing_is_absent():
    frames = fixtures.make_frames(10)
    assert registry.encode_example(frames).keys() == {"clip", "sync"}
    assert registry.encode_example(speaker_wave=voice()).keys() == {"speaker"}
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
    held, said = examples.encode_video(
        fixtures.find_real_video(name), None, window, examples.ExampleSettings(), speaks=speaks
    )
    monkeypatch.setattr(examples, "MAX_SECONDS_IN_MEMORY", 1.0)
    monkeypatch.setattr(media, "read_video", None)
    again, said_again = examples.encode_video(
        fixtures.find_real_video(name), None, window, examples.ExampleSettings(), speaks=speaks
    )
    assert said == said_again and held.keys() == again.keys() and ("lips" in held) == speaks
    for condition, features in held.items():
        np.testing.assert_array_equal(features, again[condition])


def test_statistics_of_earlier_versions_name_the_built_in_set():
    assert registry.read_encoder_set({}) == "built-in"
    assert registry.read_encoder_set({"encoders": "embedded"}) == "built-in"
    old = {"encoders": "clip=published,sync=embedded"}
    assert registry.read_encoder_set(old) == "clip=published,sync=built-in"
