"""A folder of ordinary media files as the rows of a manifest."""

from __future__ import annotations

import collections
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.tables import read_text
from vssflow_jax.data.manifest import ANNOTATIONS, MAX_ID_BYTES, ManifestRow, is_file_name
from vssflow_jax.data.shards import DATASET, SKIPPED

VIDEO_ENDINGS = (
    ".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv",
    ".3gp", ".3g2", ".mts", ".m2ts", ".vob", ".ogv", ".asf", ".f4v", ".mxf", ".dv", ".qt",
)  # fmt: skip
AUDIO_ENDINGS = (  # of several files of a name the first one
    ".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".aiff", ".aif", ".wma", ".caf",
    ".w64", ".oga", ".mka", ".weba", ".amr", ".ac3", ".au",
)  # fmt: skip
TEXT_ENDING, ALIGNMENT_ENDINGS = ".txt", (".textgrid", ".csv")
VALID_SHARE, TEST_SHARE = 0.05, 0.05  # shares of the clips


def read_folder(
    folder: str | os.PathLike, valid: float = VALID_SHARE, test: float = TEST_SHARE
) -> list[ManifestRow]:
    """The clips of a folder and its subfolders, in the order of their names.

    Each video is a clip; so is each sound with a transcript and no video of its name. Files of
    the same name in the same folder belong to it: NAME.txt is what is said, NAME.TextGrid or
    NAME.csv when, NAME.wav (or another sound) its sound instead of the video's own track.

    A clip's id is its path without the ending. If that is no unique file name, the id is a similar
    name that ends in a hash of the path. The split follows from a hash of the path alone, so that
    adding files does not move the others.

    Args:
      folder: a folder of media files.
      valid: share of the clips for validation.
      test: share of the clips for tests.

    Raises:
      InputError: no folder, no clip in it, or shares that leave nothing for training.
    """
    folder = pathlib.Path(folder)
    if not (valid >= 0 and test >= 0 and valid + test <= 1):
        raise InputError(f"--valid, --test: found {valid:g} and {test:g}, expected shares of 1")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with videos")
    media = list(_list_media(folder))
    if not media:
        raise InputError(f"{folder}: found no videos, expected some of {' '.join(VIDEO_ENDINGS)}")
    names = _make_ids([name for name, _ in media])
    return [
        _make_row(
            name, files, names[number], number, assign_split(_split_ending(name)[0], valid, test)
        )
        for number, (name, files) in enumerate(media)
    ]


def find_unused(folder: str | os.PathLike) -> list[str]:
    """Files of a folder that belong to none of its clips, and links to folders: paths within it.

    A sound needs a transcript or a video of its name, a transcript either of them, an alignment a
    transcript. Hidden files, annotations and folders of shards do not count.
    """
    used: set[str] = set()
    for _, files in _list_media(folder):
        used.add(files["medium"])
        kinds = [AUDIO_ENDINGS, (TEXT_ENDING,)]
        kinds += [ALIGNMENT_ENDINGS] if TEXT_ENDING in files else []
        used |= {file for endings in kinds if (file := _find_ending(files, endings))}
    unused = []
    for place, folders, files in _walk(folder):
        unused += [os.path.join(place, x, "") for x in folders if _is_link(place, x)]
        if {DATASET, SKIPPED} <= set(files):
            folders.clear()
            continue
        paths = (os.path.join(place, name) for name in files if not name.startswith("."))
        unused += [path for path in paths if path not in used]
    paths = sorted(os.path.relpath(path, folder) for path in unused)
    return [path for path in paths if path != ANNOTATIONS]


def find_empty_transcripts(folder: str | os.PathLike) -> list[str]:
    """Transcripts without a word, whose clips count as sound: paths within the folder."""
    paths = {files[TEXT_ENDING] for _, files in _list_media(folder) if TEXT_ENDING in files}
    empty = [path for path in paths if _read_transcript(path) == (None, None)]
    return sorted(os.path.relpath(path, folder) for path in empty)


def _walk(folder: str | os.PathLike) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, without hidden folders and what macOS writes beside each file.

    A folder that cannot be read is an error.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}, expected a folder that can be read")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(x for x in folders if not x.startswith(".") and x != "__MACOSX")
        yield place, folders, [name for name in files if not name.startswith("._")]


def _is_link(place: str, name: str) -> bool:
    return os.path.islink(os.path.join(place, name))


def assign_split(name: str, valid: float, test: float) -> str:
    """The split of a clip by its name; of many names, the shares are `valid` and `test`."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64  # uniform in [0, 1)
    return "test" if position < test else "valid" if position < test + valid else "train"


def _list_media(folder: str | os.PathLike) -> Iterator[tuple[str, dict[str, str]]]:
    """(path of the medium within the folder, files by ending) of each clip."""
    for place, _, files in _walk(folder):
        stems: dict[str, dict[str, str]] = collections.defaultdict(dict)
        for name in sorted(files):
            stem, ending = _split_ending(name)
            stems[_normalize(stem)].setdefault(ending.lower(), os.path.join(place, name))
        for name in sorted(files):
            stem, ending = _split_ending(name)
            siblings = stems[_normalize(stem)]
            has_video = any(kind in siblings for kind in VIDEO_ENDINGS)
            if ending.lower() in VIDEO_ENDINGS or (
                ending.lower() in AUDIO_ENDINGS and TEXT_ENDING in siblings and not has_video
            ):
                path = os.path.join(place, name)
                yield os.path.relpath(path, folder), siblings | {"medium": path}


def _normalize(stem: str) -> str:
    """The name with accented letters as single characters: systems write them in two ways."""
    return unicodedata.normalize("NFC", stem)


def _split_ending(name: str) -> tuple[str, str]:
    """Stem and ending of a name; unlike os.path.splitext, also of one like `...mp4`."""
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if dot else (name, "")


def _make_ids(names: Sequence[str]) -> list[str]:
    """An id for each path, unique and a file name."""
    stems = [_split_ending(name)[0].replace(os.sep, "_") for name in names]
    cleaned = ["".join(c if c.isprintable() and c not in "/\\" else "_" for c in s) for s in stems]
    cleaned = [name.lstrip(". ").rstrip() for name in cleaned]
    count = collections.Counter(cleaned)
    return [
        clean
        if clean == stem and count[clean] == 1 and is_file_name(clean)
        else _add_hash(clean, name)
        for clean, stem, name in zip(cleaned, stems, names, strict=True)
    ]


def _add_hash(clean: str, name: str) -> str:
    """An id cut to length, and eight digits of its path's hash."""
    short = clean.encode()[: MAX_ID_BYTES - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _find_ending(files: Mapping[str, str], endings: Sequence[str]) -> str | None:
    return next((files[ending] for ending in endings if ending in files), None)


def _make_row(
    name: str, files: Mapping[str, str], row_id: str, number: int, split: str
) -> ManifestRow:
    medium = os.path.abspath(files["medium"])
    is_video = name.lower().endswith(VIDEO_ENDINGS)
    text, problem = _read_transcript(files.get(TEXT_ENDING))
    audio, alignment = _find_ending(files, AUDIO_ENDINGS), _find_ending(files, ALIGNMENT_ENDINGS)
    if not is_video:
        audio = medium
    return ManifestRow(
        id=row_id,
        split=split,
        task="speech" if text else "sound",
        line=number + 1,
        video=medium if is_video else None,
        audio=os.path.abspath(audio) if audio else None,
        text=text,
        alignment=os.path.abspath(alignment) if alignment and text else None,
        problem=problem,
    )


def _read_transcript(path: str | None) -> tuple[str | None, str | None]:
    """The text of a transcript, or the problem with it."""
    try:
        words = read_text(path, "a transcript").split() if path else []
    except InputError as error:
        return None, str(error)
    return " ".join(words) or None, None
