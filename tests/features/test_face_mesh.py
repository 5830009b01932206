"""Detection boxes and squares around faces."""

import numpy as np
from PIL import Image, ImageDraw

from vssflow_jax.features import face_mesh


def test_anchors_are_those_of_the_detectors():
    near = face_mesh.make_anchors(128, (8, 16, 16, 16))
    assert near.shape == (896, 2) and face_mesh.make_anchors(192, (4,)).shape == (2304, 2)
    some = near[[0, 1, 2, 511, 512, -1]]
    expected = [[4, 4], [4, 4], [12, 4], [124, 124], [8, 8], [120, 120]]
    np.testing.assert_array_equal(some, expected)


def test_boxes_of_one_face_become_one():
    rows = np.array([[0, 0, 10, 10, 1], [50, 50, 60, 60, 5], [1, 1, 11, 11, 4.0]])
    merged = face_mesh.merge_overlapping(rows, np.array([0.6, 0.9, 0.3]))
    assert [score for _, score in merged] == [0.9, 0.6]
    np.testing.assert_allclose(merged[0][0], rows[1])
    np.testing.assert_allclose(merged[1][0], (2 * rows[0] + rows[2]) / 3)
    np.testing.assert_allclose(face_mesh.overlap_ratios(rows[0, :4], rows[:, :4]), [1, 0, 81 / 119])


def test_a_point_in_a_turned_square_is_found_again_in_the_picture():
    image = Image.new("RGB", (200, 150))
    ImageDraw.Draw(image).rectangle((118, 58, 121, 61), fill="white")
    square = face_mesh.Square(np.array([100.0, 70.0]), 90.0, 0.4)
    cut = np.asarray(square.crop(image, 180))[..., 0].astype(float)
    y, x = np.indices(cut.shape) + 0.5
    middle = np.array([[(x * cut).sum(), (y * cut).sum()]]) / cut.sum() / 180
    np.testing.assert_allclose(square.to_image(middle), [[120, 60]], atol=0.3)
