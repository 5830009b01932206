"""Thumbnails: area averages, and their differences."""

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax.features import thumbnails


@pytest.mark.parametrize(("height", "width"), [(128, 128), (144, 193), (16, 16), (7, 250)])
def test_thumbnails_are_area_averages_within_range(height, width):
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
    thumbs = thumbnails.make_thumbnails(frames)
    assert thumbs.shape == (3, 768) and thumbs.dtype == np.float32
    assert np.abs(thumbs).max() <= 1
    mean = thumbs.reshape(3, 256, 3).mean(1)
    np.testing.assert_allclose(mean, frames.mean((1, 2)) / 127.5 - 1, atol=1e-3)
    for value in (0, 255):
        plain = np.full((1, height, width, 3), value, np.uint8)
        np.testing.assert_allclose(thumbnails.make_thumbnails(plain), value / 127.5 - 1, atol=1e-5)


def test_thumbnails_of_whole_blocks_are_their_means():
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    blocks = frames.reshape(2, 16, 2, 16, 4, 3).mean((2, 4)).reshape(2, 768) / 127.5 - 1
    np.testing.assert_allclose(thumbnails.make_thumbnails(frames), blocks, atol=1e-5)


def test_a_still_picture_has_no_differences():
    thumbs = thumbnails.make_thumbnails(np.repeat(fixtures.make_frames(1), 5, 0))
    assert not thumbnails.subtract_previous(thumbs).any()
    moving = thumbnails.make_thumbnails(fixtures.make_frames(5))
    summed = np.cumsum(thumbnails.subtract_previous(moving), 0) / thumbnails.GAIN
    np.testing.assert_allclose(summed, moving - moving[0], atol=1e-5)
