"""LRS2-BBC: sentences from BBC television, as face crops.

Source: https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrs2.html (Son Chung, Senior, Vinyals and
Zisserman 2017). License: non-commercial academic research, by an agreement with BBC R&D; no
redistribution.

Below the root: `main/ID/NNNNN.mp4` and `pretrain/ID/NNNNN.mp4`, each with NNNNN.txt beside it, and
the lists `pretrain.txt`, `train.txt`, `val.txt` and `test.txt` (ID/NNNNN in each line). Expect
96,318, 45,839, 1,082 and 1,243 clips of 160 x 160 at 25 frames a second, sound at 16 kHz. Training
takes pretrain and train. Word times, which only pretrain has, become phoneme times. Speakers have
no names; clips of one folder, a piece of a program, count as one speaker's.
"""

from __future__ import annotations

import os

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    REPORTED,
    DataSet,
    Example,
    Expected,
    FileIndex,
    Listing,
    MediaFormat,
    Source,
    read_lines,
)
from vssflow_jax.datasets.lrs_text import read_lrs_transcript

FOLDERS = {"pretrain": "pretrain", "train": "main", "val": "main", "test": "main"}  # of the lists
SPLITS = {"pretrain": "train", "train": "train", "val": "valid", "test": "test"}
LIST_HASHES = {  # MD5 of the official lists, as a maintainer reported them
    "train": "ae240cd86c8432afb5a6b8935c863f24",
    "val": "3b7502de5c102519d62477f209c4cd35",
    "test": "e76bb897a2141f3581266daa850966bc",
}


def list_examples(source: Source) -> Listing:
    """The clips of the lists that are on disk, with their transcripts."""
    listing, braced = Listing(), 0
    videos = find_videos(source.files, frozenset(FOLDERS.values()))
    for part, folder in FOLDERS.items():
        names = _list_names(source, part, folder, videos, listing)
        listing.counts[f"{part} clips"] = len(names)
        for name in names:
            example_id = f"{part}_{name.replace('/', '_')}"
            video = videos.get(f"{folder}/{name}")
            if video is None:
                listing.omit(example_id, "no video", SPLITS[part])
                continue
            try:
                transcript = read_lrs_transcript(os.path.splitext(video)[0] + ".txt")
            except InputError as error:
                listing.omit(example_id, str(error), SPLITS[part])
                continue
            braced += transcript.has_braces
            listing.examples.append(
                Example(
                    id=example_id,
                    split=SPLITS[part],
                    task="speech",
                    video=video,
                    text=transcript.text,
                    speaker=name.partition("/")[0],
                    words=transcript.words,
                )
            )
    if braced:
        listing.notes.append(f"{braced} transcripts have words in braces: read without the braces")
    return listing


def find_videos(files: FileIndex, folders: frozenset[str]) -> dict[str, str]:
    """Videos by their path from the folder of a part on: `main/ID/NNNNN`."""
    videos = {}
    for stem, path in files.list_media():
        parts = path.split(os.sep)
        if len(parts) > 2 and parts[-3] in folders:
            videos[f"{parts[-3]}/{parts[-2]}/{stem}"] = path
    return videos


def _list_names(
    source: Source, part: str, folder: str, videos: dict[str, str], listing: Listing
) -> list[str]:
    """ID/NNNNN of a part: those of its list; of pretrain without one, those on disk."""
    path = source.find_list(f"{part}.txt")
    if path is None and part == "pretrain":
        return [name.partition("/")[2] for name in sorted(videos) if name.startswith("pretrain/")]
    path = path or source.require_list(f"{part}.txt", origin="it comes with the data set")
    if part in LIST_HASHES:
        same = hash_file(path, "md5") == LIST_HASHES[part]
        listing.notes.append(
            f"{path}: {'the' if same else 'not the'} list whose MD5 its maintainers reported"
        )
    return [line.split()[0] for line in read_lines(path)]


DATASET = DataSet(
    name="lrs2",
    list_examples=list_examples,
    expected={
        "pretrain clips": Expected(count=96_318, basis=REPORTED),
        "train clips": Expected(count=45_839, basis=REPORTED),
        "val clips": Expected(count=1_082, basis=REPORTED),
        "test clips": Expected(count=1_243, basis=OFFICIAL),
    },
    media=MediaFormat(fps=25, width=160, height=160, sample_rate=16_000, basis=REPORTED),
)
