"""Where the mouth is in every picture of a clip, and mouth crops as AV-HuBERT was trained on.

A face is detected, then followed: its points in one picture say where to look in the next. The
crops follow AV-HuBERT's preparation (Shi et al. 2022, arXiv 2201.02184): the eyes and the base
of the nose, their mean over 12 pictures, are laid on those of a mean face of 256 x 256 pixels by
a similarity, and 96 x 96 grey pixels around the mouth are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from vssflow_jax.features import face_mesh
from vssflow_jax.features.lips import GREY

VERSION = 1  # of the numbers that come out
COVERAGE = 0.75  # share of the pictures in which a mouth must be seen; else lips are missing
SEARCH = 5  # pictures from one search for a face to the next, while there is none
CHECK = 25  # pictures after which a face that is followed must be detected again
SMOOTH = 12  # pictures over which stable points are averaged
SIDE = 96  # pixels of a crop
# Points of the mesh: the corners of both eyes, the base of the nose, and the lips (the outer
# and the inner contour), like points 37-48, 32-36 and 49-68 of the usual 68.
RIGHT_EYE, LEFT_EYE, NOSE = (33, 133), (362, 263), (98, 97, 2, 326, 327)
LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
# The mean face's eyes and base of the nose, x and y in 256 x 256 pixels.
MEAN_FACE = np.array([[102.07, 94.27], [156.36, 93.58], [129.00, 135.90]])
WEIGHTS = np.array([2.0, 2.0, 1.0])  # AV-HuBERT fits four corners of eyes and one point of a nose
# The box around the mouth in the mean face's pixels, and how far its middle is below the lips':
# what MiniAV's annotations are on average when its drawn faces are found by the same means.
BOX, LOWER = np.array([94.0, 70.0]), 3.0


@dataclasses.dataclass(frozen=True)
class Mouth:
    """Where the mouth is in T pictures; between pictures without a face it is interpolated.

    Attributes:
      boxes: [T, 4], x0, y0, x1, y1 in pixels of the pictures.
      found: bool [T], whether a face was seen.
      centres: [T, 2], of the lips, pixels.
      steps: [T, 2, 2], rows are the picture's pixels along one pixel of the mean face, x and y.
    """

    boxes: np.ndarray
    found: np.ndarray
    centres: np.ndarray
    steps: np.ndarray

    @classmethod
    def at(cls, boxes: np.ndarray) -> Mouth:
        """The mouth of an upright face where `boxes` [T, 4] say that it is."""
        low, high = boxes[:, :2], boxes[:, 2:]
        scale = (high - low).mean(1) / BOX.mean()
        centres = (low + high) / 2 - scale[:, None] * [0, LOWER]
        return cls(boxes, np.ones(len(boxes), bool), centres, scale[:, None, None] * np.eye(2))

    def take(self, rows: np.ndarray) -> Mouth:
        """The mouth in some of the pictures."""
        return Mouth(self.boxes[rows], self.found[rows], self.centres[rows], self.steps[rows])

    @property
    def coverage(self) -> float:
        """Share of the pictures in which a face was seen."""
        return float(self.found.mean())

    def crops(self, frames: Iterable[np.ndarray], side: int = SIDE) -> np.ndarray:
        """Upright grey mouths on the mean face's scale: uint8 [T, side, side].

        Args:
          frames: uint8 T x [H, W, 3], the pictures in which it was found.
          side: pixels.
        """
        made = []
        for frame, centre, step in zip(frames, self.centres, self.steps, strict=True):
            grey = Image.fromarray(np.rint(frame @ GREY).astype(np.uint8))
            made.append(np.asarray(face_mesh.warp(grey, centre, step, side)))
        return np.stack(made)


def find_mouth(frames: Iterable[np.ndarray], face: Sequence[float] | None = None) -> Mouth | None:
    """Finds and follows the mouth of one face; None where no picture has a face.

    Args:
      frames: uint8 T x [H, W, 3].
      face: which one, if there are several: a point (x, y) or a box (x0, y0, x1, y1) in pixels
        that it holds or is nearest to. None: the largest.

    Raises:
      InputError: the face finder is not installed.
    """
    followed = (_middles(points) for points in _follow(frames, face))
    points = np.fromiter(followed, np.dtype((float, (4, 2))))  # [T, 4, 2]
    found = ~np.isnan(points[:, 0, 0])
    if not found.any():
        return None
    stable = smooth(fill(points[:, :3], found))
    centres = fill(points[:, 3], found)
    steps = np.stack([similarity(three) for three in stable])
    half = BOX / 2 * np.linalg.norm(steps[:, :1], axis=-1)
    middle = smooth(centres) + LOWER * steps[:, 1]
    return Mouth(np.concatenate([middle - half, middle + half], 1), found, centres, steps)


def _middles(points: np.ndarray | None) -> np.ndarray:
    """Middles of the right eye, the left eye, the nose and the lips, [4, 2]; NaN without a face."""
    if points is None:
        return np.full((4, 2), np.nan)
    return np.stack([points[list(part)].mean(0) for part in (RIGHT_EYE, LEFT_EYE, NOSE, LIPS)])


def _follow(frames: Iterable[np.ndarray], face) -> Iterator[np.ndarray | None]:
    """Points [468, 2] of the face in each picture, None where there is none."""
    square, since = None, 0
    for number, frame in enumerate(frames):
        if square is None and number < since:
            yield None
            continue
        image = Image.fromarray(frame)
        if square is None or number >= since + CHECK:
            chosen = _choose(face_mesh.detect(image, face is not None), square, face)
            square, since = (chosen.square if chosen else square), number
        if square is not None:
            points, score = face_mesh.landmarks(image, square)
            square = face_mesh.around(points) if score >= face_mesh.THRESHOLD else None
        if square is None:
            since = number + SEARCH
        yield points if square is not None else None


def _choose(faces: Sequence[face_mesh.Face], square, face) -> face_mesh.Face | None:
    """The face that is followed, else the one that was asked for, else the largest."""
    if not faces:
        return None
    if square is None and face is None:
        return max(faces, key=lambda one: one.area)
    at = square.centre if square is not None else np.reshape(face, (-1, 2)).mean(0)
    return min(faces, key=lambda one: _distance(one.box, at))


def _distance(box: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """How far a point is outside a box, then from its centre; pixels."""
    outside = np.maximum(np.maximum(box[:2] - point, point - box[2:]), 0)
    return float(np.hypot(*outside)), float(np.hypot(*((box[:2] + box[2:]) / 2 - point)))


def fill(points: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Points [T, ...] with those of pictures without a face interpolated, or held at the ends."""
    at = np.flatnonzero(found)
    flat = points.reshape(len(points), -1)
    numbers = np.arange(len(points))
    filled = [np.interp(numbers, at, column[at]) for column in flat.T]
    return np.stack(filled, 1).reshape(points.shape)


def smooth(points: np.ndarray) -> np.ndarray:
    """Means of [T, ...] over the SMOOTH pictures around each, fewer at the ends."""
    total = np.concatenate([np.zeros_like(points[:1]), np.cumsum(points, axis=0)])
    numbers = np.arange(len(points))
    first = np.maximum(numbers - SMOOTH // 2, 0)
    last = np.minimum(numbers + SMOOTH // 2, len(points))
    count = (last - first).reshape(-1, *[1] * (points.ndim - 1))
    return (total[last] - total[first]) / count


def similarity(stable: np.ndarray) -> np.ndarray:
    """Rotation and scale that lay the mean face best on stable points [3, 2]: steps [2, 2].

    Weighted least squares; with complex numbers a similarity is z -> s z + t.
    """
    weights = WEIGHTS / WEIGHTS.sum()
    there, here = MEAN_FACE @ [1, 1j], stable @ [1, 1j]
    there, here = there - weights @ there, here - weights @ here
    s = (weights * np.conj(there)) @ here / ((weights * np.conj(there)) @ there)
    return np.array([[s.real, s.imag], [-s.imag, s.real]])
