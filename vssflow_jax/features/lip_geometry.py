"""Lip features without weights that drawn and real faces share: the geometry of the mouth.

A face tracker (face_tracking.py) or a renderer that knows where it has drawn the lips gives the
same measurements (data/lip_track.py); this turns them into features.
"""

from __future__ import annotations

import numpy as np

from vssflow_jax.data.lip_track import MEASUREMENTS, LipTrack
from vssflow_jax.features.face_tracking import LANDMARKS, MouthTrack, fill_gaps, smooth

WIDTH = 2 * len(MEASUREMENTS) + 1
# Channels near unit scale: measurements in tenths of the eyes' distance, changes in eyes'
# distances a second.
SCALE, RATE = 10.0, 25.0
# Faces differ in these by more than a mouth moves them, so each clip's median is subtracted. The
# other measurements are openings, which are 0 for any closed mouth.
RELATIVE = ("outer_opening", "inner_width", "outer_width", "right_corner", "left_corner",
            "upper_lip", "lower_lip", "drop")  # fmt: skip
_RELATIVE = np.array([name in RELATIVE for name in MEASUREMENTS])
CHANNELS = (*MEASUREMENTS, *(f"{name}_change" for name in MEASUREMENTS), "seen")


def measure_lips(mouth: MouthTrack) -> LipTrack:
    """The measurements of a tracked mouth.

    The axes and the distance of the eyes are averaged over 12 frames, as for crops.
    """
    points = fill_gaps(mouth.landmarks, mouth.detected)
    at = {number: points[:, place] for place, number in enumerate(LANDMARKS)}
    across = smooth(at[263] - at[33])
    distance = np.linalg.norm(across, axis=1, keepdims=True)
    x = across / distance
    y = np.stack([-x[:, 1], x[:, 0]], axis=1)

    def measure(axis: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return ((end - start) * axis).sum(1) / distance[:, 0]

    middle = (at[0] + at[17]) / 2
    sides = (measure(y, at[82], at[87]) + measure(y, at[312], at[317])) / 2
    columns = {
        "inner_opening": measure(y, at[13], at[14]),
        "side_opening": sides,
        "outer_opening": measure(y, at[0], at[17]),
        "inner_width": measure(x, at[78], at[308]),
        "outer_width": measure(x, at[61], at[291]),
        "right_corner": measure(y, at[61], middle),
        "left_corner": measure(y, at[291], middle),
        "upper_lip": measure(y, at[0], at[13]),
        "lower_lip": measure(y, at[14], at[17]),
        "drop": measure(y, at[2], at[17]),
    }
    measurements = np.stack([columns[name] for name in MEASUREMENTS], axis=1)
    return LipTrack(measurements.astype(np.float32), mouth.detected)


def encode_lips(track: LipTrack) -> np.ndarray:
    """Features of a track, float32 [T, 21], columns CHANNELS.

    Frames without a face are interpolated. Changes are central differences.
    """
    measurements = fill_gaps(track.measurements.astype(np.float64), track.seen)
    center = np.median(measurements[track.seen], axis=0) * _RELATIVE
    changes = np.zeros_like(measurements)
    if len(measurements) > 1:
        changes = np.gradient(measurements, 1 / RATE, axis=0)
    shapes = SCALE * (measurements - center)
    return np.concatenate([shapes, changes, track.seen[:, None]], axis=1).astype(np.float32)
