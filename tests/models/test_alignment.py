"""Index maps: where the tokens of overlapping segments are placed in time."""

import numpy as np
import pytest

from vssflow_jax.models import alignment


def first_frames(duration):
    """First of the two video frames of each of Synchformer's tokens, for all segments of a clip."""
    segments = (duration * 25 - 16) // 8 + 1
    return np.asarray([8 * s + 2 * j for s in range(segments) for j in range(8)])


@pytest.mark.parametrize("duration", [1, 4, 10, 16])
def test_sync_tokens_are_placed_at_their_frames(duration):
    length, first = duration * 25, first_frames(duration)
    placed = first[alignment.segment_token_indices(len(first), length)]
    covered = np.arange(first[-1] + 2)
    assert (placed[covered] // 2 == covered // 2).all()
    assert (placed[len(covered) :] == first[-1]).all()
    slots = max(round(duration * 24), len(first))  # with padding after the tokens
    assert alignment.segment_token_indices(slots, length).max() < len(first)


def test_evenly_spread_sync_tokens_drift():
    """The error that placing by time avoids: up to 0.4 s at the end of ten seconds."""
    centers, frames = first_frames(10) + 1, np.arange(250) + 0.5
    drift = frames - centers[alignment.nearest_exact_indices(240, 250)]
    assert drift.max() == 9.5 and drift[-20:].min() > 1
    by_time = frames - centers[alignment.segment_token_indices(240, 250)]
    assert np.abs(by_time[:-2]).max() <= 0.5


def test_one_token_a_frame_stays_in_place():
    np.testing.assert_array_equal(alignment.segment_token_indices(100, 100), np.arange(100))
