"""Streams of unusual files: which one is read, and how long it lasts."""

import unicodedata
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import buckets, fixtures, odd_media
from helpers.odd_media import RATE, split_chunks, write_media

from vssflow_jax import media
from vssflow_jax.common import files
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import find_existing, upload_file
from vssflow_jax.media import reading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("raw.h264", {"container": "h264"}),
        ("raw.m4v", {"container": "m4v", "codec": "mpeg4"}),
        ("raw.mjpeg", {"container": "mjpeg", "codec": "mjpeg", "pixels": "yuvj420p"}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("av1.mp4", {"codec": "libsvtav1", "size": (64, 64)}),
        ("animation.gif", {"codec": "gif", "pixels": "rgb8"}),
        ("old.wmv", {"codec": "wmv2", "container": "asf"}),
        ("old.avi", {"codec": "mpeg4"}),
        ("flash.flv", {}),
        ("late.ts", {"container": "mpegts", "start": 3}),
        ("late.mkv", {"start": 90_000}),
        ("fragments.mp4", {"muxing": {"movflags": "frag_keyframe+empty_moov"}}),
        ("live.webm", {"codec": "libvpx-vp9", "muxing": {"live": "1"}}),
    ],
)
def test_the_length_is_that_of_the_frames(folder, name, settings):
    path = write_media(folder / name, **settings)
    info = media.probe(path)
    assert info.duration == pytest.approx(2.0, abs=0.021) and info.frames == 50
    assert media.read_video(path).frames.shape[0] == 50


@pytest.mark.parametrize("name", ["a.ts", "a.h264", "a.mkv", "a.avi", "a.webm"])
def test_a_span_is_a_part_of_the_frames(folder, name):
    container = {"ts": "mpegts", "h264": "h264"}.get(name.partition(".")[2])
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = write_media(folder / f"span_{name}", 100, container=container, codec=codec)
    frames = media.read_video(path).frames
    span = media.read_video(path, start=2.4, seconds=0.8)
    np.testing.assert_array_equal(span.frames, frames[60:80])


def test_the_video_is_the_default_one_or_the_first(folder):
    for number, (has_default, width) in enumerate(((False, 64), (True, 128))):
        path = folder / f"videos{number}.mkv"
        with av.open(str(path), "w") as file:
            streams = [file.add_stream("ffv1", rate=25) for _ in range(2)]
            for place, stream in enumerate(streams):
                stream.width, stream.height, stream.pix_fmt = 64 + 64 * place, 48, "yuv420p"
                is_default = has_default and place == 1
                stream.disposition = av.stream.Disposition(int(is_default))
            for stream in streams:
                for picture in fixtures.make_frames(2, stream.width, 48):
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        assert media.probe(path).width == width
        notes = media.plan_mux(path, folder / "o.mp4").notes
        assert f"{path}: left out of the output: 1 video tracks" in notes


@pytest.mark.parametrize(("shape", "width"), [((16, 11), 93), ((5000, 1), 64), ((1, 5000), 64)])
def test_pixels_of_a_shape_that_none_has_are_square(folder, shape, width):
    path = folder / f"shape{shape[0]}.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        for picture in fixtures.make_frames(2):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    data = path.read_bytes()
    place = data.index(b"pasp") + 4  # two numbers of four bytes
    shape_bytes = b"".join(number.to_bytes(4, "big") for number in shape)
    path.write_bytes(data[:place] + shape_bytes + data[place + 8 :])
    assert (media.probe(path).width, media.probe(path).height) == (width, 48)
    assert media.read_video(path).frames.shape == (2, 48, width, 3)


def test_frames_are_counted_where_the_rate_is_that_of_a_clock(folder):
    """Some programs write Matroska without the frames' length, which FFmpeg takes for 1 ms."""
    source = write_media(folder / "source.mkv", 2, codec="ffv1")
    path = folder / "clock.mkv"
    with av.open(str(source)) as opened, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(opened.streams.video[0], opaque=True)
        for packet in opened.demux(video=0):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    video = media.read_video(path)
    assert video.frames.shape[0] == 2 and not video.notes


@pytest.mark.parametrize("start", [95_400.0, 95_442.72])
def test_a_broadcast_clock_that_is_about_to_restart_is_no_length(folder, start):
    """Times of a transport stream restart after 26.5 h; FFmpeg puts those before it below 0."""
    sound = odd_media.make_click(2, [0.5, 1.5])
    track = ("aac", "mono", odd_media.split_chunks(sound, first=round(start * odd_media.RATE)))
    path = write_media(folder / f"clock{start}.ts", tracks=[track], start=start, container="mpegts")
    assert media.probe(path).duration == pytest.approx(2.0, abs=0.001)
    assert media.read_video(path).frames.shape[0] == 50
    recording = media.read_sound(path)
    assert odd_media.find_clicks(recording.wave) == pytest.approx([0.5, 1.5], abs=0.01)
    assert not recording.notes


def test_a_rate_of_a_clock_is_no_frame_rate(folder):
    path = write_media(folder / "a.dv", 5, codec="dvvideo", size=(720, 576))
    assert media.probe(path).fps == 25


def test_a_name_that_is_too_long_is_one_line(folder):
    with pytest.raises(InputError, match="File name too long, expected a media file"):
        media.probe(folder / ("x" * 300 + ".mp4"))


def test_joined_recordings_last_as_long_as_both(folder):
    track = ("aac", "mono", split_chunks(odd_media.make_click(2.0, [1.0]), size=1024))
    part = write_media(folder / "part.ts", 50, [track], "mpegts").read_bytes()
    joined = folder / "joined.ts"
    joined.write_bytes(part + part)
    assert media.probe(joined).duration == pytest.approx(4.0, abs=0.1)
    frames = media.read_video(joined).frames
    assert np.abs(frames[20].astype(int) - frames[70]).mean() < 3
    assert odd_media.find_clicks(media.read_audio(joined)) == pytest.approx([1.0, 3.0], abs=0.15)


def test_a_frame_larger_than_the_memory_is_one_line(folder):
    path = write_media(folder / "huge.mp4", muxing={"movflags": "frag_keyframe+empty_moov"})
    data = bytearray(path.read_bytes())
    sizes = data.find(b"trun") + 20  # behind the fragment's number of frames and its offsets
    data[sizes : sizes + 4] = (2**31 - 16).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"huge.mp4: cannot be read \(Cannot allocate memory\)"):
        media.read_video(path)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_a_few_damaged_pictures_are_held_and_counted(folder, name, codec):
    path = write_media(folder / f"whole_{name}", 100, codec=codec)
    frames = media.read_video(path).frames
    video = media.read_video(odd_media.damage_packets(path, "video", slice(40, 44)))
    assert video.notes == (
        f"{path}: found 4 packets of pictures that cannot be decoded: the pictures before them "
        "are held",
    )
    assert video.frames.shape == frames.shape
    np.testing.assert_array_equal(video.frames[:36], frames[:36])
    with pytest.raises(
        InputError, match="found 20 packets of pictures that cannot be decoded, and"
    ):
        media.read_video(odd_media.damage_packets(path, "video", slice(40, 60)))


def test_pictures_that_the_format_marks_as_damaged_are_counted(folder):
    path = write_media(folder / "marked.ts", 100, container="mpegts", size=(256, 192))
    data = bytearray(path.read_bytes())
    packets = range(len(data) // 376 * 188, len(data), 188)
    picture = next(start for start in packets if data[start + 1 : start + 3] == b"\x41\0")
    data[picture + 1] |= 0x80  # lost in transmission
    path.write_bytes(data)
    assert (
        f"{path}: found 1 packets of pictures that are marked as damaged: they may look wrong"
        in (media.read_video(path).notes)
    )


def test_a_picture_that_is_held_for_long_is_named(folder):
    numbers = [*range(10), *range(50, 60), *range(75, 80)]
    path = write_media(folder / "frozen.mkv", len(numbers), numbers=numbers)
    assert media.read_video(path).notes == (
        f"{path}: found no pictures from 0.40 to 2.00 s (the longest of 2 such gaps, 2.20 s in "
        "all): the one before is held",
    )
    assert not media.read_video(path, seconds=0.4).notes


def test_a_title_that_is_not_utf8_does_no_harm(folder):
    path = folder / "title.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        file.metadata["title"] = "a title here"
        frame = av.AudioFrame.from_ndarray(np.ones((1, RATE), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        file.mux([*stream.encode(frame), *stream.encode(None)])
    path.write_bytes(path.read_bytes().replace(b"a title here", "é".encode("latin-1") * 12))
    assert len(media.read_audio(path)) == RATE


def test_a_gap_of_hours_is_refused(folder):
    path = folder / "hours.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, picture in enumerate(fixtures.make_frames(4)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number + 250_000 * (number > 2), Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"hours\.mkv: found a gap of \d+ s"):
        media.probe(path)


def test_a_codec_without_decoder_is_named(folder):
    video = odd_media.rename_codec(write_media(folder / "v.mp4"), folder / "unknown.mp4", b"avc1")
    for read in (media.probe, media.read_video):
        with pytest.raises(InputError, match=r"unknown\.mp4: stream 0 \(video\): found codec zzzz"):
            read(video)
    track = ("pcm_s16le", "mono", split_chunks(fixtures.make_tone()))
    sound = write_media(folder / "s.mov", 50, [track])
    sound = odd_media.rename_codec(sound, folder / "unknown_sound.mp4", b"sowt")
    assert media.probe(sound).frames == 50
    with pytest.raises(
        InputError, match=r"unknown_sound\.mp4: stream 1 \(audio\): found codec zzz"
    ):
        media.read_audio(sound)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_track_without_packets_is_no_sound(folder, container):
    codec = "aac" if container == "mp4" else "pcm_s16le"
    path = write_media(folder / f"hollow.{container}", 50, [(codec, "mono", [])], container)
    assert not media.probe(path).has_audio
    with pytest.raises(InputError, match=r"without samples|no audio stream"):
        media.read_audio(path)


def write_picture(path, codec, pixels):
    return write_media(path, 1, container="image2", codec=codec, pixels=pixels)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.png", "png", "rgb24"), ("a.jpg", "mjpeg", "yuvj420p"), ("%03d.png", "png", "rgb24")],
)
def test_a_picture_is_a_still(folder, name, codec, pixels):
    path = folder / name
    source = write_picture(folder / f"b{name[1:]}".replace("%03d", "x"), codec, pixels)
    if source != path:
        path.write_bytes(source.read_bytes())
    assert media.probe(path).is_still
    gif = write_media(folder / "one.gif", 1, codec="gif", pixels="rgb8")
    assert media.probe(gif).is_still and not media.probe(write_media(folder / "m.mp4")).is_still


def write_song_with_cover(folder):
    picture = write_picture(folder / "cover.png", "png", "rgb24")
    path = folder / "song.mp3"
    with av.open(str(path), "w") as file, av.open(str(picture)) as cover:
        sound = file.add_stream("libmp3lame", rate=RATE, layout="mono")
        art = file.add_stream_from_template(cover.streams.video[0], opaque=True)
        art.disposition = av.stream.Disposition.attached_pic
        for packet in cover.demux():
            if packet.size:
                packet.stream = art
                file.mux(packet)
        frame = av.AudioFrame.from_ndarray(fixtures.make_tone()[None], "fltp", "mono")
        frame.sample_rate = RATE
        file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    return path


def test_a_cover_is_no_video(folder):
    song = write_song_with_cover(folder)
    with pytest.raises(InputError, match=r"song\.mp3: found a cover picture and no video stream"):
        media.probe(song)
    assert len(media.read_audio(song)) == pytest.approx(2 * RATE, abs=1500)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXTINF:2,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n"),
        ("local.m3u8", "#EXTM3U\n#EXTINF:2,\npart.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile part.ts\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"),
        ("art.nfo", "\x1b[31mtext\x1b[0m\n" * 50),
    ],
)
def test_files_that_name_others_are_refused(folder, name, content):
    write_media(folder / "part.ts", 50, container="mpegts")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=r"expected video or audio") as caught:
        media.probe(folder / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["clip:1.mp4", "http:x.mp4", "a%20b%d.mp4", "-x.mp4", "~x.mp4", "pipe:", "a?b#c.mp4"]
)
def test_names_are_never_addresses(folder, monkeypatch, name):
    track = ("aac", "mono", split_chunks(fixtures.make_tone()))
    source = write_media(folder / "named.mp4", 50, [track])
    monkeypatch.chdir(folder)
    (folder / name).write_bytes(source.read_bytes())
    assert media.probe(name).frames == 50
    assert len(media.read_audio(name)) == 2 * RATE
    media.mux(name, fixtures.make_tone(), RATE, f"out:{name}.mp4")
    assert media.probe(f"out:{name}.mp4").has_audio


def test_accents_match_in_either_form(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é/clip ü.mp4") for form in ("NFC", "NFD"))
    (tmp_path / apart).parent.mkdir()
    (tmp_path / apart).write_text("apart")
    assert find_existing(tmp_path / composed) == tmp_path / apart
    assert find_existing(tmp_path / "é/other.mp4").name == "other.mp4"
    (tmp_path / composed).parent.mkdir()
    (tmp_path / composed).write_text("composed")
    for path, text in ((composed, "composed"), (apart, "apart")):
        assert find_existing(tmp_path / path).read_text() == text


# ---- files in buckets ---------------------------------------------------------------------


def test_media_in_a_bucket_are_read_as_here_and_say_what_they_lack(tmp_path):
    media.write_wav(tmp_path / "tone.wav", fixtures.make_tone())
    fixtures.write_video(tmp_path / "in.mp4")
    tracks = [("libmp3lame", "mono", [(0, np.zeros((1, RATE), np.float32))])]
    write_media(tmp_path / "silence.mp3", pictures=0, tracks=tracks)
    data = (tmp_path / "tone.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    with buckets.bucket_in_process():
        for name in ("tone.wav", "cut.wav", "in.mp4", "silence.mp3"):
            here, there = tmp_path / name, f"gs://fake/media/{name}"
            upload_file(here, there)
            sound, copy = media.read_sound(here), media.read_sound(there)
            np.testing.assert_array_equal(copy.wave, sound.wave)
            assert copy.notes == tuple(note.replace(str(here), there) for note in sound.notes)
            assert bool(copy.notes) == (name == "cut.wav")
        pictures = media.read_video("gs://fake/media/in.mp4").frames
    np.testing.assert_array_equal(pictures, media.read_video(tmp_path / "in.mp4").frames)


def test_a_file_in_a_bucket_is_copied_once_for_each_reading(tmp_path, monkeypatch):
    copied, fetch = [], files.download_file

    def download_file(path, target):
        copied.append(str(path).rpartition("/")[2])
        fetch(path, target)

    monkeypatch.setattr(files, "download_file", download_file)
    fixtures.write_video(tmp_path / "in.mp4")
    media.write_wav(tmp_path / "tone.wav", fixtures.make_tone())
    with buckets.bucket_in_process():
        for name in ("tone.wav", "in.mp4"):
            upload_file(tmp_path / name, f"gs://fake/once/{name}")
        media.read_sound("gs://fake/once/tone.wav")
        media.read_video("gs://fake/once/in.mp4")
        media.read_video("gs://fake/once/in.mp4", start=1.0)
    assert copied == ["tone.wav", "in.mp4", "in.mp4"]


def test_times_of_packets_are_those_of_fractions_to_the_bit():
    rng = np.random.default_rng(0)
    for base in (Fraction(1, 12_800), Fraction(1001, 30_000), Fraction(1, 90_000), Fraction(3)):
        for ticks in map(int, rng.integers(-(2**52), 2**52, 200)):
            assert reading.to_seconds(ticks, base) == float(ticks * base)
