"""New sound for videos: what each container copies, encodes and how long it lasts."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import fault_cases, fixtures
from helpers.odd_media import RATE, find_clicks, make_click, write_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError

VIDEOS = {
    "h264.mp4": {},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "av1.mp4": {"codec": "libsvtav1", "size": (64, 64)},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "animation.gif": {"codec": "gif", "pixels": "rgb8"},
    "old.wmv": {"codec": "wmv2", "container": "asf"},
    "old.avi": {"codec": "mpeg4"},
    "ordered.avi": {"codec": "libx264"},
    "raw.h264": {"container": "h264"},
    "late.ts": {"container": "mpegts", "start": 3},
    "odd.mp4": {"pixels": "yuv444p", "size": (65, 49)},
    "lossless.mkv": {"codec": "ffv1"},
}
OUTPUTS = ("o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.webm", "o.avi", "o.ts")
COPIED = {
    "h264.mp4": {"o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.ts"},
    "late.ts": {"o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.ts"},
    "odd.mp4": {"o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.ts"},
    "hevc.mkv": {"o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.ts"},
    "av1.mp4": {"o.mp4", "o.m4v", "o.mkv", "o.webm"},
    "vp9.webm": {"o.mp4", "o.m4v", "o.mkv", "o.webm"},
    "old.avi": {"o.mp4", "o.MOV", "o.m4v", "o.mkv"},
    "ordered.avi": {"o.mp4", "o.MOV", "o.m4v", "o.mkv", "o.ts"},
    "lossless.mkv": {"o.mkv"},
}
AUDIO = {"webm": "opus", "avi": "pcm_s16le"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, settings in VIDEOS.items():
        write_media(folder / name, **settings)
    return folder


def describe_streams(path):
    """By type: codec, tag, first and last second; both streams decoded to their ends."""
    out = {}
    for kind in ("video", "audio"):
        with av.open(str(path)) as file:
            stream = file.streams.get({kind: 0})[0]
            times = [frame.time for frame in file.decode(stream)]
            end = times[-1] + (0.04 if kind == "video" else 0)
            context = stream.codec_context
            out[kind] = (context.codec.canonical_name, context.codec_tag, times[0], end)
    return out


@pytest.mark.parametrize(("source", "name"), list(itertools.product(VIDEOS, OUTPUTS)))
def test_every_video_into_every_container(folder, tmp_path, source, name):
    notes = media.mux(folder / source, make_click(2, [1]), RATE, tmp_path / name)
    copied = name in COPIED.get(source, ())
    assert len(notes) == (not copied)
    if notes:
        encoder = "VP9" if name == "o.webm" else "H.264"
        assert f"{source}: encoded again as {encoder}: " in notes[0]
    info, streams = media.probe(tmp_path / name), describe_streams(tmp_path / name)
    assert info.has_audio and info.duration == pytest.approx(2, abs=0.05)
    assert streams["audio"][0] == AUDIO.get(name[2:].lower(), "aac")
    assert abs(streams["video"][2] - streams["audio"][2]) < 0.07
    assert abs(streams["video"][3] - streams["audio"][3]) < 0.15
    assert find_clicks(media.read_audio(tmp_path / name)) == pytest.approx([1], abs=0.02)
    frames = media.read_video(tmp_path / name).frames
    expected = media.read_video(folder / source).frames
    assert len(frames) == pytest.approx(len(expected), abs=1)
    for number in (0, 25, 48):
        difference = np.abs(frames[number, :48, :64].astype(int) - expected[number, :48, :64])
        assert difference.mean() < (20 if source.endswith("gif") else 9)  # dithered
    if source == "hevc.mkv" and name in ("o.mp4", "o.MOV", "o.m4v"):
        assert streams["video"][1] == "hvc1"


@pytest.mark.parametrize("name", ["o.mp4", "o.m4v", "o.MOV"])
def test_a_player_can_begin_before_it_has_the_whole_file(folder, tmp_path, name):
    """The index comes before the data."""
    media.mux(folder / "h264.mp4", make_click(2, [1]), RATE, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", ["o.mp3", "o.txt", "o.wav", "o", "o.mp4.part", "o.flv"])
def test_other_suffixes_are_refused_before_anything_is_written(folder, tmp_path, name):
    for write in (
        lambda: media.plan_mux(folder / "h264.mp4", tmp_path / name),
        lambda: media.mux(folder / "h264.mp4", make_click(2, [1]), RATE, tmp_path / name),
    ):
        with pytest.raises(InputError, match=r"found the suffix .* \.mp4 .*\.webm"):
            write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_the_sound_lasts_as_long_as_asked(folder, tmp_path, name, seconds):
    wave = make_click(seconds, [seconds - 0.3])
    source = folder / ("vp9.webm" if name == "o.webm" else "h264.mp4")
    plan = media.plan_mux(source, tmp_path / name, seconds)
    notes = media.mux(source, wave, RATE, tmp_path / name)
    assert notes == plan.notes
    words = "the last picture is held" if seconds == 3 else "silence follows the sound"
    assert words in notes[-1] and f"{source}: found 2.00 s of video" in notes[-1]
    assert media.probe(tmp_path / name).duration == pytest.approx(max(seconds, 2.0), abs=0.05)
    sound = media.read_audio(tmp_path / name)
    assert find_clicks(sound) == pytest.approx([seconds - 0.3], abs=0.02)
    assert len(sound) == pytest.approx(max(seconds, 2.0) * RATE, abs=2200)
    frames = media.read_video(tmp_path / name).frames
    if seconds == 3:
        assert np.abs(frames[-1].astype(int) - frames[52]).mean() < 3


@pytest.mark.parametrize(("name", "codec"), [("a.png", "png"), ("a.gif", "gif")])
def test_a_picture_is_held_for_the_whole_sound(tmp_path, name, codec):
    container = "image2" if codec == "png" else None
    pixels = "rgb24" if codec == "png" else "rgb8"
    write_media(tmp_path / name, 1, codec=codec, pixels=pixels, container=container)
    notes = media.mux(tmp_path / name, make_click(4, [3.5]), RATE, tmp_path / "o.mp4")
    assert "the last picture is held" in notes[-1]
    assert media.probe(tmp_path / "o.mp4").duration == pytest.approx(4, abs=0.05)
    assert find_clicks(media.read_audio(tmp_path / "o.mp4")) == [3.5]


@pytest.mark.parametrize("start", [0, 1.6, 1000])
@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.ts"])
def test_pictures_and_sound_start_together(tmp_path, start, name):
    source = write_media(tmp_path / "in.mkv", start=start)
    assert not media.mux(source, make_click(2, [1]), RATE, tmp_path / name)
    assert find_clicks(media.read_audio(tmp_path / name)) == pytest.approx([1], abs=0.02)
    np.testing.assert_array_equal(
        media.read_video(tmp_path / name).frames, media.read_video(source).frames
    )
    with av.open(str(tmp_path / name)) as file:
        starts = [float(stream.start_time * stream.time_base) for stream in file.streams]
    assert abs(starts[0] - starts[1]) < 0.1


def test_a_rotated_video_stays_upright(tmp_path):
    plain = fixtures.write_video(tmp_path / "a.mp4", 0.4, sound=False)
    source = fault_cases.write_rotated(plain, tmp_path / "b.mp4")
    upright = media.read_video(source).frames
    for name in ("o.mp4", "o.mov", "o.webm", "o.avi"):
        media.mux(source, make_click(0.4, [0.2]), RATE, tmp_path / name)
        frames = media.read_video(tmp_path / name).frames
        assert frames.shape == upright.shape
        assert np.abs(frames.astype(int) - upright).mean() < 9


@pytest.mark.parametrize("rate", [44_100, 22_050, 48_000])
def test_sample_rates_that_opus_lacks(folder, tmp_path, rate):
    tone = fixtures.make_tone(2, 440, rate)
    media.mux(folder / "vp9.webm", tone, rate, tmp_path / "o.webm")
    spectrum = np.abs(np.fft.rfft(media.read_audio(tmp_path / "o.webm")[8000:24_000]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)


def test_uneven_times_are_kept(tmp_path):
    times = np.cumsum([0, *np.random.default_rng(0).uniform(0.02, 0.3, 19)])
    source = fault_cases.write_video(tmp_path / "a.mp4", fixtures.make_frames(20), times)
    assert not media.mux(source, make_click(2, [1]), RATE, tmp_path / "o.mkv")[1:]
    np.testing.assert_array_equal(
        media.read_video(tmp_path / "o.mkv").frames[:60], media.read_video(source).frames[:60]
    )


# ---- stereo ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.webm", "o.avi"])
def test_the_track_has_the_rate_and_the_channels_of_the_wave(folder, tmp_path, name):
    left = fixtures.make_tone(2.0, 440.0, 48_000)
    wave = np.stack([left, np.zeros_like(left)], 1)
    media.mux(folder / "h264.mp4", wave, 48_000, tmp_path / name)
    with av.open(str(tmp_path / name)) as file:
        (stream,) = file.streams.audio
        assert (stream.rate, stream.channels) == (48_000, 2)
    back = media.read_audio(tmp_path / name, 48_000, channels=2)
    quiet = np.abs(back[4800:-4800]).mean(0)
    assert quiet[0] > 0.2 and quiet[1] < 0.02 * quiet[0]


def test_a_stereo_wav_comes_back_as_it_was_written(tmp_path):
    wave = np.random.default_rng(0).integers(-9999, 9999, (480, 2)).astype(np.int16)
    media.write_wav(tmp_path / "a.wav", wave, 48_000)
    back = media.read_audio(tmp_path / "a.wav", 48_000, channels=2)
    np.testing.assert_array_equal(media.to_int16(back), wave)


@pytest.mark.parametrize("name", OUTPUTS)
def test_sound_just_behind_the_last_picture_is_kept(folder, tmp_path, name):
    source = folder / ("vp9.webm" if name == "o.webm" else "h264.mp4")
    notes = media.mux(source, make_click(2.035, [2.02]), RATE, tmp_path / name)
    assert not any("is held" in note for note in notes)
    sound = media.read_audio(tmp_path / name)
    assert find_clicks(sound) == pytest.approx([2.02], abs=0.01) and len(sound) >= 2.034 * RATE


def test_pictures_that_no_encoder_takes_are_refused_before_anything_is_written(tmp_path):
    source = write_media(tmp_path / "wide.mkv", 2, codec="ffv1", size=(16_400, 2))
    assert media.plan_mux(source, tmp_path / "o.mkv").copies
    for name, seconds in (("o.mp4", None), ("o.mkv", 1.0)):
        with pytest.raises(
            InputError, match=r"found 16400 x 2 pixels, expected at most 16384 a side"
        ):
            media.plan_mux(source, tmp_path / name, seconds)


def test_what_else_a_video_holds_is_named(folder, tmp_path):
    source = tmp_path / "more.mkv"
    with av.open(str(folder / "h264.mp4")) as video, av.open(str(source), "w") as file:
        chapter = {"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000)}
        file.set_chapters([chapter | {"metadata": {"title": "one"}}])
        template = video.streams.video[0]
        tracks = [file.add_stream_from_template(template) for _ in range(2)]
        for packet in video.demux(template):
            if packet.size:
                packet.stream = tracks[0]
                file.mux(packet)
    notes = media.mux(source, make_click(2, [1]), RATE, tmp_path / "o.mp4")
    assert notes == (f"{source}: left out of the output: 1 video tracks, its chapters",)


# ---- comments and subtitles ---------------------------------------------------------------

SUBTITLES = (media.Subtitle(0.25, 0.75, "[Anna] Grüße"), media.Subtitle(1.0, 1.9, "<b> & {x}"))


def read_subtitles(path):
    with av.open(str(path)) as file:
        (stream,) = file.streams.subtitles
        packets = [packet for packet in file.demux(stream) if packet.size]
    texts = [bytes(p)[2:] if path.suffix in (".mp4", ".mov") else bytes(p) for p in packets]
    times = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
    return [(*time, text.decode()) for time, text in zip(times, texts, strict=True) if text]


@pytest.mark.parametrize("source", ["h264.mp4", "animation.gif"])
@pytest.mark.parametrize("name", ["o.mp4", "o.mov", "o.mkv", "o.webm"])
def test_a_subtitle_track_and_a_comment(folder, tmp_path, source, name):
    metadata = media.Metadata(comment="generated: ü", subtitles=SUBTITLES)
    media.mux(folder / source, make_click(2, [1]), RATE, tmp_path / name, metadata=metadata)
    expected = [(0.25, 0.5, "[Anna] Grüße"), (1.0, 0.9, "<b> & {x}")]
    for subtitle, (start, seconds, text) in zip(
        read_subtitles(tmp_path / name), expected, strict=True
    ):
        assert subtitle[:2] == pytest.approx((start, seconds), abs=0.002) and subtitle[2] == text
    with av.open(str(tmp_path / name)) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    assert tags["comment"] == "generated: ü"
    assert media.probe(tmp_path / name).duration == pytest.approx(2, abs=0.05)


def test_containers_without_comments_or_subtitles(folder, tmp_path):
    wave, source = make_click(2, [1]), folder / "h264.mp4"
    notes = media.mux(source, wave, RATE, tmp_path / "o.ts", metadata=media.Metadata(comment="a"))
    assert len(notes) == 1 and "hold no tag" in notes[0]
    media.mux(source, wave, RATE, tmp_path / "o.avi", metadata=media.Metadata(comment="a"))
    with av.open(str(tmp_path / "o.avi")) as file:
        assert file.metadata["comment"] == "a"
    for name in ("x.ts", "x.avi"):
        with pytest.raises(InputError, match="without subtitle tracks"):
            metadata = media.Metadata(subtitles=SUBTITLES)
            media.mux(source, wave, RATE, tmp_path / name, metadata=metadata)
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("comment", ["odd", "even", "generated: ü"])
def test_the_comment_of_a_wav(tmp_path, comment):
    wave = fixtures.make_tone(0.5)
    media.write_wav(tmp_path / "plain.wav", wave)
    media.write_wav(tmp_path / "tagged.wav", wave, comment=comment)
    with av.open(str(tmp_path / "tagged.wav")) as file:
        assert file.metadata["comment"] == comment
    plain, tagged = ((tmp_path / name).read_bytes() for name in ("plain.wav", "tagged.wav"))
    assert tagged[8 : len(plain)] == plain[8:]
    assert int.from_bytes(tagged[4:8], "little") == len(tagged) - 8
    back = media.read_sound(tmp_path / "tagged.wav")
    assert len(back.wave) == len(wave) and not back.notes
