"""Backgrounds of clips: gradients, textures, patterns, some of them moving.

They vary much more than faces and objects, so that a model learns to ignore them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

KINDS = ("gradient", "clouds", "stripes", "checks", "spots", "room")
MARGIN = 24  # pixels around the picture through which a moving background travels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Background:
    """A picture larger than the clip, the window that moves over it, light and grain.

    Attributes:
      picture: uint8 RGB, side + 2 * MARGIN each way.
      offsets: int [frames, 2], upper left corner of the window.
      gain: float32 [frames], light of each frame, about 1.
      grain: int16 [side + MARGIN, side + MARGIN] noise over frames at changing places, or None.
      places: int [frames, 2], corners in `grain`.
    """

    picture: Image.Image
    offsets: np.ndarray
    gain: np.ndarray
    grain: np.ndarray | None
    places: np.ndarray


def draw_background(frames: int, side: int, rate: float, rng: np.random.Generator) -> Background:
    """Draws a background for a clip of `frames` at `rate` a second, `side` pixels square."""
    picture = _draw_picture(str(rng.choice(KINDS)), side + 2 * MARGIN, rng)
    grainy = rng.random() < 0.4
    noise = rng.normal(0, rng.uniform(1.0, 3.5), (side + MARGIN, side + MARGIN))
    return Background(
        picture=picture,
        offsets=_draw_motion(frames, rate, rng),
        gain=_draw_light(frames, rate, rng),
        grain=np.round(noise).astype(np.int16) if grainy else None,
        places=rng.integers(0, MARGIN, (frames, 2)),
    )


def finish_frame(background: Background, frame: int, picture: np.ndarray) -> np.ndarray:
    """Light and grain over a finished picture: uint8 [side, side, 3] -> the same."""
    gain = background.gain[frame]
    if background.grain is None and gain == 1.0:
        return picture
    lit = (picture * np.uint16(round(gain * 128))) >> 7  # 255 * 128 * 2 still fits 16 bits
    if background.grain is not None:
        x, y = background.places[frame]
        side = len(picture)
        lit = lit.astype(np.int16) + background.grain[y : y + side, x : x + side, None]
    return np.clip(lit, 0, 255).astype(np.uint8)


def _draw_colors(rng: np.random.Generator) -> np.ndarray:
    """Two muted colors: float [2, 3]. Muted, so that the actors' own colors stand out."""
    gray = rng.uniform(40, 215, (2, 1))
    return np.clip(gray + rng.uniform(-40, 40, (2, 3)), 0, 255)


def _draw_picture(kind: str, size: int, rng: np.random.Generator) -> Image.Image:
    near, far = _draw_colors(rng)
    share = _draw_pattern(kind, size, rng)[..., None]
    pixels = near + (far - near) * share
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def _draw_pattern(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """How much of the second color is where: float [size, size] in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    if kind == "gradient":
        return np.clip(along + 0.5, 0, 1)
    if kind == "clouds":
        return _draw_clouds(size, int(rng.integers(3, 10)), rng)
    if kind == "stripes":
        return 0.5 + 0.5 * np.sin(2 * np.pi * along * rng.uniform(2, 9))
    if kind == "checks":
        count = rng.uniform(3, 9)
        return ((np.floor(x * count) + np.floor(y * count)) % 2) * 0.6 + 0.2 * y
    if kind == "spots":
        return (_draw_clouds(size, int(rng.integers(6, 14)), rng) > 0.6) * 0.7 + 0.3 * x
    wall = np.where(y < rng.uniform(0.55, 0.8), 0.25 * x, 0.8 + 0.2 * y)  # a wall and a floor
    return np.clip(wall + 0.15 * _draw_clouds(size, 6, rng), 0, 1)


def _draw_clouds(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    coarse = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    return np.clip(np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)), 0, 1)


def _draw_motion(frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A still window in half the clips, a slow straight or shaky path in the others."""
    t = np.arange(frames)[:, None] / rate
    middle = np.full((frames, 2), float(MARGIN))
    if rng.random() < 0.5:
        middle += rng.uniform(-MARGIN / 4, MARGIN / 4, 2) * (t - t.mean())
    if rng.random() < 0.25:
        middle += 1.5 * np.sin(2 * np.pi * rng.uniform(0.3, 1.5, 2) * t + rng.uniform(0, 6, 2))
    return np.clip(np.round(middle), 0, 2 * MARGIN).astype(int)


def _draw_light(frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Constant light in half the clips, a slow drift or a light flicker in the others."""
    t = np.arange(frames) / rate
    if rng.random() < 0.5:
        return np.ones(frames, np.float32)
    drift = rng.uniform(0, 0.06) * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * t + rng.uniform(0, 6))
    flicker = rng.uniform(0, 0.015) * rng.standard_normal(frames)
    return (1 + drift + flicker).astype(np.float32)
