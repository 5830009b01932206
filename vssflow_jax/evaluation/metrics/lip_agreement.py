"""Agreement of speech with lips: how loud it is against how far the mouth is open."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from vssflow_jax.data import lip_track
from vssflow_jax.data.lip_track import LipTrack
from vssflow_jax.features.face_tracking import fill_gaps

SMOOTHING = 0.08  # standard deviation of the smoothing of both curves, seconds


def measure_opening(track: LipTrack) -> np.ndarray:
    """How far a mouth is open, lip_track.RATE times a second, smoothed.

    Args:
      track: of the lips; frames without a face are interpolated.
    """
    filled = fill_gaps(track.measurements.astype(float), track.seen)
    opening = filled[:, lip_track.MEASUREMENTS.index("inner_opening")]
    return ndimage.gaussian_filter1d(opening, SMOOTHING * lip_track.RATE)


def measure_envelope(wave: np.ndarray, sample_rate: int, frames: int) -> np.ndarray:
    """Root mean square of a wave [n], lip_track.RATE times a second, smoothed: [frames].

    Args:
      wave: one channel; silent after its end.
      sample_rate: samples a second.
      frames: of the envelope.
    """
    hop = round(sample_rate / lip_track.RATE)
    padded = np.pad(wave, (0, max(frames * hop - len(wave), 0)))[: frames * hop]
    power = (padded.reshape(frames, hop) ** 2).mean(1)
    return ndimage.gaussian_filter1d(np.sqrt(power), SMOOTHING * lip_track.RATE)


def correlate_lips(wave: np.ndarray, sample_rate: int, track: LipTrack) -> float:
    """Pearson correlation of a wave's envelope with the opening of a mouth, -1 to 1.

    It is 0 where one of the two does not change.

    Args:
      wave: one channel [n].
      sample_rate: samples a second.
      track: of the lips in the same time.
    """
    opening = measure_opening(track)
    envelope = measure_envelope(wave, sample_rate, len(opening))
    if min(np.ptp(opening), np.ptp(envelope)) < 1e-9:
        return 0.0
    return float(np.corrcoef(envelope, opening)[0, 1])
