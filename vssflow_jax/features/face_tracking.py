"""The track of a mouth through the frames of a video, and crops as AV-HuBERT was trained on.

A face is detected, then followed: its landmarks in one frame say where to look in the next. The
crops follow AV-HuBERT's preparation (Shi et al. 2022, arXiv 2201.02184): the eyes and the base
of the nose, averaged over 12 frames, are laid on those of a mean face of 256 x 256 pixels by a
similarity, and 96 x 96 gray pixels around the mouth are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from vssflow_jax.features import face_mesh
from vssflow_jax.features.lips import GRAY

VERSION = 1  # of the tracks
MIN_COVERAGE = 0.75  # share of the frames in which a mouth must be seen; else lips are missing
SEARCH_INTERVAL = 5  # frames from one search for a face to the next, until one is detected
CHECK_INTERVAL = 25  # frames after which a followed face must be detected again
SMOOTHING = 12  # frames over which stable points are averaged
SIDE = 96  # pixels of a crop
# Points of the mesh: the corners of both eyes, the base of the nose, and the lips (the outer
# and the inner contour), like points 37-48, 32-36 and 49-68 of the usual 68.
RIGHT_EYE, LEFT_EYE, NOSE = (33, 133), (362, 263), (98, 97, 2, 326, 327)
# The points that lips are measured by: eyes, nose, outer and inner contour of the lips.
LANDMARKS = (33, 263, 2, 0, 13, 14, 17, 61, 291, 78, 308, 82, 87, 312, 317)
LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
# The mean face's eyes and base of the nose, x and y in 256 x 256 pixels.
MEAN_FACE = np.array([[102.07, 94.27], [156.36, 93.58], [129.00, 135.90]])
WEIGHTS = np.array([2.0, 2.0, 1.0])  # AV-HuBERT fits four corners of eyes and one point of a nose
# The box around the mouth in the mean face's pixels, and how far its center is below the lips':
# the means of MiniAV's annotations when its drawn faces are tracked by these functions.
BOX, LOWERING = np.array([94.0, 70.0]), 3.0


@dataclasses.dataclass(frozen=True)
class MouthTrack:
    """Position of a mouth in T frames, interpolated over frames without a face.

    Attributes:
      boxes: [T, 4], x0, y0, x1, y1 in pixels of the frames.
      detected: bool [T], whether a face was seen.
      centers: [T, 2], of the lips, pixels.
      steps: [T, 2, 2], rows are the frame's pixels along one pixel of the mean face, x and y.
      landmarks: [T, 15, 2], the points LANDMARKS of the mesh, pixels, NaN in frames without a
        face; None where only boxes are known.
    """

    boxes: np.ndarray
    detected: np.ndarray
    centers: np.ndarray
    steps: np.ndarray
    landmarks: np.ndarray | None = None

    @classmethod
    def from_boxes(cls, boxes: np.ndarray) -> MouthTrack:
        """The track of an upright face whose mouth lies in `boxes` [T, 4]."""
        low, high = boxes[:, :2], boxes[:, 2:]
        scale = (high - low).mean(1) / BOX.mean()
        centers = (low + high) / 2 - scale[:, None] * [0, LOWERING]
        return cls(boxes, np.ones(len(boxes), bool), centers, scale[:, None, None] * np.eye(2))

    def select(self, rows: np.ndarray) -> MouthTrack:
        """The track in some of the frames."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return MouthTrack(*(None if array is None else array[rows] for array in fields))

    @property
    def coverage(self) -> float:
        """Share of the frames in which a face was seen."""
        return float(self.detected.mean())

    def crop(self, frames: Iterable[np.ndarray], side: int = SIDE) -> np.ndarray:
        """Upright gray mouths on the mean face's scale: uint8 [T, side, side].

        Args:
          frames: uint8 T x [H, W, 3], the frames that were tracked.
          side: pixels.
        """
        crops = []
        for frame, center, steps in zip(frames, self.centers, self.steps, strict=True):
            gray = Image.fromarray(np.rint(frame @ GRAY).astype(np.uint8))
            crops.append(np.asarray(face_mesh.affine_crop(gray, center, steps, side)))
        return np.stack(crops)


def track_mouth(
    frames: Iterable[np.ndarray], face: Sequence[float] | None = None
) -> MouthTrack | None:
    """Tracks the mouth of one face; None where no frame has a face.

    Args:
      frames: uint8 T x [H, W, 3].
      face: which one, if there are several: a point (x, y) or a box (x0, y0, x1, y1) in pixels;
        the face at it or nearest to it. None: the largest.

    Raises:
      InputError: the face finder is not installed.
    """
    selected = (_select_points(landmarks) for landmarks in _follow_face(frames, face))
    points = np.fromiter(selected, np.dtype((float, (4 + len(LANDMARKS), 2))))  # [T, 4 + 15, 2]
    detected = ~np.isnan(points[:, 0, 0])
    if not detected.any():
        return None
    stable = smooth(fill_gaps(points[:, :3], detected))
    centers = fill_gaps(points[:, 3], detected)
    steps = np.stack([fit_similarity(three) for three in stable])
    half = BOX / 2 * np.linalg.norm(steps[:, :1], axis=-1)
    middle = smooth(centers) + LOWERING * steps[:, 1]
    boxes = np.concatenate([middle - half, middle + half], 1)
    return MouthTrack(boxes, detected, centers, steps, points[:, 4:])


def track_face(
    frames: Iterable[np.ndarray], face: Sequence[float] | None = None
) -> np.ndarray | None:
    """The box around all landmarks of one face, from forehead to chin, in each frame.

    Args:
      frames: uint8 T x [H, W, 3].
      face: as for `track_mouth`.

    Returns:
      float64 [T, 4], x0, y0, x1, y1 in pixels, interpolated over frames without a face; None where
      no frame has one.
    """
    boxes = np.stack(
        [
            np.full(4, np.nan) if points is None else np.r_[points.min(0), points.max(0)]
            for points in _follow_face(frames, face)
        ]
    )
    detected = ~np.isnan(boxes[:, 0])
    return fill_gaps(boxes, detected) if detected.any() else None


def _select_points(landmarks: np.ndarray | None) -> np.ndarray:
    """Means of the right eye, the left eye, the nose and the lips, then LANDMARKS: [4 + 15, 2].

    NaN without a face.
    """
    if landmarks is None:
        return np.full((4 + len(LANDMARKS), 2), np.nan)
    parts = (RIGHT_EYE, LEFT_EYE, NOSE, LIPS)
    means = [landmarks[list(part)].mean(0) for part in parts]
    return np.concatenate([means, landmarks[list(LANDMARKS)]])


def _follow_face(frames: Iterable[np.ndarray], face) -> Iterator[np.ndarray | None]:
    """Landmarks [468, 2] of the face in each frame, None without a face."""
    square, since = None, 0
    for number, frame in enumerate(frames):
        if square is None and number < since:
            yield None
            continue
        image = Image.fromarray(frame)
        if square is None or number >= since + CHECK_INTERVAL:
            faces = face_mesh.detect_faces(image, face is not None)
            choice = _choose_face(faces, square, face)
            square, since = (choice.square if choice else square), number
        if square is not None:
            landmarks, score = face_mesh.locate_landmarks(image, square)
            seen = score >= face_mesh.THRESHOLD
            square = face_mesh.Square.from_landmarks(landmarks) if seen else None
        if square is None:
            since = number + SEARCH_INTERVAL
        yield landmarks if square is not None else None


def _choose_face(faces: Sequence[face_mesh.Face], square, face) -> face_mesh.Face | None:
    """The face that is followed, else the one that was asked for, else the largest."""
    if not faces:
        return None
    if square is None and face is None:
        return max(faces, key=lambda candidate: candidate.area)
    target = square.center if square is not None else np.reshape(face, (-1, 2)).mean(0)
    return min(faces, key=lambda candidate: _measure_distance(candidate.box, target))


def _measure_distance(box: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """How far a point is outside a box, then from its center; pixels."""
    outside = np.maximum(np.maximum(box[:2] - point, point - box[2:]), 0)
    return float(np.hypot(*outside)), float(np.hypot(*((box[:2] + box[2:]) / 2 - point)))


def fill_gaps(points: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """Points [T, ...] with frames without a face interpolated, or held at the ends."""
    numbers, known = np.arange(len(points)), np.flatnonzero(detected)
    flat = points.reshape(len(points), -1)
    filled = [np.interp(numbers, known, column[known]) for column in flat.T]
    return np.stack(filled, 1).reshape(points.shape)


def smooth(points: np.ndarray) -> np.ndarray:
    """Means of [T, ...] over the SMOOTHING frames around each, fewer at the ends."""
    total = np.concatenate([np.zeros_like(points[:1]), np.cumsum(points, axis=0)])
    numbers = np.arange(len(points))
    first = np.maximum(numbers - SMOOTHING // 2, 0)
    last = np.minimum(numbers + SMOOTHING // 2, len(points))
    count = (last - first).reshape(-1, *[1] * (points.ndim - 1))
    return (total[last] - total[first]) / count


def fit_similarity(stable: np.ndarray) -> np.ndarray:
    """Rotation and scale that lay the mean face best on stable points [3, 2]: steps [2, 2].

    Weighted least squares; with complex numbers a similarity is z -> s z + t.
    """
    weights = WEIGHTS / WEIGHTS.sum()
    source, target = MEAN_FACE @ [1, 1j], stable @ [1, 1j]
    source, target = source - weights @ source, target - weights @ target
    s = (weights * np.conj(source)) @ target / ((weights * np.conj(source)) @ source)
    return np.array([[s.real, s.imag], [-s.imag, s.real]])
