"""Chem: a chemistry teacher's lectures, cut into sentences.

Source of the videos: the YouTube ids of github.com/Rudrabha/Lip2Wav (Prajwal et al. 2020); of the
sentences with transcripts: Neural Dubber (Hu et al. 2021) and the data packs of HPMDubbing and
EmoDubber. License: none is stated; the videos belong to their owner.

Below the root, in any folder: NAME.mp4, a transcript NAME.lab or NAME.txt (or one file with lines
`NAME|text`), and if you have it NAME.wav, whose sound is then used. Names may begin with
`chem_00_`. Lip2Wav's own cuts of 30 s have no transcripts and are listed as missing them. Expect
about 6,640 clips. The split: lists `train.txt`, `val.txt`, `test.txt` of names or of YouTube ids,
where you have them; else 3 % of the videos for tests and 3 % for validation, by the hash of the
YouTube id.
"""

from __future__ import annotations

import os
import re

from vssflow_jax.data.folder import AUDIO_ENDINGS, assign_split
from vssflow_jax.datasets.interface import (
    SPLIT_LISTS,
    TEXT_ENDINGS,
    UNCONFIRMED,
    DataSet,
    Example,
    Expected,
    Listing,
    Source,
    read_lines,
    read_transcript,
)

PREFIX = re.compile(r"chem_\d+_")
VALID_SHARE = TEST_SHARE = 0.03


def list_examples(source: Source) -> Listing:
    """The videos below the root that have a transcript."""
    listing = Listing()
    texts, sounds = find_transcripts(source), _find_sounds(source)
    lists = {strip_prefix(name): split for name, split in source.read_split_lists().items()}
    for stem, video in source.files.list_media():
        name = strip_prefix(stem)
        video_id = name.rpartition("-")[0] or name  # an id may contain hyphens itself
        split = lists.get(name) or lists.get(video_id)
        if lists and split is None:
            listing.omit(name, f"in none of {', '.join(SPLIT_LISTS)}")
        elif name not in texts:
            listing.omit(name, "no transcript", split or "")
        else:
            listing.examples.append(
                Example(
                    id=name,
                    split=split or assign_split(video_id, VALID_SHARE, TEST_SHARE),
                    task="speech",
                    video=video,
                    audio=sounds.get(name),
                    text=texts[name],
                    speaker="chem",
                )
            )
    listing.counts["clips"] = len(listing.examples)
    return listing


def strip_prefix(name: str) -> str:
    """The name without `chem_00_`."""
    return PREFIX.sub("", name, count=1)


def find_transcripts(source: Source) -> dict[str, str]:
    """What is said, by the name of the clip."""
    texts: dict[str, str] = {}
    for path in source.files.paths:
        stem, ending = os.path.splitext(os.path.basename(path))
        if ending.lower() not in TEXT_ENDINGS or f"{stem}{ending}" in SPLIT_LISTS:
            continue
        lines = read_lines(path)
        if lines and all("|" in line for line in lines):
            rows = (line.split("|") for line in lines)
            texts |= {strip_prefix(cells[0].strip()): cells[1].strip() for cells in rows}
        elif lines:
            texts[strip_prefix(stem)] = read_transcript(path)
    return {name: text for name, text in texts.items() if text}


def _find_sounds(source: Source) -> dict[str, str]:
    return {strip_prefix(stem): path for stem, path in source.files.list_media(AUDIO_ENDINGS)}


DATASET = DataSet(
    name="chem",
    list_examples=list_examples,
    expected={"clips": Expected(count=6_640, basis=UNCONFIRMED)},
)
