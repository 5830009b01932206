"""A drawn face: looks keyed to the voice, eyes that blink, and a mouth that speaks.

Everything is drawn three times as large as it is shown and then averaged down. Lengths are in
pixels of a face of scale 1, about 80 high.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from vssflow_jax.data.lip_track import MEASUREMENTS

SUPER = 3  # drawn this many times larger
HEAD, WIDE = 42, 33  # half height and half width of the head
MOUTH_Y = 19  # the mouth below the middle of the head
NOSE_Y = 7  # the base of the nose below it
EYE_X, EYE_RADIUS = 0.44, 7  # middle of an eye over the half width of the head; half its width
MOUTH_X, MOUTH_UP, MOUTH_DOWN = 21, 13, 17  # from the mouth's middle to its patch's edges
SWAY = 2  # largest shift of the head by its slow motion, pixels
Color = tuple[int, int, int]

SKINS = PALE, FAIR, TAN, BROWN, DARK = (
    (250, 222, 205), (238, 196, 165), (205, 155, 115), (150, 100, 70), (95, 62, 45),
)  # fmt: skip
HAIRS = BLACK, AUBURN, BLOND, GRAY, RED = (
    (30, 25, 25), (90, 50, 25), (225, 190, 95), (170, 170, 175), (190, 75, 25),
)  # fmt: skip
LOW_STYLES, HIGH_STYLES = ("short", "short", "bald", "curly"), ("long", "bun", "curly", "short")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """Colors of skin, hair and shirt; hair style; build (width of the head over the usual)."""

    skin: Color
    hair: Color
    shirt: Color
    style: str  # short | long | bun | bald | curly
    build: float = 1.0
    beard: bool = False
    glasses: bool = False


def draw_look(low: bool, rng: np.random.Generator) -> Look:
    """A random look for a `low` or a high voice; beards go with low ones."""
    styles = LOW_STYLES if low else HIGH_STYLES
    return Look(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=tuple(int(v) for v in rng.integers(20, 245, 3)),
        style=styles[rng.integers(len(styles))],
        build=round(float(rng.uniform(1.0, 1.12) if low else rng.uniform(0.9, 1.02)), 3),
        beard=bool(low and rng.random() < 0.35),
        glasses=bool(rng.random() < 0.25),
    )


def _mix_colors(a: Color, b: Color, share: float) -> Color:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


class _Canvas:
    """A transparent picture around a middle point, drawn at `SUPER` times its size."""

    def __init__(self, left, up, right, down, scale: float, ground: Color):
        self.left, self.up = left * scale, up * scale
        self.zoom = SUPER * scale
        size = (round((left + right) * scale), round((up + down) * scale))
        self.image = Image.new("RGBA", (size[0] * SUPER, size[1] * SUPER), (*ground, 0))
        self.draw = ImageDraw.Draw(self.image)

    def xy(self, *points: float) -> list[float]:
        """Points x0, y0, x1, y1 … from the middle, in the picture's own pixels."""
        origin = (self.left * SUPER, self.up * SUPER)
        return [origin[k % 2] + p * self.zoom for k, p in enumerate(points)]

    def ellipse(self, x, y, rx, ry, color):
        self.draw.ellipse(self.xy(x - rx, y - ry, x + rx, y + ry), fill=color)

    def reduce(self) -> Image.Image:
        return self.image.reduce(SUPER)


def _draw_hair_behind(c: _Canvas, look: Look, wide: float) -> None:
    if look.style == "long":
        box = c.xy(-wide - 6, -HEAD - 5, wide + 6, HEAD + 8)
        c.draw.rounded_rectangle(box, radius=30 * c.zoom, fill=look.hair)
    elif look.style == "bun":
        c.ellipse(0, -HEAD - 6, 13, 11, look.hair)
    elif look.style == "curly":
        for x in range(-3, 4):
            c.ellipse(x * wide / 2.6, -HEAD + 8 + 3 * x * x, 13, 13, look.hair)


def _draw_hair_before(c: _Canvas, look: Look, wide: float) -> None:
    if look.style == "bald":
        return
    c.draw.chord(c.xy(-wide - 2, -HEAD - 4, wide + 2, HEAD - 4), 196, 344, fill=look.hair)
    if look.style == "short":
        for x in (-wide, wide - 4):
            c.draw.rectangle(c.xy(x, -14, x + 4, 0), fill=look.hair)


def draw_head(look: Look, scale: float, closed: bool) -> tuple[Image.Image, tuple[float, float]]:
    """The head without its mouth, with open or `closed` eyes.

    Returns:
      RGBA picture, and where in it the middle of the head lies.
    """
    wide = WIDE * look.build
    c = _Canvas(62, 62, 62, 90, scale, look.shirt)
    shadow = _mix_colors(look.skin, (40, 10, 0), 0.28)
    _draw_hair_behind(c, look, wide)
    c.draw.rounded_rectangle(c.xy(-54, HEAD + 12, 54, 130), radius=22 * c.zoom, fill=look.shirt)
    c.draw.rectangle(c.xy(-11, 28, 11, HEAD + 16), fill=shadow)
    for side in (-1, 1):
        c.ellipse(side * wide, 2, 5, 8, shadow)
    c.ellipse(0, 0, wide, HEAD, look.skin)
    if look.beard:
        jaw = _mix_colors(look.hair, look.skin, 0.15)
        c.draw.chord(c.xy(-wide, -HEAD, wide, HEAD), 12, 168, fill=jaw)
        c.ellipse(0, MOUTH_Y - 1, 19, 12.5, look.skin)
    _draw_hair_before(c, look, wide)
    for side in (-1, 1):
        x = side * wide * EYE_X
        if closed:
            line = c.xy(x - EYE_RADIUS, -6, x + EYE_RADIUS, -6)
            c.draw.line(line, fill=shadow, width=round(2 * c.zoom))
        else:
            c.ellipse(x, -6, EYE_RADIUS, 5, (250, 250, 250))
            c.ellipse(x, -6, 3.6, 4.2, (40, 30, 30))
        brow = _mix_colors(look.hair, (30, 20, 10), 0.4)
        c.draw.line(c.xy(x - 8, -15, x + 8, -16), fill=brow, width=round(2.5 * c.zoom))
        if look.glasses:
            box = c.xy(x - 11, -14, x + 11, 3)
            c.draw.rectangle(box, outline=(20, 20, 20), width=round(1.6 * c.zoom))
    c.draw.polygon(c.xy(-3, NOSE_Y, 3, NOSE_Y, 0, -5), fill=shadow)
    return c.reduce(), (c.left, c.up)


class MouthExtent(NamedTuple):
    """Lengths of a mouth: half width of the inner ellipse, its heights, thickness of the lips."""

    rx: float
    up: float
    down: float
    lip: float


CLOSED = 1.0  # half height of the line that a closed mouth is drawn as


def measure_extent(opened: float, width: float) -> MouthExtent:
    """The lengths of a mouth of this shape."""
    return MouthExtent(
        rx=12.5 + 4.5 * width,
        up=CLOSED + 5.5 * opened,
        down=CLOSED + 10.5 * opened,
        lip=2.6 + (1.2 if width < -0.4 else 0.0),
    )


def measure_mouth(look: Look, shapes: np.ndarray) -> np.ndarray:
    """The measurements of drawn mouths, in distances of the eyes' outer corners.

    Args:
      look: of the face, whose build moves the eyes apart.
      shapes: [T, 5], columns of `visemes.CHANNELS`.

    Returns:
      [T, 10], columns of `data.lip_track.MEASUREMENTS`. The line of a closed mouth is no opening.
    """
    eyes = 2 * (WIDE * look.build * EYE_X + EYE_RADIUS)
    sizes = [measure_extent(opened, width) for opened, width, *_ in np.asarray(shapes).tolist()]
    rx, up, down, lip = np.array(sizes).T
    inner = up + down - 2 * CLOSED
    columns = {
        "inner_opening": inner,
        "side_opening": inner * np.sqrt(3) / 2,  # of an ellipse, halfway to its end
        "outer_opening": inner + 2 * lip,
        "inner_width": 2 * rx,
        "outer_width": 2 * (rx + lip),
        "right_corner": (down - up) / 2,
        "left_corner": (down - up) / 2,
        "upper_lip": lip,
        "lower_lip": lip,
        "drop": MOUTH_Y - NOSE_Y + down - CLOSED + lip,
    }
    return np.stack([columns[name] for name in MEASUREMENTS], axis=1) / eyes


def draw_mouth(look: Look, scale: float, shape: np.ndarray) -> Image.Image:
    """The mouth of one frame on a transparent patch. shape: [5], columns of `visemes.CHANNELS`."""
    opened, width, teeth, tongue, bite = (float(v) for v in shape)
    skin = look.skin
    lips = _mix_colors((190, 50, 60), skin, 0.2)
    c = _Canvas(MOUTH_X, MOUTH_UP, MOUTH_X, MOUTH_DOWN, scale, lips)
    rx, up, down, lip = measure_extent(opened, width)
    c.draw.ellipse(c.xy(-rx - lip, -up - lip, rx + lip, down + lip), fill=lips)
    inner = c.xy(-rx, -up, rx, down)
    c.draw.ellipse(inner, fill=(60, 8, 16))
    if opened > 0.06:
        if tongue > 0.1:
            low = c.xy(-rx * 0.75, down - (up + down) * (0.25 + 0.35 * tongue), rx * 0.75, down)
            c.draw.ellipse(low, fill=(225, 110, 120))
        if teeth > 0.1:
            angle = 25 + 45 * teeth
            c.draw.chord(inner, 270 - angle, 270 + angle, fill=(250, 250, 245))
    if bite > 0.3:  # the upper teeth on the lower lip
        c.ellipse(0, lip, rx * 0.9, lip + 0.6, lips)
        c.draw.rectangle(c.xy(-rx * 0.6, -1.6, rx * 0.6, 1.4), fill=(250, 250, 245))
    return c.reduce()


def locate_mouth(x: float, y: float, scale: float) -> tuple[int, int, int, int]:
    """Pixels [x0, y0, x1, y1] that hold the mouth of a head at (x, y) through all its sway."""
    return (
        int(np.floor(x - MOUTH_X * scale)) - SWAY,
        int(np.floor(y + (MOUTH_Y - MOUTH_UP) * scale)) - SWAY,
        int(np.ceil(x + MOUTH_X * scale)) + SWAY,
        int(np.ceil(y + (MOUTH_Y + MOUTH_DOWN) * scale)) + SWAY,
    )


def draw_sway(frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Slow motion of the head: whole pixels, int [frames, 2], at most `SWAY` each way."""
    t = np.arange(frames)[:, None] / rate
    speed, phase = rng.uniform(0.15, 0.5, 2), rng.uniform(0, 2 * np.pi, 2)
    reach = rng.uniform(0.3, 1.0, 2) * SWAY
    return np.round(reach * np.sin(2 * np.pi * speed * t + phase)).astype(int)


def draw_blinks(frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Frames with closed eyes, every two to four seconds for an eighth of one: bool [frames]."""
    closed = np.zeros(frames, bool)
    time = rng.uniform(0.3, 3.0)
    while time < frames / rate:
        closed[round(time * rate) : round((time + 0.12) * rate)] = True
        time += rng.uniform(1.5, 4.0)
    return closed
