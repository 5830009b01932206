"""Frames of a clip: background, face and event source, composed frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vssflow_jax.corpus import backgrounds, face, props, visemes
from vssflow_jax.corpus.scenes import Scene, describe_moment

SIDE = 128  # pixels of the square picture
RATE = 25.0  # frames a second
SUPER = 2  # props are drawn this many times larger and averaged down

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speaker:
    """A face in the picture: its look, what it says, where the middle of its head is, its scale."""

    look: face.Look
    sounds: Sequence[tuple[float, float, str]]
    x: int
    y: int
    scale: float

    @property
    def mouth(self) -> Box:
        """Pixels that hold the mouth in every frame: x0, y0, x1, y1."""
        return face.locate_mouth(self.x, self.y, self.scale)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """An event source in the picture: its scene and the box in which it is drawn."""

    scene: Scene
    box: Box


def draw_layout(task: str, rng: np.random.Generator) -> tuple[tuple[int, int, float], Box]:
    """Where face (x, y, scale) and event box lie; side by side in a joint clip."""
    if task == "joint":
        left = bool(rng.integers(2))
        scale = rng.uniform(0.7, 0.76)
        x = (33 if left else SIDE - 33) + int(rng.integers(-2, 3))
        x0 = (66 if left else 0) + int(rng.integers(-1, 2))
        y0 = int(rng.integers(14, 40))
        return (x, 58 + int(rng.integers(-5, 8)), scale), (x0, y0, x0 + 62, y0 + 82)
    scale = rng.uniform(0.9, 1.05)
    wide = int(rng.integers(96, 121))
    x0, y0 = (int(v) for v in rng.integers(0, SIDE - wide + 1, 2))
    at = (64 + int(rng.integers(-8, 9)), 58 + int(rng.integers(-5, 7)), scale)
    return at, (x0, y0, x0 + wide, y0 + wide)


def render_frames(speaker: Speaker | None, source: Source | None, frames: int, rng) -> np.ndarray:
    """Draws a clip: uint8 [frames, 128, 128, 3] at 25 a second."""
    background = backgrounds.draw_background(frames, SIDE, RATE, rng)
    actors = []
    if speaker:
        actors.append(_Talker(speaker, frames, rng))
    if source:
        actors.append(_Prop(source, rng))
    pictures = np.empty((frames, SIDE, SIDE, 3), np.uint8)
    for frame in range(frames):
        x, y = (int(v) for v in background.offsets[frame])
        picture = background.picture.crop((x, y, x + SIDE, y + SIDE))
        for actor in actors:
            actor.draw(picture, frame)
        pictures[frame] = backgrounds.finish_frame(background, frame, np.asarray(picture))
    return pictures


class _Talker:
    """Pastes head and mouth of every frame."""

    def __init__(self, speaker: Speaker, frames: int, rng: np.random.Generator):
        self.speaker = speaker
        self.shapes = visemes.trace_mouth(speaker.sounds, frames, RATE)
        self.sway = face.draw_sway(frames, RATE, rng)
        self.closed = face.draw_blinks(frames, RATE, rng)
        self.heads = [
            face.draw_head(speaker.look, speaker.scale, closed) for closed in (False, True)
        ]
        self.patches: dict[tuple, Image.Image] = {}

    def draw(self, picture: Image.Image, frame: int) -> None:
        speaker, (dx, dy) = self.speaker, self.sway[frame].tolist()
        x, y, scale = speaker.x + dx, speaker.y + dy, speaker.scale
        head, (left, up) = self.heads[int(self.closed[frame])]
        picture.paste(head, (round(x - left), round(y - up)), head)
        patch = self._draw_mouth(frame)
        corner = (x - face.MOUTH_X * scale, y + (face.MOUTH_Y - face.MOUTH_UP) * scale)
        picture.paste(patch, (round(corner[0]), round(corner[1])), patch)

    def _draw_mouth(self, frame: int) -> Image.Image:
        """The mouth of a frame; equal shapes (the closed mouth, mostly) are drawn once."""
        shape = np.round(self.shapes[frame], 2)
        key = tuple(shape.tolist())
        if key not in self.patches:
            self.patches[key] = face.draw_mouth(self.speaker.look, self.speaker.scale, shape)
        return self.patches[key]


class _Prop:
    """Draws the event source of every frame."""

    def __init__(self, source: Source, rng: np.random.Generator):
        self.source, self.rng = source, rng
        self.color = props.pick_color(source.scene.name, rng)

    def draw(self, picture: Image.Image, frame: int) -> None:
        box, scene = self.source.box, self.source.scene
        wide, tall = (box[2] - box[0]) * SUPER, (box[3] - box[1]) * SUPER
        layer = picture.crop(box).resize((wide, tall), Image.Resampling.NEAREST)
        pen = props.Pen(ImageDraw.Draw(layer), (0, 0, wide, tall))
        if scene.density is not None:
            props.draw_rain(pen, scene, float(scene.density[frame]), self.color, self.rng)
        else:
            props.PROPS[scene.name](pen, scene, describe_moment(scene, frame / RATE), self.color)
        picture.paste(layer.reduce(SUPER), box[:2])
