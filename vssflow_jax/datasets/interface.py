"""What a data set is to this package: a listing of its clips, and the numbers to expect of it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from vssflow_jax.common import tables
from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import AUDIO_ENDINGS, VIDEO_ENDINGS
from vssflow_jax.text.alignment import WordInterval

# Where an expected number comes from: the publisher's page or files, other users' reports, or
# descriptions of the set without a source.
OFFICIAL, REPORTED, UNCONFIRMED = "official", "reported", "unconfirmed"
TEXT_ENDINGS = (".txt", ".lab")
ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")
CLIP_PART, ALIGNMENT_PART = "clip", "alignment"
SPLIT_LISTS = {"train.txt": "train", "val.txt": "valid", "test.txt": "test"}
LEFTOVERS = "__MACOSX"  # folder of what macOS adds to archives; its files begin with ._ elsewhere


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """A clip of a data set.

    Attributes:
      id: unique in the data set, and a file name.
      split: train, valid or test.
      task: sound, speech or joint.
      video, audio: files; without `audio`, the video's own track.
      text: what is said.
      speaker: whose voice it is; another clip of the same becomes the reference.
      words: when each word is said.
      annotation: other facts, which are copied into the record.
    """

    id: str
    split: str
    task: str
    video: str | None = None
    audio: str | None = None
    text: str | None = None
    speaker: str | None = None
    words: tuple[WordInterval, ...] = ()
    annotation: Mapping = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """What cannot be used of a clip that the data set lists.

    Attributes:
      id: the clip's.
      part: all of it (CLIP_PART) or its alignment (ALIGNMENT_PART).
      reason: what is missing or wrong.
      split: the clip's; empty if unknown.
    """

    id: str
    part: str
    reason: str
    split: str = ""


@dataclasses.dataclass(kw_only=True)
class Listing:
    """What a data set's lists and its folder hold.

    Attributes:
      examples: clips that are on disk.
      missing: clips that are not, and alignments that cannot be used.
      counts: numbers to compare with the expected ones, by their names.
      notes: lines about what was found, for the screen.
    """

    examples: list[Example] = dataclasses.field(default_factory=list)
    missing: list[Missing] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def omit(self, name: str, reason: str, split: str = "", part: str = CLIP_PART) -> None:
        """Lists a clip, or its alignment, as missing."""
        self.missing.append(Missing(id=name, part=part, reason=reason, split=split))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """A number that a data set is known for.

    Attributes:
      count: the number.
      basis: where it comes from.
    """

    count: int
    basis: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaFormat:
    """What the media of a data set are said to be; None where clips differ.

    Attributes:
      fps: frames a second.
      width, height: pixels.
      sample_rate: of the sound, in samples a second.
      basis: where the numbers come from.
    """

    fps: float | None = None
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = None
    basis: str = REPORTED


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set.

    Attributes:
      name: as on the command line.
      list_examples: lists what is on a user's disk.
      expected: numbers to compare `Listing.counts` with.
      media: what its media are said to be.
      splits: names that `--split` may have; the first is the default.
      needs_transcripts: whether `--transcripts` must name a folder.
    """

    name: str
    list_examples: Callable[[Source], Listing]
    expected: Mapping[str, Expected] = dataclasses.field(default_factory=dict)
    media: MediaFormat = MediaFormat()
    splits: tuple[str, ...] = ()
    needs_transcripts: bool = False


class FileIndex:
    """The files of a folder and its subfolders, by stem and by name.

    Hidden files and the leftovers of macOS in archives do not count.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = pathlib.Path(root)
        self.paths: list[str] = []
        self._by_name: dict[str, list[str]] = collections.defaultdict(list)
        self._media: dict[str, list[str]] = collections.defaultdict(list)
        for place, folders, names in os.walk(self.root):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f != LEFTOVERS)
            for name in sorted(names):
                if not name.startswith("."):
                    self._add(place, name)

    def _add(self, place: str, name: str) -> None:
        path = os.path.join(place, name)
        self.paths.append(path)
        self._by_name[name].append(path)
        stem, ending = os.path.splitext(name)
        if ending.lower() in VIDEO_ENDINGS + AUDIO_ENDINGS:
            self._media[stem].append(path)

    def find_media(self, *stems: str, endings: Sequence[str] = VIDEO_ENDINGS) -> str | None:
        """The first file with one of the stems and one of the endings, or None."""
        for stem in stems:
            for path in self._media.get(stem, ()):
                if path.lower().endswith(tuple(endings)):
                    return path
        return None

    def find_file(self, *names: str) -> str | None:
        """The first file with one of the names, or None."""
        return next((self._by_name[name][0] for name in names if name in self._by_name), None)

    def list_media(self, endings: Sequence[str] = VIDEO_ENDINGS) -> Iterator[tuple[str, str]]:
        """(stem, path) of every file with one of the endings, in the order of the paths."""
        for path in self.paths:
            stem, ending = os.path.splitext(os.path.basename(path))
            if ending.lower() in endings:
                yield stem, path

    def count_archives(self) -> int:
        """How many archives there are."""
        return sum(path.lower().endswith(ARCHIVE_ENDINGS) for path in self.paths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What a user has of a data set.

    Attributes:
      files: everything below `--root`.
      lists: everything below `--lists`; without it the same as `files`.
      split: the division into training, validation and test, for sets with several.
      transcripts: everything below `--transcripts`, if that was named.
    """

    files: FileIndex
    lists: FileIndex
    split: str = ""
    transcripts: FileIndex | None = None

    def find_list(self, *names: str) -> str | None:
        """The first file with one of the names among the lists, then among all files, or None."""
        return self.lists.find_file(*names) or self.files.find_file(*names)

    def require_list(self, *names: str, origin: str) -> str:
        """A list that the data set cannot do without.

        Raises:
          InputError: names the list and its origin.
        """
        path = self.find_list(*names)
        if path is None:
            raise InputError(
                f"{self.lists.root}: found no {' or '.join(names)}, expected it there "
                f"({origin}) or below --lists"
            )
        return path

    def read_split_lists(self) -> dict[str, str]:
        """Split by the names in train.txt, val.txt and test.txt; empty without these lists.

        A line is a name, which an ending or a column after | may follow.
        """
        splits: dict[str, str] = {}
        for file, split in SPLIT_LISTS.items():
            path = self.find_list(file)
            for line in read_lines(path) if path else ():
                splits[os.path.splitext(line.split("|")[0].strip())[0]] = split
        return splits


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a text file that are not blank, without blanks at their ends.

    Raises:
      InputError: not text, or it cannot be read.
    """
    text = tables.read_text(path, "a list or a transcript")
    return [line.strip() for line in tables.split_lines(text) if line.strip()]


def read_csv(path: str | os.PathLike, comment: str = "") -> Iterator[tuple[int, list[str]]]:
    """(number of the row, from 1, its cells) of a CSV file without a header.

    Blanks behind separators do not count, nor rows that begin with `comment`.

    Raises:
      InputError: not UTF-8 text, or not CSV.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = (line for line in file if not (comment and line.startswith(comment)))
        reader = csv.reader(lines, skipinitialspace=True)
        try:
            yield from ((number, cells) for number, cells in enumerate(reader, 1) if cells)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: {error}, expected CSV in UTF-8") from None


def read_transcript(path: str | os.PathLike) -> str:
    """All words of a text file, with single blanks between them."""
    return " ".join(" ".join(read_lines(path)).split())
