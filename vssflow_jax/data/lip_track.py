"""The track of a speaker's lips: what is measured in every frame, as arrays and as a file."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from vssflow_jax.common import safetensors_io
from vssflow_jax.common.errors import InputError

RATE = 25.0  # frames a second
# In units of the distance between the outer corners of the eyes, along the line of the eyes
# (widths) and across it (the rest).
MEASUREMENTS = (
    "inner_opening",  # between the lips, in the middle
    "side_opening",  # between the lips, mean of halfway to both corners
    "outer_opening",  # from the upper edge of the upper lip to the lower edge of the lower one
    "inner_width",  # between the inner corners
    "outer_width",  # between the outer corners
    "right_corner",  # height of the speaker's right corner above the middle of the outer edges
    "left_corner",  # height of the left one
    "upper_lip",  # thickness in the middle: grows as the lips protrude
    "lower_lip",  # thickness of the lower lip
    "drop",  # from the base of the nose to the lower edge of the lower lip
)


@dataclasses.dataclass(frozen=True)
class LipTrack:
    """Measurements of the lips in T frames, RATE a second.

    Attributes:
      measurements: float32 [T, 10], columns MEASUREMENTS; of no meaning where nothing was seen.
      seen: bool [T], whether a face was seen.
    """

    measurements: np.ndarray
    seen: np.ndarray

    def select(self, start: float, seconds: float) -> LipTrack:
        """The track of an interval of time, in seconds."""
        first = round(start * RATE)
        rows = slice(first, first + max(round(seconds * RATE), 1))
        return LipTrack(self.measurements[rows], self.seen[rows])


def write_lip_track(path: str | os.PathLike, track: LipTrack) -> None:
    """Writes a track as a safetensors file."""
    safetensors_io.write_arrays(
        path,
        {
            "measurements": track.measurements.astype(np.float32),
            "seen": track.seen.astype(np.float32),
        },
    )


def read_lip_track(path: str | os.PathLike) -> LipTrack:
    """Reads what `write_lip_track` has written.

    Raises:
      InputError: no such file, other arrays, numbers that are not finite, or no frame with a face.
    """
    arrays = safetensors_io.read_arrays(path)
    frames = next(iter(arrays.get("seen", np.zeros(0)).shape), 0)
    expected = {"measurements": (frames, len(MEASUREMENTS)), "seen": (frames,)}
    safetensors_io.check_arrays(arrays, expected, f"{path}")
    measurements, seen = np.asarray(arrays["measurements"]), np.asarray(arrays["seen"]) > 0
    if not np.isfinite(measurements).all():
        raise InputError(f"{path}: found numbers that are not finite, expected measurements")
    if not seen.any():
        raise InputError(f"{path}: found no frame with a face, expected at least one")
    return LipTrack(measurements, seen)
