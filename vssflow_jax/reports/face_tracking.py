"""A picture of what the face tracker sees: frames with the box of the mouth, and the crops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing
from vssflow_jax.features import face_tracking
from vssflow_jax.features.registry import VIDEO_RATE

COLUMNS, ROWS = 10, 3  # of crops
SHOWN = 5  # pictures with boxes
FOUND, GUESSED = (60, 220, 90), (230, 60, 60)


def sheet(frames: Iterable[np.ndarray], mouth: face_tracking.MouthTrack) -> Image.Image:
    """Pictures with the mouth's box (red where it was interpolated) above crops of the mouth."""
    last = len(mouth.detected) - 1
    shown, cropped = (np.linspace(0, last, n).astype(int) for n in (SHOWN, COLUMNS * ROWS))
    kept = {k: frame for k, frame in enumerate(frames) if k in {*shown, *cropped}}
    width = COLUMNS * face_tracking.SIDE
    each = width // SHOWN
    height = round(each * kept[0].shape[0] / kept[0].shape[1])
    out = Image.new("RGB", (width, height + ROWS * face_tracking.SIDE))
    for place, at in enumerate(shown):
        picture = Image.fromarray(kept[at])
        colour = FOUND if mouth.detected[at] else GUESSED
        ImageDraw.Draw(picture).rectangle(tuple(map(float, mouth.boxes[at])), outline=colour)
        out.paste(picture.resize((each, height)), (place * each, 0))
    crops = mouth.select(cropped).crop(kept[k] for k in cropped)
    for place, crop in enumerate(crops):
        row, column = divmod(place, COLUMNS)
        out.paste(
            Image.fromarray(crop), (column * face_tracking.SIDE, height + row * face_tracking.SIDE)
        )
    return out


def point(text: str | None) -> list[float] | None:
    """Numbers of --face: x,y or x0,y0,x1,y1."""
    try:
        numbers = None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if numbers is not None and len(numbers) not in (2, 4):
        raise InputError(f"--face: found {text!r}, expected x,y or x0,y0,x1,y1 in pixels")
    return numbers


def write_sheet(video: str, out: Path, face: Sequence[float] | None) -> str:
    """Writes the contact sheet of a video's face as PNG; returns a sentence on what was found.

    Args:
      video: file with a face.
      out: picture to write, a .png name.
      face: a point (x, y) or a box (x0, y0, x1, y1) in pixels; None: the largest face.

    Raises:
      InputError: no face, or another ending than .png.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--out={out}: expected a .png name")
    pictures = media.FrameReader(video, rate=VIDEO_RATE, max_side=None)
    mouth = face_tracking.track_mouth(pictures, face)
    if mouth is None:
        count = round(pictures.duration * VIDEO_RATE)
        raise InputError(f"{video}: found no face in {count} pictures, expected one")
    with replacing(out) as partial:
        sheet(pictures, mouth).save(partial, format="PNG")
    use = "used as lips" if mouth.coverage >= face_tracking.MIN_COVERAGE else "too few for lips"
    return f"{out}: a mouth in {mouth.detected.sum()} of {len(mouth.detected)} pictures ({use})"
