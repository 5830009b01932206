"""Small media files of kinds that people bring, written with real encoders."""

import os
from fractions import Fraction

import av
import numpy as np
from scipy.io import wavfile

from helpers import fixtures

RATE = 16_000
TONE = fixtures.make_tone


def write_media(path, pictures=50, tracks=(), container=None, codec="libx264", start=0, **settings):
    """A file of `pictures` frames at 25 a second and of audio tracks.

    Args:
      path: the file.
      pictures: how many; 0: no video stream.
      tracks: (codec, layout, chunks) each; chunks are (first sample, float32 [channels, n]).
      container: FFmpeg's name; None: by the ending.
      codec: of the video.
      start: seconds of the first picture.
      settings: `pixels`, `default` (index of the default track), `options` of the video's encoder,
        `muxing`: options of the container, `size`: (width, height), `numbers`: of the pictures, at
        25 a second, which have gaps.
    """
    muxing = settings.get("muxing", {})
    with av.open(f"file:{path}", "w", format=container, options=muxing) as file:
        packets = []
        streams = [_add_video(file, codec, settings)] if pictures else []
        audio = [file.add_stream(name, rate=RATE, layout=layout) for name, layout, _ in tracks]
        for number, stream in enumerate(audio):
            if settings.get("default") is not None:
                is_default = number == settings["default"]
                flag = av.stream.Disposition.default
                stream.disposition = flag if is_default else av.stream.Disposition(0)
        for stream in streams:
            width, height = settings.get("size", (64, 48))
            numbers = settings.get("numbers", range(pictures))
            frames = fixtures.make_frames(pictures, width, height)
            for number, picture in zip(numbers, frames, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number + round(25 * start), Fraction(1, 25)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for stream, (_, layout, chunks) in zip(audio, tracks, strict=True):
            for first, samples in chunks:
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples, np.float32), "fltp", layout
                )
                frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        if not packets:
            file.start_encoding()
        if codec == "libsvtav1":  # it takes realtime priority where it may, and all others wait
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            file.mux(packet)
    return path


def _add_video(file, codec, settings):
    stream = file.add_stream(codec, rate=25)
    stream.width, stream.height = settings.get("size", (64, 48))
    stream.pix_fmt = settings.get("pixels", "yuv420p")
    stream.options = settings.get("options", {})
    return stream


def split_chunks(wave, first=0, size=1000):
    """Chunks of a wave [n] or [channels, n] from sample `first` on."""
    wave = np.atleast_2d(wave)
    return [(first + k, wave[:, k : k + size]) for k in range(0, wave.shape[1], size)]


def make_click(seconds, at):
    """float32 [n]: silence with a click at each second of `at`."""
    wave = np.zeros(round(seconds * RATE), np.float32)
    for second in at:
        wave[round(second * RATE) :][:100] = 0.9
    return wave


def find_clicks(wave, rate=RATE):
    """Seconds at which clicks start, to a hundredth."""
    loud = np.flatnonzero(np.abs(wave) > 0.3)
    starts = loud[np.diff(loud, prepend=-rate) > rate // 10]
    return [round(float(start) / rate, 2) for start in starts]


def write_float_wav(path, wave):
    """A wav of 32-bit floats [n] or [n, channels], as they are."""
    wavfile.write(path, RATE, np.asarray(wave, np.float32))
    return path


def rename_codec(source, path, tag):
    """A copy of an mp4 in which no decoder knows the codec that has this tag."""
    path.write_bytes(source.read_bytes().replace(tag, b"zzzz"))
    return path


def damage_packets(path, kind, numbers):
    """Overwrites some of the packets of a file's first stream of a kind, "audio" or "video"."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(**{kind: 0}) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[numbers]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    return path
