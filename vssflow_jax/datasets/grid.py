"""GRID: 33 talkers who say 1,000 sentences of six words each in front of a camera.

Source: http://spandh.dcs.shef.ac.uk/gridcorpus/ and zenodo.org/records/3625687 (Cooke, Barker,
Cunningham and Shao 2006). License: free for research (Sheffield); CC BY 4.0 (Zenodo).

Below the root: videos CODE.mpg or CODE.mp4 (or sNN_CODE), each below a folder s1 to s34; talker 21
has no video. Alignments CODE.align in one folder per talker, under any name: the folders of the
archive at Zenodo bear wrong talkers' names, so the one with the same codes is taken. Expect 33,000
clips, of which about 32,750 can be used: 360 x 288, 25 frames a second, 3 s, with sound at 44.1
kHz. The text follows from the code: `bgwm4s` is "bin green with m four soon". Alignments are in
samples of 25,000 a second and become phoneme times.

There is no official split. `--split=overlapped` (default) takes 100 sentences of each talker for
tests and 25 for validation, by their hash, so that a talker with fewer has none for training;
`--split=unseen` takes talkers 1, 2, 20 and 22 for tests and 2 % of the other clips for validation.
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
from collections.abc import Iterable, Mapping

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import assign_split
from vssflow_jax.datasets.interface import (
    ALIGNMENT_PART,
    OFFICIAL,
    DataSet,
    Example,
    Expected,
    FileIndex,
    Listing,
    MediaFormat,
    Source,
    read_lines,
)
from vssflow_jax.text.alignment import WordInterval
from vssflow_jax.text.phonemes import PAUSES

WORDS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(
        zip(
            "z123456789",
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            strict=True,
        )
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
CODE = re.compile(r"(?:s\d+_)?([blps][bgrw][abiw][a-vx-z][z1-9][anps])")
TALKER = re.compile(r"s0*(\d+)")
TALKERS = frozenset(range(1, 35)) - {21}
TIME_UNITS = 25_000  # of an alignment, a second
LAST_END = (2.5, 3.2)  # seconds: where an alignment in these units ends
MIN_OVERLAP = 0.95  # share of a talker's sentences that his folder of alignments has
TEST_SENTENCES, VALID_SENTENCES = 100, 25  # of a talker, where talkers are not held out
UNSEEN_TALKERS, UNSEEN_VALID = frozenset((1, 2, 20, 22)), 0.02
OVERLAPPED, UNSEEN = "overlapped", "unseen"


def list_examples(source: Source) -> Listing:
    """The videos below the root, with their sentences, times and splits."""
    videos = find_videos(source.files)
    folders = _find_alignments(source.files)
    listing = Listing(counts={"clips": sum(map(len, videos.values())), "talkers": len(videos)})
    if absent := sorted(TALKERS - set(videos)):
        listing.notes.append(f"no videos of the talkers {', '.join(f's{t}' for t in absent)}")
    held_out = TEST_SENTENCES + VALID_SENTENCES
    small = sorted(talker for talker, clips in videos.items() if len(clips) <= held_out)
    if small and source.split == OVERLAPPED:
        listing.notes.append(
            f"none for training of the talkers {', '.join(f's{t}' for t in small)}: their first "
            f"{held_out} clips are for tests and validation (--split=unseen: by talker)"
        )
    for talker, clips in sorted(videos.items()):
        folder = _match_folder(talker, clips, folders, listing)
        splits = assign_splits(talker, clips, source.split)
        for code, video in sorted(clips.items()):
            text = decode_sentence(code)
            listing.examples.append(
                Example(
                    id=f"s{talker}_{code}",
                    split=splits[code],
                    task="speech",
                    video=video,
                    text=text,
                    speaker=f"s{talker}",
                    words=_read_words(folder.get(code), text, f"s{talker}_{code}", listing),
                )
            )
        for code in sorted(folder.keys() - clips.keys()):
            listing.omit(f"s{talker}_{code}", "alignment without video")
    return listing


def decode_sentence(code: str) -> str:
    """The sentence of a file's name: `bgwm4s` is "bin green with m four soon"."""
    return " ".join(words[letter] for words, letter in zip(WORDS, code, strict=True))


def find_videos(files: FileIndex) -> dict[int, dict[str, str]]:
    """Video by code, by talker; of several of one clip the largest file."""
    videos: dict[int, dict[str, str]] = collections.defaultdict(dict)
    for stem, path in files.list_media():
        code, talker = CODE.fullmatch(stem), _find_talker(files, path)
        if code is None or talker is None:
            continue
        other = videos[talker].get(code[1])
        if other is None or os.path.getsize(path) > os.path.getsize(other):
            videos[talker][code[1]] = path
    return dict(videos)


def _find_talker(files: FileIndex, path: str) -> int | None:
    """The talker that the nearest folder names."""
    folders = os.path.relpath(path, files.root).split(os.sep)[:-1]
    numbers = [TALKER.fullmatch(name) for name in reversed(folders)]
    return next((int(match[1]) for match in numbers if match), None)


def _find_alignments(files: FileIndex) -> dict[str, dict[str, str]]:
    """Alignment by code, by folder."""
    folders: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for path in files.paths:
        folder, name = os.path.split(path)
        stem, ending = os.path.splitext(name)
        if ending == ".align" and CODE.fullmatch(stem):
            folders[folder][stem[-6:]] = path
    return dict(folders)


def _match_folder(
    talker: int, codes: Iterable[str], folders: Mapping[str, dict[str, str]], listing: Listing
) -> dict[str, str]:
    """The folder of alignments with the talker's sentences; empty, with a note, without one."""
    codes = set(codes)
    shares = {folder: len(codes & paths.keys()) / len(codes) for folder, paths in folders.items()}
    # Each talker has sentences of his own; of a clip or two, the folder of his name is meant.
    best = max(
        shares, key=lambda folder: (shares[folder], _names_talker(folder, talker)), default=""
    )
    if not folders or shares[best] < MIN_OVERLAP:
        listing.notes.append(
            f"s{talker}: no folder of alignments with at least {MIN_OVERLAP:.0%} of its sentences"
        )
        return {}
    if not _names_talker(best, talker):
        listing.notes.append(f"s{talker}: the alignments are those in {best}, by their sentences")
    return folders[best]


def _names_talker(folder: str, talker: int) -> bool:
    matches = (TALKER.fullmatch(part) for part in folder.split(os.sep))
    return any(match and int(match[1]) == talker for match in matches)


def assign_splits(talker: int, codes: Iterable[str], split: str) -> dict[str, str]:
    """The split of each sentence of a talker."""
    if split == UNSEEN:
        if talker in UNSEEN_TALKERS:
            return dict.fromkeys(codes, "test")
        return {code: assign_split(f"s{talker}_{code}", UNSEEN_VALID, 0) for code in codes}
    ranks = sorted(codes, key=lambda code: hashlib.sha256(f"s{talker}_{code}".encode()).digest())
    return {
        code: "test"
        if rank < TEST_SENTENCES
        else "valid"
        if rank < TEST_SENTENCES + VALID_SENTENCES
        else "train"
        for rank, code in enumerate(ranks)
    }


def _read_words(
    path: str | None, text: str, name: str, listing: Listing
) -> tuple[WordInterval, ...]:
    """The words of an alignment; none, and it is listed, if it does not fit the sentence."""
    if path is None:
        return ()
    try:
        words, end = parse_alignment(path)
    except InputError as error:
        listing.omit(name, str(error), part=ALIGNMENT_PART)
        return ()
    said = " ".join(word.text for word in words)
    if said != text:
        listing.omit(name, f"{path}: found {said!r}, expected {text!r}", part=ALIGNMENT_PART)
        return ()
    if not LAST_END[0] <= end <= LAST_END[1]:
        reason = f"{path}: found an end of {end * TIME_UNITS:g}, expected about 74500 (1/25,000 s)"
        listing.omit(name, reason, part=ALIGNMENT_PART)
        return ()
    return words


def parse_alignment(path: str) -> tuple[tuple[WordInterval, ...], float]:
    """The words of a .align file, and where it ends, in seconds.

    Raises:
      InputError: names the line that is not start, end, word.
    """
    words, end = [], 0.0
    for line in read_lines(path):
        try:
            first, last, word = line.split()
            start, end = float(first) / TIME_UNITS, float(last) / TIME_UNITS
        except ValueError:
            raise InputError(f"{path}: found {line[:40]!r}, expected start, end, word") from None
        if word.lower() not in PAUSES:
            words.append(WordInterval(start, end, word.lower()))
    return tuple(words), end


DATASET = DataSet(
    name="grid",
    list_examples=list_examples,
    expected={
        "clips": Expected(count=33_000, basis=OFFICIAL),
        "talkers": Expected(count=33, basis=OFFICIAL),
    },
    media=MediaFormat(fps=25, width=360, height=288, sample_rate=44_100, basis=OFFICIAL),
    splits=(OVERLAPPED, UNSEEN),
)
