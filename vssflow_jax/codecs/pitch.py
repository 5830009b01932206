"""Pitch: its grid, its measurement in a wave, and the pulses of a voice that follows it.

Legend: B clips, n samples, T frames of 160 samples, P pitches of the grid.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.spectrum import hann_window, split_frames
from vssflow_jax.conditions import SAMPLE_RATE

LOWEST = 55.0  # Hz
STEP = 20.0  # cents between two pitches of the grid
COUNT = 216  # P: up to 658 Hz
NEIGHBORS = 3  # pitches to each side of the likeliest that are averaged with it
LABEL_WIDTH = 25.0  # cents: deviation of a label
MIN_PERIODICITY = 0.5  # of a frame that is voiced: its autocorrelation at one period
MIN_POWER = 1e-6  # of a frame that is voiced, mean square
SHORT_LAG_BONUS = 0.02  # an octave: of two equally good periods the shorter one counts
WINDOW = 960  # samples in which a pitch is measured
PADDED = 2048
HIGHEST_BIN = 256  # of its spectrum that counts, 2 kHz: sharper peaks would fall between two lags


@functools.cache
def frequencies() -> np.ndarray:
    """The grid in Hz: float32 [P]."""
    return (LOWEST * 2 ** (np.arange(COUNT) * STEP / 1200)).astype(np.float32)


@functools.cache
def _window_correlation() -> np.ndarray:
    """Autocorrelation of the window over its value at 0: float32 [PADDED / 2]."""
    spectrum = np.abs(np.fft.rfft(hann_window(WINDOW), PADDED)) ** 2
    correlation = np.fft.irfft(spectrum)[: PADDED // 2]
    return (correlation / correlation[0]).astype(np.float32)


def measure_pitch(wave: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pitch in Hz and whether there is one, each [B, T], of waves [B, n].

    The highest peak of the autocorrelation of a windowed frame over that of the window (Boersma
    1993), between the ends of the grid.
    """
    frames = split_frames(wave, WINDOW, mels.HOP)
    frames = frames - jnp.mean(frames, axis=-1, keepdims=True)
    spectrum = jnp.abs(jnp.fft.rfft(frames * hann_window(WINDOW), n=PADDED, axis=-1)) ** 2
    spectrum = spectrum * (np.arange(PADDED // 2 + 1) < HIGHEST_BIN)
    correlation = jnp.fft.irfft(spectrum, axis=-1)[..., : PADDED // 2]
    relative = (
        correlation / (correlation[..., :1] + 1e-9) / jnp.asarray(_window_correlation() + 1e-3)
    )
    first, last = int(SAMPLE_RATE / frequencies()[-1]), int(SAMPLE_RATE / LOWEST)
    lags = np.arange(first, last + 1)
    scores = relative[..., first : last + 1] - SHORT_LAG_BONUS * np.log2(lags / first)
    best = jnp.argmax(scores, axis=-1)
    before, at, after = (
        jnp.take_along_axis(relative, (best + first + i)[..., None], axis=-1)[..., 0]
        for i in (-1, 0, 1)
    )
    bend = jnp.minimum(before - 2 * at + after, -1e-6)
    offset = jnp.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    power = jnp.mean(frames**2, axis=-1)
    inside = (best > 0) & (best < len(lags) - 1)
    voiced = (at > MIN_PERIODICITY) & (power > MIN_POWER) & inside
    return SAMPLE_RATE / (best + first + offset), voiced


def pitch_labels(pitch: jax.Array) -> jax.Array:
    """Distributions over the grid around pitches in Hz: [B, T] -> [B, T, P]."""
    cents = 1200 * jnp.log2(pitch[..., None] / frequencies())
    return jax.nn.softmax(-0.5 * (cents / LABEL_WIDTH) ** 2, axis=-1)


def likeliest_pitch(logits: jax.Array) -> jax.Array:
    """Pitch in Hz, a mean in cents around the largest: [B, T, P] -> [B, T]."""
    best = jnp.argmax(logits, axis=-1, keepdims=True)
    near = jnp.abs(jnp.arange(COUNT) - best) <= NEIGHBORS
    weight = jax.nn.softmax(jnp.where(near, logits, -jnp.inf), axis=-1)
    return LOWEST * 2 ** (STEP / 1200 * jnp.sum(weight * jnp.arange(COUNT), axis=-1))


def pitch_phase(pitch: jax.Array) -> jax.Array:
    """Periods passed at the centers of the frames, modulo 1: [B, T] -> [B, T]; 0 at the first."""
    mean = 0.5 * (pitch[:, 1:] + pitch[:, :-1])
    steps = jnp.pad(mean / mels.FRAME_RATE, ((0, 0), (1, 0)))
    return jax.lax.associative_scan(lambda a, b: (a + b) % 1.0, steps, axis=1)


def make_pulses(pitch: jax.Array, phase: jax.Array) -> jax.Array:
    """A pulse a period: cosines of all harmonics of the pitch, with amplitude 1.

    Args:
      pitch: Hz at the centers of the frames, [B, T].
      phase: periods passed there, [B, T].

    Returns:
      [B, T * 160]; the first and last half frame continue at their pitch.
    """
    half = mels.HOP // 2
    ends = ((0, 0), (1, 1))
    pitch = jnp.pad(pitch, ends, mode="edge")  # [B, T + 2]
    phase = jnp.concatenate(
        [
            phase[:, :1] - pitch[:, :1] / mels.FRAME_RATE,
            phase,
        ],
        axis=1,
    )  # [B, T + 1]: where each stretch between two centers starts
    time = np.arange(mels.HOP) / SAMPLE_RATE  # [160]
    start, slope = pitch[:, :-1, None], (pitch[:, 1:] - pitch[:, :-1])[..., None]
    frequency = start + slope * time * mels.FRAME_RATE  # [B, T + 1, 160]
    angle = phase[..., None] + (start + 0.5 * slope * time * mels.FRAME_RATE) * time
    harmonics = jnp.floor(0.5 * SAMPLE_RATE / frequency)
    wave = sum_cosines(angle, harmonics).reshape(len(pitch), -1)
    return wave[:, half:-half]


def sum_cosines(cycles: jax.Array, count: jax.Array) -> jax.Array:
    """The sum of cos(2 pi k cycles) for k from 1 to `count` (Dirichlet's kernel)."""
    cycles = cycles - jnp.round(cycles)
    near = jnp.abs(cycles) < 1e-5
    safe = jnp.where(near, 0.25, cycles)
    total = jnp.sin((2 * count + 1) * np.pi * safe) / jnp.sin(np.pi * safe)
    return 0.5 * (jnp.where(near, 2 * count + 1, total) - 1)
