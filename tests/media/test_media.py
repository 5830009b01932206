"""Reading and writing of media: frames, sound, sound tracks, and broken files."""

import av
import numpy as np
import pytest
from helpers import fault_cases, fixtures

from vssflow_jax import media
from vssflow_jax.common.errors import InputError, disk_error


def read_packets(path, kind):
    with av.open(str(path)) as container:
        stream = container.streams.get({kind: 0})
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def test_video_comes_back_as_it_was_written(tmp_path):
    frames = fixtures.make_frames(50)
    media.write_video(tmp_path / "a.mp4", frames, 25, fixtures.make_tone())
    video = media.read_video(tmp_path / "a.mp4")
    assert video.frames.shape == frames.shape and video.frames.dtype == np.uint8
    assert video.duration == pytest.approx(2.0) and video.scale == (1.0, 1.0)
    # Colour is stored at half resolution, so edges differ; frames must not be swapped.
    assert np.abs(video.frames.astype(int) - frames).mean() < 6
    errors = np.abs(video.frames[20].astype(int) - frames).mean((1, 2, 3))
    assert errors.argmin() == 20


def test_sound_stays_in_time_to_the_sample(tmp_path):
    wave = np.zeros(32_000, np.float32)
    wave[16_000] = 0.9
    media.write_video(tmp_path / "a.mp4", fixtures.make_frames(50), 25, wave)
    sound = media.read_audio(tmp_path / "a.mp4")
    assert sound.dtype == np.float32 and len(sound) == len(wave)
    assert abs(int(np.abs(sound).argmax()) - 16_000) <= 1


def test_wav_comes_back_exactly(tmp_path):
    pcm = np.array([0, 1, -1, 32767, -32768, 123], np.int16)
    media.write_wav(tmp_path / "a.wav", pcm)
    np.testing.assert_array_equal(media.to_int16(media.read_audio(tmp_path / "a.wav")), pcm)


def test_sound_is_resampled_and_mixed_to_mono(tmp_path):
    media.write_wav(tmp_path / "a.wav", fixtures.make_tone(1.0, sample_rate=44_100), 44_100)
    sound = media.read_audio(tmp_path / "a.wav")
    assert abs(len(sound) - 16_000) <= 1
    spectrum = np.abs(np.fft.rfft(sound[2000:14_000]))
    assert spectrum.argmax() * 16_000 / 12_000 == pytest.approx(440, abs=2)


def test_a_span_of_a_file_is_a_part_of_it(tmp_path):
    path = fixtures.write_video(tmp_path / "a.mp4", 3.0)
    video, sound = media.read_video(path), media.read_audio(path)
    part = media.read_video(path, start=1.2, seconds=0.8)
    np.testing.assert_array_equal(part.frames, video.frames[30:50])
    np.testing.assert_array_equal(
        media.read_audio(path, start=1.2, seconds=0.8), sound[19_200:32_000]
    )


@pytest.mark.parametrize("rate", [10, 25, 24, 50])
def test_frames_are_the_newest_at_their_time(tmp_path, rate):
    frames = np.repeat(np.arange(40, dtype=np.uint8)[:, None, None, None] * 6, 32, 1)
    frames = np.repeat(np.repeat(frames, 32, 2), 3, 3)
    media.write_video(tmp_path / "a.mp4", frames, 30)
    read = media.read_video(tmp_path / "a.mp4", rate=rate)
    assert len(read.frames) == round(40 / 30 * rate)
    shown = np.round(read.frames.mean((1, 2, 3)) / 6)
    expected = np.floor(np.arange(len(shown)) * 30 / rate + 0.01)
    np.testing.assert_array_equal(shown, np.minimum(expected, 39))


@pytest.mark.parametrize("name", fixtures.REAL_VIDEOS)
def test_mux_copies_the_packets_of_real_videos(tmp_path, name):
    source = fixtures.find_real_video(name)
    wave = fixtures.make_tone(3.0)
    media.mux(source, wave, 16_000, tmp_path / "out.mp4")
    assert read_packets(tmp_path / "out.mp4", "video") == read_packets(source, "video")
    with av.open(str(tmp_path / "out.mp4")) as output, av.open(str(source)) as original:
        assert [stream.type for stream in output.streams] == ["video", "audio"]
        seconds = [
            float(s.duration * s.time_base) for s in (*output.streams, original.streams.video[0])
        ]
    assert seconds == pytest.approx([seconds[2]] * 3, abs=0.001)
    sound = media.read_audio(tmp_path / "out.mp4")
    middle = slice(8000, 40_000)
    assert np.corrcoef(sound[middle], wave[middle])[0, 1] > 0.99
    assert np.abs(sound[50_000:]).max() < 0.01, "silence after the wave's end"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_real_videos_are_read_at_their_length_and_shape():
    expected = {"carphone_pristine.mp4": (100, 144, 193), "bikes.mp4": (250, 109, 256)}
    for name, shape in expected.items():
        video = media.read_video(fixtures.find_real_video(name))
        assert video.frames.shape == (*shape, 3)
        assert media.probe(fixtures.find_real_video(name)).duration == pytest.approx(video.duration)


def test_a_rotated_video_is_read_upright(tmp_path):
    """Phones store frames as the sensor sees them, with a flag that rotates them."""
    source = fixtures.write_video(tmp_path / "a.mp4", 0.4, sound=False)
    rotated = fault_cases.write_rotated(source, tmp_path / "b.mp4")
    video, stored = media.read_video(rotated), media.read_video(source)
    np.testing.assert_array_equal(video.frames, np.rot90(stored.frames, -1, (1, 2)))


def test_large_frames_shrink_while_they_are_read():
    video = media.read_video(fixtures.find_real_video("bigbuckbunny.mp4"), max_side=64, seconds=0.4)
    assert video.frames.shape == (10, 36, 64, 3)
    assert video.scale == pytest.approx((0.05, 0.05))


# ---- broken files ----------------------------------------------------------------------


def write_broken(folder):
    """Paths of bad inputs with a word of the message that each must give."""
    good = fixtures.write_video(folder / "good.mp4", 2.0)
    (folder / "text.mp4").write_text("this is not a film\n" * 100)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(good.read_bytes()[:500])
    media.write_wav(folder / "sound.mp4", fixtures.make_tone())
    return {
        "gone.mp4": "no such file",
        "text.mp4": "not a media file",
        "empty.mp4": "empty",
        "cut.mp4": "truncated",
        "sound.mp4": "no video stream",
        ".": "not a file",
    }


def test_a_video_that_ends_after_its_index_is_truncated(tmp_path):
    path = fixtures.write_video(tmp_path / "cut.mp4", 2.0)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 8])
    with pytest.raises(InputError, match=r"no video frames.*truncated"):
        media.read_video(path)


def test_bad_videos_are_named(tmp_path):
    for name, word in write_broken(tmp_path).items():
        for read in (media.read_video, media.probe):
            with pytest.raises(InputError, match=word) as caught:
                read(tmp_path / name)
            assert name in str(caught.value) or name == "."
            assert "expected" in str(caught.value) and "\n" not in str(caught.value)


def write_faststart(path, out):
    """Copies an mp4 with its header in front."""
    options = {"movflags": "faststart"}
    with av.open(str(path)) as source, av.open(str(out), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out


def test_a_video_cut_behind_its_header_names_the_counts(tmp_path):
    source = write_faststart(fixtures.find_real_video("bikes.mp4"), tmp_path / "whole.mp4")
    assert len(media.read_video(source, seconds=1).frames) == 25
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut.mp4: truncated: found \d+ frames .* expected 250"):
        media.read_video(cut)


def test_a_silent_video_has_no_audio(tmp_path):
    path = fixtures.write_video(tmp_path / "a.mp4", 0.4, sound=False)
    assert not media.probe(path).has_audio
    with pytest.raises(InputError, match="no audio stream"):
        media.read_audio(path)


def test_a_failed_mux_leaves_nothing(tmp_path):
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(InputError):
        media.mux(tmp_path / "text.mp4", fixtures.make_tone(), 16_000, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


@pytest.mark.parametrize("write", ["video", "mux", "wav"])
def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, monkeypatch, write):
    source = fixtures.write_video(tmp_path / "source.mp4", 2.0)
    out = tmp_path / "out.mp4"
    partial = out.with_name(f".{out.name}.1.partial")
    monkeypatch.setattr("vssflow_jax.common.files.os.getpid", lambda: 1)
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        if write == "video":
            media.write_video(out, fixtures.make_frames(200), 25, fixtures.make_tone(8))
        elif write == "mux":
            media.mux(source, fixtures.make_tone(), 16_000, out)
        else:
            media.write_wav(out, fixtures.make_tone())
    assert disk_error(caught.value) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_a_video_without_frames_is_named(tmp_path, kind):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    for read in (media.probe, media.read_video):
        with pytest.raises(InputError, match=r"none\.mp4: .*expected"):
            read(path)


def write_matroska(path, tag, pictures=50, seconds=6.0):
    """An mkv whose sound is longer than its pictures, with or without the streams' durations."""
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for frame in fixtures.make_frames(pictures):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(fixtures.make_tone(seconds)[None], "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    if not tag:  # as a browser's recorder writes it
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"XXXXXXXX"))
    return path


@pytest.mark.parametrize("tag", [True, False])
def test_the_length_is_that_of_the_video_stream(tmp_path, tag):
    path = write_matroska(tmp_path / "a.mkv", tag)
    assert media.probe(path).duration == pytest.approx(2.0, abs=0.05)
    assert media.read_video(path).frames.shape[0] == 50
    assert len(media.read_audio(path)) == pytest.approx(96_000, abs=2048)
    media.mux(path, fixtures.make_tone(), 16_000, tmp_path / "out.mp4")
    assert read_packets(tmp_path / "out.mp4", "video") == read_packets(path, "video")
    np.testing.assert_array_equal(
        media.read_video(tmp_path / "out.mp4").frames, media.read_video(path).frames
    )


def test_a_frame_may_last_long(tmp_path):
    """Frames of unequal length, the last one far longer than the mean."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.max_b_frames = 0
        for number, picture in enumerate(fixtures.make_frames(11)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = 75 if number == 10 else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = media.read_video(path)
    assert len(video.frames) in (76, 77)
    still = np.abs(np.diff(video.frames[9:75].astype(int), axis=0))
    assert not still.any()
