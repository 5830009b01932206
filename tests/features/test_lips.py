"""Mouth crops: the box, beyond the edge, and boxes that are errors."""

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax.common.errors import InputError
from vssflow_jax.features import lips


def test_a_crop_shows_the_box_and_nothing_else():
    frames = np.zeros((2, 100, 100, 3), np.uint8)
    frames[:, 40:60, 20:50] = 255
    inside = lips.crop_mouth(frames, (20, 40, 50, 60))
    assert inside.shape == (2, 1024) and inside.dtype == np.float32
    np.testing.assert_allclose(inside, 1, atol=1e-5)
    np.testing.assert_allclose(lips.crop_mouth(frames, (60, 0, 90, 30)), -1, atol=1e-5)
    half = lips.crop_mouth(frames, (5, 40, 35, 60)).reshape(2, 32, 32)
    assert (half[:, :, :15] < -0.9).all() and (half[:, :, 17:] > 0.9).all()


def test_boxes_may_move_and_reach_over_the_edge():
    frames = fixtures.make_frames(3)
    boxes = np.array([[0, 0, 20, 20], [5, 5, 25, 25], [-10, -10, 20, 20]], float)
    crops = lips.crop_mouth(frames, boxes)
    for t in range(2):
        np.testing.assert_array_equal(crops[t], lips.crop_mouth(frames[t : t + 1], boxes[t])[0])
    assert np.isfinite(crops).all()


EMPTY = [(10, 10, 10, 20), (20, 10, 10, 20), (200, 0, 220, 20), (0, -9, 9, -1)]


@pytest.mark.parametrize("box", EMPTY)
def test_an_empty_box_is_an_error(box):
    with pytest.raises(InputError, match="mouth box"):
        lips.crop_mouth(fixtures.make_frames(2), box)
