"""A folder of ordinary media files as the rows of a manifest."""

from __future__ import annotations

import collections
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.manifest import LONGEST_ID, Row

VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
TEXT, ALIGNMENTS = ".txt", (".textgrid", ".csv")
VALID, TEST = 0.05, 0.05  # shares of the clips


def read_folder(folder: str | os.PathLike, valid: float = VALID, test: float = TEST) -> list[Row]:
    """The clips of a folder and the folders in it, in the order of their names.

    Each video is a clip; so is each sound with a transcript and no video of its name. Files of
    the same name beside it belong to it: NAME.txt is what is said, NAME.TextGrid or NAME.csv
    when, NAME.wav (or another sound) its sound instead of the video's own track.

    A clip's id is its path without the ending; where that does not make a file's name of its
    own, it is mended and ends in a hash of the path. Its split follows from a hash of the
    path alone, so that more files do not move those that are there.

    Args:
      folder: where to look.
      valid: share of the validation split; so is `test`.

    Raises:
      InputError: no folder, no clip in it, or shares that leave nothing for training.
    """
    folder = pathlib.Path(folder)
    if not (valid >= 0 and test >= 0 and valid + test <= 1):
        raise InputError(f"--valid, --test: found {valid:g} and {test:g}, expected shares of 1")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with videos")
    clips = list(_clips(folder))
    if not clips:
        raise InputError(f"{folder}: found no videos, expected some of {' '.join(VIDEOS)}")
    names = _ids([name for name, _ in clips])
    return [
        _row(name, files, names[number], number, split(_parted(name)[0], valid, test))
        for number, (name, files) in enumerate(clips)
    ]


def split(name: str, valid: float, test: float) -> str:
    """The split of a clip by its name, so that `valid` and `test` are shares of many names."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if place < test else "valid" if place < test + valid else "train"


def _clips(folder: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(path of the medium within the folder, files by kind) of each clip."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        stems: dict[str, dict[str, str]] = collections.defaultdict(dict)
        for name in sorted(files):
            stem, ending = _parted(name)
            stems[stem].setdefault(ending.lower(), os.path.join(place, name))
        for name in sorted(files):
            stem, ending = _parted(name)
            beside = stems[stem]
            with_video = any(kind in beside for kind in VIDEOS)
            if ending.lower() in VIDEOS or (
                ending.lower() in SOUNDS and TEXT in beside and not with_video
            ):
                path = os.path.join(place, name)
                yield os.path.relpath(path, folder), beside | {"medium": path}


def _parted(name: str) -> tuple[str, str]:
    """Stem and ending of a name; unlike os.path.splitext also of one like `...mp4`."""
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if dot else (name, "")


def _ids(names: Sequence[str]) -> list[str]:
    """An id for each path: of its own, printable, without slashes, short enough for a file."""
    plain = [_parted(name)[0].replace(os.sep, "_") for name in names]
    fit = ["".join(c if c.isprintable() and c not in "/\\" else "_" for c in p) for p in plain]
    fit = [name.lstrip(".").strip() for name in fit]
    count = collections.Counter(fit)
    return [
        clean
        if clean == given and count[clean] == 1 and 0 < len(clean.encode()) <= LONGEST_ID
        else _marked(clean, name)
        for clean, given, name in zip(fit, plain, names, strict=True)
    ]


def _marked(clean: str, name: str) -> str:
    """What fits of an id, and eight digits that are its path's own."""
    short = clean.encode()[: LONGEST_ID - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _first(files: Mapping[str, str], endings: Sequence[str]) -> str | None:
    return next((files[ending] for ending in endings if ending in files), None)


def _row(name: str, files: Mapping[str, str], clip: str, number: int, where: str) -> Row:
    medium = os.path.abspath(files["medium"])
    is_video = name.lower().endswith(VIDEOS)
    text, problem = _text(files.get(TEXT))
    audio, alignment = _first(files, SOUNDS), _first(files, ALIGNMENTS)
    return Row(
        id=clip,
        split=where,
        task="speech" if text else "sound",
        line=number + 1,
        video=medium if is_video else None,
        audio=(os.path.abspath(audio) if audio else None) if is_video else medium,
        text=text,
        alignment=os.path.abspath(alignment) if alignment and text else None,
        problem=problem,
    )


def _text(path: str | None) -> tuple[str | None, str | None]:
    """What a transcript says on its lines, or what is wrong with it."""
    try:
        words = pathlib.Path(path).read_text(encoding="utf-8-sig").split() if path else []
    except UnicodeDecodeError:
        return None, f"{path}: not UTF-8 text, expected a transcript"
    except OSError as error:
        return None, f"{path}: {error.strerror}, expected a transcript"
    return " ".join(words) or None, None
