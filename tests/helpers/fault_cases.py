"""Damaged and unusual media files, written with real encoders."""

import fractions
import os
import shutil

import av
import numpy as np

from helpers import fixtures, odd_media
from vssflow_jax import media

QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def write_video(path, frames, times=None, rate=25, kind="yuv420p", sound=None, sample_rate=16_000,
          layout="mono"):  # fmt: skip
    """An mp4 of `frames` (None: no pictures) with `sound` float32 [channels, n] (None: none).

    `times` in seconds, one a frame, makes the rate of the frames vary.
    """
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        streams = []
        if frames is not None:
            stream = container.add_stream("libx264", rate=rate)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt, stream.options = kind, {"preset": "ultrafast"}
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
            pictures = [av.VideoFrame.from_ndarray(frame, "rgb24") for frame in frames]
            for number, picture in enumerate(pictures):
                picture.pts = round(1000 * (number / rate if times is None else times[number]))
                picture.time_base = fractions.Fraction(1, 1000)
            streams.append((stream, pictures))
        if sound is not None:
            stream = container.add_stream("aac", rate=sample_rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", layout)
            frame.sample_rate, frame.pts = sample_rate, 0
            streams.append((stream, [frame]))
        for stream, units in streams:
            for unit in units:
                container.mux(stream.encode(unit))
            container.mux(stream.encode(None))
    return path


def write_rotated(source, path):
    """A copy of an mp4 with the rotation flag that phones write: a quarter turn when shown."""
    data = bytearray(source.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # the track's matrix: 16.16, 16.16, 2.30 fixed point
    data[start : start + 36] = b"".join(
        value.to_bytes(4, "big", signed=True) for value in QUARTER_TURN
    )
    path.write_bytes(data)
    return path


def write_faulty_folder(folder):
    """Fills a folder with files that `prepare` reads or skips.

    Returns the seconds of each clip that is read, and a part of the reason for each that is
    skipped, both by path within the folder without the ending.
    """
    folder.mkdir()
    plain = fixtures.write_video(folder / "plain.mp4", 2.0)
    seconds_of = {"plain": 2.0}
    seconds_of |= write_unusual_media(folder, plain)
    seconds_of |= write_unusual_names(folder, plain)
    reasons = write_unusable_media(folder, plain)
    for name in ("spoken", "mumbled"):
        shutil.copy(plain, folder / f"{name}.mp4")
    (folder / "spoken.txt").write_text("set blue at g nine\nnow\n")
    (folder / "mumbled.txt").write_bytes(b"caf\xe9")
    media.write_wav(folder / "voice.wav", fixtures.make_tone())
    (folder / "voice.txt").write_text("place red in a two please")
    (folder / "notes.md").write_text("these are my films")
    seconds_of |= {"spoken": 2.0, "voice": 2.0}
    return seconds_of, reasons | {"mumbled": "mumbled.txt: not UTF-8"}


def write_unusual_media(folder, plain):
    """Rates, sizes, channels and lengths that are read; returns their seconds by name."""
    frames, tone = fixtures.make_frames, fixtures.make_tone
    for name in fixtures.REAL_VIDEOS:
        shutil.copy(fixtures.find_real_video(name), folder)
    times = np.cumsum([0, *np.random.default_rng(0).uniform(0.01, 0.12, 39)])
    write_video(folder / "uneven.mp4", frames(40), times, sound=tone(times[-1])[None])
    write_rotated(plain, folder / "rotated.mp4")
    narrow = tone(2.0, 440, 8000)[None]
    write_video(folder / "narrow.mp4", frames(50), sound=narrow, sample_rate=8000)
    surround = np.stack([0.4 * tone(2.0, 110 * (k + 1), 48_000) for k in range(6)])
    write_video(folder / "wide.mp4", frames(50), sound=surround, sample_rate=48_000, layout="5.1")
    fixtures.write_video(folder / "mute.mp4", 2.0, sound=False)
    fixtures.write_video(folder / "long.mp4", 65.0)
    write_video(folder / "huge.mp4", frames(10, 3840, 2160), sound=tone(0.4)[None])
    write_video(folder / "odd sizes.mp4", frames(50, 65, 49), kind="yuv444p", sound=tone()[None])
    odd_media.write_media(folder / "hollow.mkv", 50, [("pcm_s16le", "mono", [])])
    odd_media.write_media(folder / "late.ts", 50, container="mpegts", start=3)
    odd_media.write_media(folder / "vp9.webm", 50, codec="libvpx-vp9")
    names = ("rotated", "narrow", "wide", "mute", "odd sizes", "hollow", "late", "vp9")
    seconds_of = dict.fromkeys(names, 2.0)
    seconds_of |= {"carphone_pristine": 4.0, "bikes": 10.0, "bigbuckbunny": 5.28, "huge": 0.4}
    return seconds_of | {"long": 65.0, "uneven": round((times[-1] + 0.04) * 25) / 25}


def write_unusual_names(folder, plain):
    """Copies of a video under names that are hard to handle; returns their seconds by name."""
    names = ["Müller — 視頻 🎬", "x" * 251, 'it\'s "quoted"', "two\nlines", "..", "..dots..", " "]
    for name in names:
        shutil.copy(plain, folder / f"{name}.mp4")
    shutil.copy(plain, os.fsencode(folder) + b"/not \xff text.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "sub" / "sub").mkdir(parents=True)
    shutil.copy(plain, folder / "sub" / "sub" / "plain.MP4")
    return dict.fromkeys([*names, "not \udcff text", "sub/sub/plain"], 2.0)


def write_unusable_media(folder, plain):
    """Files that are skipped; returns a part of the reason by name."""
    shutil.copy(plain, folder / "truncated.mp4")
    os.truncate(folder / "truncated.mp4", plain.stat().st_size // 2)
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("this is not a film\n" * 99)
    (folder / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(50_000))
    write_video(folder / "blind.mp4", None, sound=fixtures.make_tone()[None])
    fixtures.write_video(folder / "blink.mp4", 0.1)
    odd_media.rename_codec(plain, folder / "unknown.mp4", b"avc1")
    nan = odd_media.write_float_wav(folder / "nan.wav", np.full(16_000, np.nan))
    nan.with_suffix(".txt").write_text("set blue at g nine now")
    write_video(folder / "long cut.mp4", fixtures.make_frames(1625))
    os.truncate(folder / "long cut.mp4", (folder / "long cut.mp4").stat().st_size * 2 // 3)
    (folder / "nowhere.mp4").symlink_to("gone.mp4")
    return {
        "truncated": "truncated: found",
        "zero": "the file is empty",
        "text": "not a media file",
        "noise": "not a media file",
        "long cut": "(its first 4 windows are kept)",
        "blind": "no video stream",
        "blink": "expected at least 0.2 s",
        "nowhere": "no such file",
        "unknown": "found codec zzzz, which cannot be decoded here",
        "nan": "samples that are not finite numbers",
    }
