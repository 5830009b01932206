"""Drawings of the eight event classes, which differ even in a thumbnail of 16 x 16 pixels.

Each class has its own colors and layout. The striker is large, comes closer before a contact and
arrives exactly at its time; the struck object flashes and gives way. Coordinates are in units of
the box of the drawing (0 to 1 in x and y), on a canvas of any size.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from vssflow_jax.corpus.scenes import Moment, Scene

Color = tuple[int, int, int]
WHITE = (255, 255, 255)
SWING = 0.24  # seconds from the highest point of a striker to contact

COLORS: dict[str, Color] = {
    "wood": (150, 92, 40),
    "metal": (120, 132, 160),
    "glass": (140, 235, 235),
    "drum": (200, 30, 40),
    "bell": (240, 190, 20),
    "drop": (30, 90, 220),
    "wheel": (40, 160, 60),
    "rain": (70, 80, 100),
}


class Pen:
    """Draws in a box of the picture, in units of the box: 0 to 1 in x and y."""

    def __init__(self, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float]):
        self.draw = draw
        self.x, self.y = box[0], box[1]
        self.w, self.h = box[2] - box[0], box[3] - box[1]

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.x + x * self.w, self.y + y * self.h

    def ellipse(self, x, y, rx, ry, color, outline=None, width=1):
        box = [*self.at(x - rx, y - ry), *self.at(x + rx, y + ry)]
        self.draw.ellipse(box, fill=color, outline=outline, width=width)

    def rectangle(self, x0, y0, x1, y1, color):
        self.draw.rectangle([*self.at(x0, y0), *self.at(x1, y1)], fill=color)

    def polygon(self, points, color):
        self.draw.polygon([self.at(x, y) for x, y in points], fill=color)

    def line(self, x0, y0, x1, y1, color, width):
        stroke = max(1, round(width * self.w))
        self.draw.line([*self.at(x0, y0), *self.at(x1, y1)], fill=color, width=stroke)

    def pie(self, x, y, r, start, end, color):
        box = [*self.at(x - r, y - r), *self.at(x + r, y + r)]
        self.draw.pieslice(box, start, end, fill=color)


def mix_colors(color: Color, other: Color, share: float) -> Color:
    """`color` with `share` of `other` in it."""
    return tuple(round(a + (b - a) * share) for a, b in zip(color, other, strict=True))


def shift_color(color: Color, hue: float, light: float) -> Color:
    """`color` with its hue shifted by `hue` (of 1) and its lightness multiplied."""
    hue_now, lightness, saturation = colorsys.rgb_to_hls(*(c / 255 for c in color))
    changed = ((hue_now + hue) % 1, min(lightness * light, 0.95), saturation)
    return tuple(round(255 * c) for c in colorsys.hls_to_rgb(*changed))


def measure_lift(m: Moment) -> float:
    """Height of a striker: 0 at contact, up to 1 between; falls ever faster within `SWING`."""
    falling = min(SWING, 0.55 * m.gap)
    if m.until < falling:
        return 1 - (1 - m.until / falling) ** 2
    if not math.isfinite(m.since):
        return 1.0
    rising = m.gap - falling if math.isfinite(m.gap) else 0.5
    return 0.5 - 0.5 * math.cos(math.pi * min(m.since / rising, 1.0))


def draw_ground(pen: Pen, color: Color, top: float = 0.9) -> None:
    pen.rectangle(0, top, 1, 1, color)


def draw_wood(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A block that falls and bounces on a floor."""
    side = 0.38 * scene.size
    fall = 0.75 - side * 0.5
    if math.isfinite(m.gap):
        height = min(fall, 2.2 * m.gap**2) * 4 * (m.since / m.gap) * (m.until / m.gap)
    elif math.isfinite(m.until):
        height = fall * min(m.until / 0.45, 1.0) ** 0.9
    else:
        height = 0.0
    squash = 1 - 0.3 * m.flash
    wide, tall = side / squash**0.5, side * squash
    draw_ground(pen, mix_colors(mix_colors(color, (60, 30, 10), 0.6), WHITE, 0.75 * m.flash), 0.86)
    bottom = 0.86 - height
    face = mix_colors(color, (255, 240, 200), 0.7 * m.flash)
    pen.rectangle(0.5 - wide / 2, bottom - tall, 0.5 + wide / 2, bottom, face)
    for k in (0.25, 0.5, 0.75):
        y = bottom - tall * k
        pen.line(0.5 - wide / 2, y, 0.5 + wide / 2, y, mix_colors(face, (60, 30, 10), 0.5), 0.012)


def draw_metal(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A bar on two strings, struck by a hammer from above."""
    half, sink = 0.38 * scene.size, 0.06 * m.flash
    bar = mix_colors(color, WHITE, 0.8 * m.flash)
    y = 0.72 + sink
    for x in (0.5 - half * 0.7, 0.5 + half * 0.7):
        pen.line(x, 0.0, x, y, (40, 40, 50), 0.015)
    pen.rectangle(0.5 - half, y - 0.1, 0.5 + half, y + 0.1, bar)
    pen.rectangle(0.5 - half, y - 0.06, 0.5 + half, y - 0.03, mix_colors(bar, WHITE, 0.5))
    up = 0.42 * measure_lift(m) * (0.55 + 0.45 * m.next_strength)
    head = y - 0.1 - up
    pen.line(0.62, head - 0.07, 1.0, head - 0.16, (225, 110, 20), 0.07)
    pen.rectangle(0.42, head - 0.17, 0.66, head, (30, 30, 36))


def draw_glass(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A goblet, struck by a spoon from the left."""
    s, lean = scene.size, 0.035 * m.flash
    bowl = mix_colors(color, WHITE, 0.75 * m.flash)
    x, rim = 0.66 + lean, 0.55 - 0.25 * s
    rx = 0.19 * s
    pen.ellipse(x, 0.9, rx * 0.8, 0.035, bowl)
    pen.line(x, 0.55, x, 0.9, bowl, 0.05)
    pen.polygon([(x - rx, rim), (x + rx, rim), (x + rx * 0.6, 0.6), (x - rx * 0.6, 0.6)], bowl)
    pen.ellipse(x, rim, rx, 0.045, mix_colors(bowl, (20, 90, 110), 0.45))
    back = 0.36 * measure_lift(m) * (0.55 + 0.45 * m.next_strength)
    tip = x - rx - back
    pen.line(tip - 0.5, rim + 0.26, tip - 0.06, rim + 0.12, (205, 60, 160), 0.06)
    pen.ellipse(tip - 0.075, rim + 0.11, 0.075, 0.09, (205, 60, 160))


def draw_drum(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A drum with two sticks that alternate."""
    half, top = 0.36 * scene.size, 0.62
    shell = mix_colors(color, (255, 160, 150), 0.5 * m.flash)
    skin = mix_colors((235, 225, 200), (255, 255, 90), m.flash)
    pen.rectangle(0.5 - half, top, 0.5 + half, 0.92, shell)
    pen.ellipse(0.5, 0.92, half, 0.07, shell)
    pen.ellipse(0.5, top + 0.02 * m.flash, half, 0.1 - 0.03 * m.flash, skin)
    for side in (0, 1):
        coming = (m.index % 2) == side
        up = measure_lift(m) if coming else max(0.6, measure_lift(m))
        if not coming and m.since < 0.15:
            up = 0.6 * m.since / 0.15
        x = 0.5 + (0.16, -0.16)[side]
        out = (0.42, -0.42)[side]
        y = top - 0.02 - 0.42 * up
        pen.line(x, y, x + out, y - 0.22, (250, 215, 120), 0.06)
        pen.ellipse(x, y - 0.02, 0.06, 0.06, (250, 215, 120))


def draw_bell(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A bell that swings; its clapper meets it at the ends of the swing."""
    if math.isfinite(m.gap):
        swing = math.cos(math.pi * m.since / m.gap)
    elif math.isfinite(m.until):
        swing = -math.cos(math.pi * min(m.until / 0.7, 1.0))
    else:
        swing = math.exp(-m.since / 0.8) * math.cos(math.pi * m.since / 0.7)
    angle = 0.5 * swing * (1 if m.index % 2 else -1)
    metal_color = mix_colors(color, WHITE, 0.8 * m.flash)
    cos, sin = math.cos(angle), math.sin(angle)

    def rotate(x: float, y: float) -> tuple[float, float]:
        return 0.5 + x * cos - y * sin, 0.1 + x * sin + y * cos

    s = 0.85 * scene.size
    pen.rectangle(0.1, 0.02, 0.9, 0.09, (90, 50, 20))
    clapper = rotate(0.16 * s * math.copysign(min(1.0, abs(swing) * 1.4), -angle), 0.72 * s)
    pen.ellipse(*clapper, 0.07, 0.07, (80, 40, 10))
    outline = [(-0.1, 0.02), (-0.2, 0.12), (-0.23, 0.4), (-0.36, 0.64)]
    outline += [(-x, y) for x, y in outline[::-1]]
    pen.polygon([rotate(x * s, y * s) for x, y in outline], metal_color)
    pen.polygon(
        [rotate(x * s, y * s) for x, y in [(-0.36, 0.6), (0.36, 0.6), (0.36, 0.67), (-0.36, 0.67)]],
        mix_colors(metal_color, (120, 60, 0), 0.4),
    )


def draw_drop(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """Drops that fall from a tap into a pool, with a splash and rings."""
    top, surface, r = 0.16, 0.72, 0.085 * scene.size
    pool = mix_colors(color, (170, 225, 255), 0.8 * m.flash)
    pen.rectangle(0.0, surface, 1.0, 1.0, pool)
    pen.rectangle(0.36, 0.0, 0.64, 0.11, (185, 185, 195))
    if m.since < 0.5:
        grown = m.since / 0.5
        ring = mix_colors((220, 240, 255), color, grown)
        pen.ellipse(0.5, surface + 0.12, 0.12 + 0.36 * grown, 0.03 + 0.08 * grown, None, ring, 2)
    if m.since < 0.16:
        tall = 0.24 * math.sin(math.pi * m.since / 0.16) * scene.size + 0.03
        for lean in (-0.16, 0.0, 0.16):
            pen.line(0.5 + lean / 2, surface, 0.5 + lean, surface - tall, (210, 235, 255), 0.06)
    falling = min(0.34, 0.7 * m.gap)
    if m.until < falling:
        y = top + (surface - top) * (1 - m.until / falling) ** 2
        pen.ellipse(0.5, y - r * 0.4, r, r * 1.25, (120, 190, 255), (240, 250, 255))
    elif math.isfinite(m.until):
        grown = 1.0 - min((m.until - falling) / 0.3, 1.0)
        pen.ellipse(0.5, 0.11, r * grown, r * grown, (120, 190, 255))


def draw_wheel(pen: Pen, scene: Scene, m: Moment, color: Color) -> None:
    """A wheel of sectors under a pawl that ticks at every sector."""
    gap = m.gap if math.isfinite(m.gap) else 0.38
    since = m.since if math.isfinite(m.since) else gap - min(m.until, gap)
    turned = 45.0 * (m.index + min(since / gap, 1.0)) - 90.0
    r = 0.37 * min(scene.size, 1.15)
    pale = (245, 245, 235)
    pen.ellipse(0.5, 0.56, r + 0.025, r + 0.025, (20, 60, 30))
    pen.ellipse(0.5, 0.56, r, r, pale)
    for k in range(0, 8, 2):
        pen.pie(0.5, 0.56, r, turned + 45 * k, turned + 45 * (k + 1), color)
    pen.ellipse(0.5, 0.56, 0.09, 0.09, mix_colors((20, 60, 30), (255, 240, 60), m.flash))
    tip = 0.56 - r + 0.05 - 0.06 * m.flash
    pawl = mix_colors((190, 40, 200), (255, 250, 120), m.flash)
    pen.polygon([(0.36, 0.0), (0.64, 0.0), (0.5, tip)], pawl)


def draw_rain(pen: Pen, scene: Scene, density: float, color: Color, rng) -> None:
    """Streaks under a cloud, more of them in heavier rain."""
    pen.rectangle(0, 0, 1, 1, mix_colors(color, (30, 36, 50), 0.6 * density))
    for x in (0.15, 0.4, 0.65, 0.88):
        pen.ellipse(x, 0.08, 0.2, 0.13, mix_colors((120, 126, 140), (50, 54, 64), density))
    count = round(70 * density)
    starts = rng.uniform((-0.05, 0.15), (1.0, 0.92), (count, 2))
    length = 0.11 * scene.size
    for x, y in starts.tolist():
        pen.line(x, y, x - 0.35 * length, y + length, (190, 210, 240), 0.014)


PROPS: dict[str, Callable] = {
    "wood": draw_wood, "metal": draw_metal, "glass": draw_glass, "drum": draw_drum,
    "bell": draw_bell, "drop": draw_drop, "wheel": draw_wheel,
}  # fmt: skip


def pick_color(name: str, rng: np.random.Generator) -> Color:
    """The class's color, a little different in each clip."""
    return shift_color(COLORS[name], rng.uniform(-0.025, 0.025), rng.uniform(0.88, 1.12))
