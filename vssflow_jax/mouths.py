"""What the face finder sees: `python -m vssflow_jax.mouths --video=in.mp4 --out=mouths.png`.

Prints in how many pictures a mouth was found, and draws some of them with their boxes above
the crops that a lip encoder gets.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from vssflow_jax import errors, media
from vssflow_jax.errors import InputError
from vssflow_jax.features import faces
from vssflow_jax.features.encode import VIDEO_RATE
from vssflow_jax.files import replacing

COLUMNS, ROWS = 10, 3  # of crops
SHOWN = 5  # pictures with boxes
FOUND, GUESSED = (60, 220, 90), (230, 60, 60)


def sheet(frames: np.ndarray, mouth: faces.Mouth) -> Image.Image:
    """Pictures with the mouth's box (red where it was interpolated) above crops of the mouth."""
    width = COLUMNS * faces.SIDE
    each = width // SHOWN
    height = round(each * frames.shape[1] / frames.shape[2])
    out = Image.new("RGB", (width, height + ROWS * faces.SIDE))
    for place, at in enumerate(np.linspace(0, len(frames) - 1, SHOWN).astype(int)):
        picture = Image.fromarray(frames[at])
        colour = FOUND if mouth.found[at] else GUESSED
        ImageDraw.Draw(picture).rectangle(tuple(map(float, mouth.boxes[at])), outline=colour)
        out.paste(picture.resize((each, height)), (place * each, 0))
    crops = mouth.crops(frames)
    for place, at in enumerate(np.linspace(0, len(frames) - 1, COLUMNS * ROWS).astype(int)):
        row, column = divmod(place, COLUMNS)
        corner = column * faces.SIDE, height + row * faces.SIDE
        out.paste(Image.fromarray(crops[at]), corner)
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


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("video", None, "Video with a face.", required=True)
    flags.DEFINE_string("out", None, "Picture to write (.png).", required=True)
    flags.DEFINE_string("face", None, "Which face: x,y or x0,y0,x1,y1 in pixels; default: largest.")


def main() -> None:
    """Flags in, a picture out."""
    given = flags.FLAGS
    out, face = Path(given.out), point(given.face)
    if out.suffix.lower() != ".png":
        raise InputError(f"--out={out}: expected a .png name")
    frames = media.read_video(given.video, rate=VIDEO_RATE, max_side=None).frames
    mouth = faces.find_mouth(frames, face)
    if mouth is None:
        raise InputError(f"{given.video}: found no face in {len(frames)} pictures, expected one")
    with replacing(out) as partial:
        sheet(frames, mouth).save(partial, format="PNG")
    use = "used as lips" if mouth.coverage >= faces.COVERAGE else "too few for lips"
    print(f"{out}: a mouth in {mouth.found.sum()} of {len(frames)} pictures ({use})")


if __name__ == "__main__":
    define_flags()
    errors.run(main)
