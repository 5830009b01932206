"""A folder of waves that any system made: whose each file is, and what is wrong with it.

The files are named by clip id (`speech-00001.wav`; any sound file that FFmpeg reads, any sample
rate, mono or not), or a `manifest.csv` with the columns id and audio says which is whose.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.media.reading import SAMPLE_RATE

MANIFEST = "manifest.csv"
SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".mkv", ".webm")
SLACK = 0.1  # seconds by which a file may be shorter than its clip; it is filled with silence


def files(folder: Path) -> dict[str, Path]:
    """The files by clip id; of several of one name the first in the order of SOUNDS.

    Raises:
      InputError: no folder, or a manifest without the columns.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"--generated={folder}: found {found}, expected a folder of sound files")
    if (folder / MANIFEST).exists():
        return {name: folder / file for name, file in _manifest(folder / MANIFEST).items()}
    found = sorted(sounds(folder), key=lambda path: -SOUNDS.index(path.suffix.lower()))
    return {path.stem: path for path in found}


def _manifest(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"]: row["audio"] for row in csv.DictReader(file)}
    except KeyError as error:
        raise InputError(f"{path}: expected the columns id and audio, {error} is missing") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError):
        raise InputError(f"{path}: found no text, expected a table with id and audio") from None


def sounds(folder: Path) -> list[Path]:
    """The sound files that lie in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)


def extra(folder: Path, named: Mapping[str, Path], known: Iterable[str]) -> list[dict[str, str]]:
    """What is in the folder or its manifest and is no clip's, each with the reason.

    Args:
      folder: looked at.
      named: its files by clip id.
      known: ids of the clips that there are.
    """
    known = set(known)
    strangers = {name: path for name, path in named.items() if name not in known}
    out = [
        {"file": path.name, "reason": f"no clip of the split has the id {name!r}"}
        for name, path in sorted(strangers.items())
    ]
    taken = {path.resolve() for path in named.values()}
    rest = [path for path in sounds(folder) if path.resolve() not in taken]
    why = f"not in {MANIFEST}" if (folder / MANIFEST).exists() else "another file has this id"
    return out + [{"file": path.name, "reason": why} for path in rest]


def read(path: Path, seconds: float) -> np.ndarray:
    """A clip's wave, float32 [seconds * 16000]: cut, or filled with at most SLACK of silence.

    Raises:
      InputError: missing, empty, not sound, too short, or with samples that are not numbers.
    """
    if not path.is_file():
        raise InputError(f"missing: found no file {path.name}")
    if not path.stat().st_size:
        raise InputError(f"empty: {path.name} has no bytes")
    try:
        wave = media.read_audio(path, SAMPLE_RATE)
    except InputError as error:
        text = str(error).replace(str(path), path.name)
        kind = "empty" if "without samples" in text else "corrupt"
        raise InputError(f"{kind}: {text}") from None
    if not len(wave):
        raise InputError(f"empty: {path.name} has no samples")
    if not np.isfinite(wave).all():
        raise InputError(f"corrupt: {path.name} has samples that are not numbers")
    found = len(wave) / SAMPLE_RATE
    if found < seconds - SLACK:
        raise InputError(
            f"too short: {path.name} has {found:.2f} s, expected {seconds:.2f} s "
            f"(at most {SLACK:g} s less)"
        )
    samples = round(seconds * SAMPLE_RATE)
    return np.pad(wave[:samples], (0, max(samples - len(wave), 0)))


def read_all(
    clips: Sequence[Mapping], named: Mapping[str, Path]
) -> tuple[list[Mapping], list[np.ndarray], list[dict[str, str]]]:
    """The clips that can be scored, their waves, and those left out with reasons."""
    kept, waves, skipped = [], [], []
    for clip in clips:
        name = clip["meta"]["id"]
        try:
            if name not in named:
                raise InputError("missing: the folder has no file of this clip")
            waves.append(read(named[name], clip["meta"]["duration"]))
            kept.append(clip)
        except InputError as error:
            skipped.append({"id": name, "reason": str(error)})
    return kept, waves, skipped
