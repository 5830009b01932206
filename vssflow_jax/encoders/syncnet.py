"""SyncNet: mouth and voice as vectors whose distance says how well they fit; the LSE scores.

Source: "Out of Time: Automated Lip Sync in the Wild", Chung and Zisserman 2016, in the version that
github.com/joonson/syncnet_python publishes; LSE-D and LSE-C: "A Lip Sync Expert Is All You Need",
Prajwal et al. 2020 (arXiv 2008.10010).

Legend: N windows of five frames (0.2 s), n samples, T columns of MFCC, W windows of a clip, D
length of the vectors.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.fft import dct
from scipy.signal import medfilt

from vssflow_jax.encoders.layers import BatchNorm

VIDEO_RATE, SAMPLE_RATE = 25, 16_000
SIDE = 224  # of a picture
FRAMES = 5  # of a window
COEFFICIENTS, COLUMNS = 13, 20  # of the MFCC of a window
COLUMNS_A_FRAME = 4
MAX_SHIFT = 15  # frames either way in which the best fit is looked for
SHIFT_EPSILON = 1e-6  # added to each component of a difference
FRAME, HOP, FFT_SIZE, BANDS = 400, 160, 512, 26  # of the MFCC, in samples
EMPHASIS, LIFTER = 0.97, 22
MIN_ENERGY = np.finfo(float).eps  # in place of 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyncnetConfig:
    """Size of the network.

    Attributes:
      lip_widths: channels of the six convolutions of the lips' tower.
      sound_widths: of the sound's tower.
      width: D.
    """

    lip_widths: tuple[int, ...] = (96, 256, 256, 256, 256, 512)
    sound_widths: tuple[int, ...] = (64, 192, 384, 256, 256, 512)
    width: int = 1024


# ---- inputs -------------------------------------------------------------------------------


@functools.cache
def band_edges() -> np.ndarray:
    """Bins of the spectrum at which the triangles begin, peak and end: int [28]."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    return np.floor((FFT_SIZE + 1) * hertz / SAMPLE_RATE).astype(int)


@functools.cache
def filterbank() -> np.ndarray:
    """Triangles whose edges are bins, of height 1: float64 [26, 257]."""
    bank, edges = np.zeros((BANDS, FFT_SIZE // 2 + 1)), band_edges()
    for band, (low, peak, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        bank[band, low:peak] = (np.arange(low, peak) - low) / (peak - low)
        bank[band, peak:high] = (high - np.arange(peak, high)) / (high - peak)
    return bank


def compute_mfcc(samples: np.ndarray) -> np.ndarray:
    """MFCC as python_speech_features computes it: int16 [n] at 16 kHz -> float64 [13, T].

    The samples count as integers. Frames have no window; the first begins at the first sample.
    """
    wave = np.asarray(samples, np.float64)
    wave = np.concatenate([wave[:1], wave[1:] - EMPHASIS * wave[:-1]])
    count = 1 + max(-(-(len(wave) - FRAME) // HOP), 0)
    wave = np.pad(wave, (0, (count - 1) * HOP + FRAME - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames, FFT_SIZE)) ** 2 / FFT_SIZE

    def log(x):
        return np.log(np.where(x == 0, MIN_ENERGY, x))

    cepstrum = dct(log(power @ filterbank().T), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = log(power.sum(1))
    return cepstrum.T


def split_sound(mfcc: np.ndarray, windows: int) -> np.ndarray:
    """Windows of an MFCC [13, T], one a frame of the video: float32 [W, 13, 20]."""
    starts = COLUMNS_A_FRAME * np.arange(windows)
    return np.stack([mfcc[:, start : start + COLUMNS] for start in starts]).astype(np.float32)


def count_windows(frames: int, samples: int) -> int:
    """Windows of a clip that the scores take, one fewer than would fit; may be 0 or less."""
    return min(frames, samples * VIDEO_RATE // SAMPLE_RATE) - FRAMES


# ---- network ------------------------------------------------------------------------------


def _layer(x: jax.Array, name: str, width: int, kernel: Sequence[int], **options) -> jax.Array:
    """Convolution, batch norm, ReLU."""
    x = nn.Conv(width, kernel, padding=options.pop("padding", "VALID"), name=name, **options)(x)
    return nn.relu(BatchNorm(name=f"{name}_norm")(x))


def _pool(x: jax.Array, stride: Sequence[int], padding="VALID") -> jax.Array:
    return nn.max_pool(x, (3, 3), stride, padding)


class Tower(nn.Module):
    """The last layers of both towers: [N, C] -> [N, D]."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = nn.relu(BatchNorm(name="norm")(nn.Dense(x.shape[-1], name="in")(x)))
        return nn.Dense(self.width, name="out")(hidden)


class LipTower(nn.Module):
    """Five pictures [N, 5, 224, 224, 3] to vectors [N, D].

    Pictures are float32 of the bytes, 0 to 255, in the order blue, green, red.
    """

    config: SyncnetConfig

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        widths = self.config.lip_widths
        x = _layer(frames, "conv_0", widths[0], (FRAMES, 7, 7), strides=(1, 2, 2))[:, 0]
        x = _pool(x, (2, 2))
        x = _layer(x, "conv_1", widths[1], (5, 5), strides=(2, 2), padding=1)
        x = _pool(x, (2, 2), ((1, 1), (1, 1)))
        for number in (2, 3, 4):
            x = _layer(x, f"conv_{number}", widths[number], (3, 3), padding=1)
        x = _pool(x, (2, 2))
        x = _layer(x, "conv_5", widths[5], (6, 6))
        return Tower(self.config.width, name="tower")(x[:, 0, 0])


class SoundTower(nn.Module):
    """MFCC [N, 13, 20] to vectors [N, D]."""

    config: SyncnetConfig

    @nn.compact
    def __call__(self, mfcc: jax.Array) -> jax.Array:
        widths = self.config.sound_widths
        x = _layer(mfcc[..., None], "conv_0", widths[0], (3, 3), padding=1)
        x = _layer(x, "conv_1", widths[1], (3, 3), padding=1)
        x = _pool(x, (1, 2))
        for number in (2, 3, 4):
            x = _layer(x, f"conv_{number}", widths[number], (3, 3), padding=1)
        x = _pool(x, (2, 2))
        x = _layer(x, "conv_5", widths[5], (5, 4))
        return Tower(self.config.width, name="tower")(x[:, 0, 0])


class Syncnet(nn.Module):
    """Both towers; `__call__` runs through both, for initialization."""

    config: SyncnetConfig

    def setup(self):
        self.lips = LipTower(self.config)
        self.sound = SoundTower(self.config)

    def encode_lips(self, frames: jax.Array) -> jax.Array:
        """Pictures [N, 5, 224, 224, 3] -> vectors [N, D]."""
        return self.lips(frames)

    def encode_sound(self, mfcc: jax.Array) -> jax.Array:
        """MFCC [N, 13, 20] -> vectors [N, D]."""
        return self.sound(mfcc)

    def __call__(self, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The vectors of pictures and of silence."""
        return self.encode_lips(frames), self.encode_sound(jnp.zeros((1, COEFFICIENTS, COLUMNS)))


# ---- scores -------------------------------------------------------------------------------


class LseScores(NamedTuple):
    """Lip sync error of a clip.

    Attributes:
      distance: LSE-D, the mean distance at the best shift; lower is better.
      confidence: LSE-C, how far it lies below the median over shifts; higher is better.
      offset: the best shift in frames of 40 ms; positive if the sound is early.
      distances: [W, 2 s + 1] of each window of the lips to the sound's, by shift.
      framewise: confidence of each window, [W].
    """

    distance: float
    confidence: float
    offset: int
    distances: np.ndarray
    framewise: np.ndarray


def score_lip_sync(lips: np.ndarray, sound: np.ndarray, max_shift: int = MAX_SHIFT) -> LseScores:
    """Lip sync error of vectors [W, D], as SyncNet's evaluation computes it.

    Sound beyond the ends of the clip counts as vectors of zeros.
    """
    lips, sound = np.float64(lips), np.float64(sound)
    padded = np.pad(sound, ((max_shift, max_shift), (0, 0)))
    shifted = np.stack([padded[j : j + len(lips)] for j in range(2 * max_shift + 1)], axis=1)
    distances = np.linalg.norm(lips[:, None] - shifted + SHIFT_EPSILON, axis=-1)
    by_shift = distances.mean(0)
    best, median = int(by_shift.argmin()), float(np.median(by_shift))
    return LseScores(
        distance=float(by_shift[best]),
        confidence=median - float(by_shift[best]),
        offset=max_shift - best,
        distances=distances,
        framewise=medfilt(median - distances[:, best], 9),
    )


# ---- pictures -----------------------------------------------------------------------------

CROP_SCALE = 0.4  # of half the face's size, that the crop is wider than it on each side
MEDIAN_FRAMES = 13
PAD_VALUE = 110


def smooth_track(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half sizes, and centers x and y, of boxes [T, 4] (x0, y0, x1, y1): float64 [T] each.

    A median over 13 frames with zeros beyond the ends, which makes the first and last ones small.
    """
    x0, y0, x1, y1 = np.float64(boxes).T
    sizes = np.maximum(y1 - y0, x1 - x0) / 2
    return tuple(medfilt(v, MEDIAN_FRAMES) for v in (sizes, (x0 + x1) / 2, (y0 + y1) / 2))


def crop_rectangle(size: float, x: float, y: float) -> tuple[int, int, int, int, int]:
    """Rows y0 to y1 and columns x0 to x1 of the padded picture, and the padding on all sides.

    A square of 2.8 half sizes, shifted downward: the mouth is in its lower half.
    """
    padding = int(size * (1 + 2 * CROP_SCALE))
    middle_y, middle_x = y + padding, x + padding
    return (
        int(middle_y - size),
        int(middle_y + size * (1 + 2 * CROP_SCALE)),
        int(middle_x - size * (1 + CROP_SCALE)),
        int(middle_x + size * (1 + CROP_SCALE)),
        padding,
    )


def crop_face(picture: np.ndarray, size: float, x: float, y: float) -> np.ndarray:
    """The crop of a face, uint8 [H, W, 3] -> [224, 224, 3], padded with gray."""
    y0, y1, x0, x1, padding = crop_rectangle(size, x, y)
    around = ((padding, padding), (padding, padding), (0, 0))
    padded = np.pad(picture, around, constant_values=PAD_VALUE)
    return resize_bilinear(padded[y0:y1, x0:x1], SIDE)


def resize_bilinear(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [side, side, 3], between the centers of pixels, without smoothing."""
    rows, columns = (_bilinear_weights(size, side) for size in picture.shape[:2])
    resized = np.einsum("yh,hwc,xw->yxc", rows, np.float64(picture), columns, optimize=True)
    return np.clip(np.floor(resized + 0.5), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _bilinear_weights(size: int, new_size: int) -> np.ndarray:
    place = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))
