"""Limits of the page's files and fields; beyond them, an error in a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.media.reading import MediaInfo

MEGA = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest values that the page takes.

    Attributes:
      megabytes: of an uploaded file.
      seconds: of a video, and of the generated sound.
      side: pixels of a video's longer side.
      characters: of a text.
      candidates: of a request.
      steps: of the solver.
      queue: waiting requests.
      keep: seconds that uploads and results stay on the disk.
    """

    megabytes: float = 100
    seconds: float = 120
    side: int = 4096
    characters: int = 600
    candidates: int = 8
    steps: int = 200
    queue: int = 16
    keep: int = 1800

    def check_file(self, path: Path, name: str) -> None:
        """Raises an InputError for a file that is too large."""
        size = path.stat().st_size / MEGA
        if size > self.megabytes:
            raise InputError(
                f"{name} has {size:.0f} MB; this page takes up to {self.megabytes:g} MB."
            )

    def check_video(self, path: Path) -> MediaInfo:
        """The description of a video.

        Raises:
          InputError: no video, or one that is too long or too large.
        """
        self.check_file(path, "The video")
        info = media.probe(path)
        if info.duration > self.seconds:
            raise InputError(
                f"The video lasts {info.duration:.0f} s; this page takes up to {self.seconds:g} s."
            )
        if max(info.width, info.height) > self.side:
            raise InputError(
                f"The video has {info.width} x {info.height} pixels; this page takes up to "
                f"{self.side} a side."
            )
        return info

    def check_text(self, text: str) -> None:
        """Raises an InputError for a text that is too long."""
        if len(text) > self.characters:
            raise InputError(
                f"The text has {len(text)} characters; this page takes up to {self.characters}."
            )

    def check_number(self, name: str, value: float | None, low: float, high: float) -> None:
        """Raises an InputError for a number outside its range; None is any."""
        if value is not None and not low <= value <= high:
            raise InputError(f"{name} is {value:g}; this page takes {low:g} to {high:g}.")


def format_error(error: Exception, folders: Sequence[Path]) -> str:
    """An error for the page, one sentence: files by their roles, fields without dashes."""
    text = one_line(error)
    for folder in folders:
        file = rf"{re.escape(str(folder))}/([\w/]+)(\.\w+)?"
        text = re.sub(file, lambda match: "the " + match[1].replace("/", " "), text)
    text = re.sub(r"--(\w+)=?", lambda match: match[1].replace("_", " ") + " ", text)
    text = re.sub(r"\s+([:;,.])", r"\1", text).strip()
    return text[:1].upper() + text[1:]
