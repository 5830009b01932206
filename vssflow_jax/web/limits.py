"""Limits of the page's files and fields; beyond them, an error in a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import DISK_ERRORS, InputError, disk_error, one_line
from vssflow_jax.config.rules import FINITE
from vssflow_jax.media.video import MediaInfo

MEGA = 1_000_000
TIME_TOLERANCE = 0.01  # seconds; fields show two decimals
SKIP_LABEL = "Skip characters that cannot be read"  # of the field for --text_policy


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

    def __post_init__(self):
        for name in ("megabytes", "seconds"):
            if not FINITE.holds(getattr(self, name)):
                raise InputError(
                    f"--{name}: found {getattr(self, name)}, expected {FINITE.expected}"
                )

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


def parse_number(name: str, value: object, *, is_whole: bool = False) -> float | int | None:
    """The number in a field; None for an empty one.

    Raises:
      InputError: a text, or a fraction where a whole number is expected.
    """
    text = str(value).strip() if value is not None else ""
    if not text:
        return None
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        raise InputError(f"{name} is {text[:40]!r}; this page takes numbers.") from None
    if not is_whole:
        return number
    if not number.is_integer():
        raise InputError(f"{name} is {text[:40]}; this page takes whole numbers.")
    return int(number)


def fit_times(
    start: float | None, end: float | None, seconds: float
) -> tuple[float | None, float | None, list[str]]:
    """When speech starts and ends within `seconds`, and a line about each time that had to change.

    Times get too late when a shorter video is chosen after them.
    """
    notes = []
    if end is not None and end > seconds + TIME_TOLERANCE:
        notes.append(
            f"speech ends at {seconds:.2f} s instead of {end:.2f} s, since the clip ends there"
        )
        end = seconds
    if start is not None and start >= seconds:
        notes.append(
            f"speech starts at 0 s instead of {start:.2f} s, since the clip lasts {seconds:.2f} s"
        )
        start = 0.0
    return start, end, notes


# ---- errors -------------------------------------------------------------------------------


def format_error(error: Exception, folders: Sequence[Path] = ()) -> str:
    """An error for the page, one sentence: files by their roles, fields by their labels."""
    text = one_line(error)
    for folder in folders:
        text = re.sub(rf"(--\w+=)?{re.escape(str(folder))}/([\w/]+)(\.\w+)?", _name_role, text)
    text = text.replace("--text_policy=skip", f'"{SKIP_LABEL}"')
    text = re.sub(r"--(\w+)=?", lambda match: match[1].replace("_", " ") + " ", text)
    text = re.sub(r"\s+([:;,.)])", r"\1", " ".join(text.split()))
    return text[:1].upper() + text[1:]


def _name_role(match: re.Match) -> str:
    role = match[2].replace("/", " ")
    return role if role.startswith("voice ") else f"the {role}"


def describe_failure(error: Exception) -> str:
    """A failure that is not the visitor's, as a sentence; the server's log has the rest."""
    cause = disk_error(error)
    if cause is not None:
        return f"The server cannot write its files: {DISK_ERRORS[cause.errno]}."
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "The server ran out of memory; a shorter video, fewer candidates or a smaller picture "
            "need less."
        )
    return f"The server failed ({type(error).__name__}); its log says where."
