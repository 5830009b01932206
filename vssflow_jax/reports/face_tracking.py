"""A contact sheet of face tracking: frames with the box of the mouth, and crops of the mouth."""

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
NUM_FRAMES = 5  # with boxes
DETECTED, INTERPOLATED = (60, 220, 90), (230, 60, 60)  # colors of a box


def draw_contact_sheet(
    frames: Iterable[np.ndarray], track: face_tracking.MouthTrack
) -> Image.Image:
    """Frames with the mouth's box (red where it is interpolated) above crops of the mouth."""
    last, side = len(track.detected) - 1, face_tracking.SIDE
    framed, cropped = (np.linspace(0, last, n).astype(int) for n in (NUM_FRAMES, COLUMNS * ROWS))
    selected = {k: frame for k, frame in enumerate(frames) if k in {*framed, *cropped}}
    width = COLUMNS * side // NUM_FRAMES
    height = round(width * selected[0].shape[0] / selected[0].shape[1])
    sheet = Image.new("RGB", (COLUMNS * side, height + ROWS * side))
    for column, number in enumerate(framed):
        image = Image.fromarray(selected[number])
        color = DETECTED if track.detected[number] else INTERPOLATED
        ImageDraw.Draw(image).rectangle(tuple(map(float, track.boxes[number])), outline=color)
        sheet.paste(image.resize((width, height)), (column * width, 0))
    crops = track.select(cropped).crop(selected[number] for number in cropped)
    for number, crop in enumerate(crops):
        row, column = divmod(number, COLUMNS)
        sheet.paste(Image.fromarray(crop), (column * side, height + row * side))
    return sheet


def parse_face(text: str | None) -> list[float] | None:
    """The numbers of --face: x,y or x0,y0,x1,y1; None without the flag."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 4):
        raise InputError(f"--face: found {text!r}, expected x,y or x0,y0,x1,y1 in pixels")
    return numbers


def write_contact_sheet(video: str, out: Path, face: Sequence[float] | None) -> str:
    """Writes the contact sheet of a video's face as PNG; returns lines on what was found.

    The first one is about the coverage, the others about missing pictures.

    Args:
      video: file with a face.
      out: picture to write, a .png name.
      face: a point (x, y) or a box (x0, y0, x1, y1) in pixels; None: the largest face.

    Raises:
      InputError: no face, or another ending than .png.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--out={out}: expected a .png name")
    frames = media.FrameReader(video, rate=VIDEO_RATE, max_side=None)
    track = face_tracking.track_mouth(frames, face)
    if track is None:
        count = round(frames.duration * VIDEO_RATE)
        raise InputError(f"{video}: found no face in {count} pictures, expected one")
    with replacing(out) as partial:
        draw_contact_sheet(frames, track).save(partial, format="PNG")
    enough = track.coverage >= face_tracking.MIN_COVERAGE
    use = "used as lips" if enough else "too few for lips"
    coverage = f"a mouth in {track.detected.sum()} of {len(track.detected)} pictures ({use})"
    return "\n".join([f"{out}: {coverage}", *(f"note: {note}" for note in frames.notes)])
