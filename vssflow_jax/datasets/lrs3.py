"""LRS3-TED: sentences from TED talks, as face crops.

Source: Afouras, Son Chung and Zisserman 2018, https://arxiv.org/abs/1809.00496; the official
downloads are withdrawn. License: stated as CC BY 4.0, but TED's own terms (CC BY-NC-ND) bind the
talks: treat it as non-commercial.

Below the root, which mirrors call lrs3_v0.4, lrs3 or LRS3-TED: `pretrain`, `trainval` and `test`,
each with ID/NNNNN.mp4 and NNNNN.txt. Expect 118,516, 31,982 and 1,321 clips (version 0.4) of
224 x 224 at 25 frames a second, sound at 16 kHz. Training takes pretrain and trainval, of which 4 %
of the videos are for validation, by the hash of their id. Word times become phoneme times. Clips of
one video count as one speaker's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    REPORTED,
    UNCONFIRMED,
    DataSet,
    Example,
    Expected,
    Listing,
    MediaFormat,
    Source,
)
from vssflow_jax.datasets.lrs2 import find_videos
from vssflow_jax.datasets.lrs_text import read_lrs_transcript

PARTS = ("pretrain", "trainval", "test")
VALID_SHARE = 0.04  # of the videos of trainval: about 1,200 clips


def list_examples(source: Source) -> Listing:
    """The clips on disk that have a transcript."""
    listing, untimed = Listing(counts={f"{part} clips": 0 for part in PARTS}), 0
    videos = find_videos(source.files, frozenset(PARTS))
    validation = _select_validation(videos)
    for name, video in sorted(videos.items()):
        part, folder, number = name.split("/")
        listing.counts[f"{part} clips"] += 1
        example_id = f"{part}_{folder}_{number}"
        if part == "pretrain" and folder in validation:
            listing.omit(example_id, "its video is one for validation")
            continue
        try:
            transcript = read_lrs_transcript(os.path.splitext(video)[0] + ".txt")
        except InputError as error:
            listing.omit(example_id, str(error))
            continue
        video_id = transcript.reference or folder  # folders write S for - and _
        split = "test" if part == "test" else "valid" if folder in validation else "train"
        untimed += not transcript.words
        listing.examples.append(
            Example(
                id=example_id,
                split=split,
                task="speech",
                video=video,
                text=transcript.text,
                speaker=folder,
                words=transcript.words,
                annotation={"youtube": video_id},
            )
        )
    if untimed:
        listing.notes.append(f"{untimed} transcripts have no word times: the aligner finds them")
    return listing


def _select_validation(videos: Iterable[str]) -> set[str]:
    """Folders of trainval whose clips are for validation."""
    folders = {name.split("/")[1] for name in videos if name.startswith("trainval/")}
    return {folder for folder in folders if assign_split(folder, VALID_SHARE, 0) == "valid"}


DATASET = DataSet(
    name="lrs3",
    list_examples=list_examples,
    expected={
        "pretrain clips": Expected(count=118_516, basis=REPORTED),
        "trainval clips": Expected(count=31_982, basis=REPORTED),
        "test clips": Expected(count=1_321, basis=OFFICIAL),
    },
    media=MediaFormat(fps=25, width=224, height=224, sample_rate=16_000, basis=UNCONFIRMED),
)
