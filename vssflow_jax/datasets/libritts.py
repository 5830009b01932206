"""LibriTTS and LibriTTS-R: 585 hours of 2,456 readers of audio books, without video.

Source: https://www.openslr.org/60 (Zen et al. 2019) and https://www.openslr.org/141 (Koizumi et al.
2023, the same recordings restored). License: CC BY 4.0.

Below the root, one or more of the parts `train-clean-100`, `train-clean-360`, `train-other-500`,
`dev-clean`, `dev-other`, `test-clean`, `test-other`, each with READER/CHAPTER/NAME.wav and
NAME.normalized.txt. Expect 33,236, 116,500, 205,044, 5,736, 4,613, 4,837 and 5,120 recordings at 24
kHz. The parts are the splits.
"""

from __future__ import annotations

import os
import re

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
    read_lines,
    read_transcript,
)

PART = re.compile(r"(train|dev|test)[-_](?:clean|other)(?:[-_]\d+)?")
SPLITS = {"train": "train", "dev": "valid", "test": "test"}
KNOWN = {  # (recordings, basis) of each part
    "train-clean-100": (33_236, REPORTED),
    "train-clean-360": (116_500, OFFICIAL),
    "train-other-500": (205_044, OFFICIAL),
    "dev-clean": (5_736, UNCONFIRMED),
    "dev-other": (4_613, UNCONFIRMED),
    "test-clean": (4_837, UNCONFIRMED),
    "test-other": (5_120, UNCONFIRMED),
}


def list_examples(source: Source) -> Listing:
    """The recordings below the root that have a text."""
    listing, names = Listing(), set()
    for stem, path in source.files.list_media((".wav",)):
        part = _find_part(path)
        if part is None:
            continue
        names.add(stem)
        listing.counts[part] = listing.counts.get(part, 0) + 1
        split = SPLITS[part.split("-")[0]]
        text = f"{os.path.splitext(path)[0]}.normalized.txt"
        if not os.path.exists(text):
            listing.omit(stem, "no transcript", split)
            continue
        listing.examples.append(
            Example(
                id=stem,
                split=split,
                task="speech",
                audio=path,
                text=read_transcript(text),
                speaker=stem.split("_")[0],
            )
        )
    for path in source.files.paths:
        if path.endswith(".trans.tsv") and (part := _find_part(path)):
            for line in read_lines(path):
                name = line.split("\t")[0]
                if name not in names:
                    listing.omit(name, "no recording", SPLITS[part.split("-")[0]])
    return listing


def _find_part(path: str) -> str | None:
    """The part that a folder of the path names, with hyphens."""
    parts = (p for p in reversed(path.split(os.sep)[:-1]) if PART.fullmatch(p))
    return next((part.replace("_", "-") for part in parts), None)


DATASET = DataSet(
    name="libritts",
    list_examples=list_examples,
    expected={part: Expected(count=count, basis=basis) for part, (count, basis) in KNOWN.items()},
    media=MediaFormat(sample_rate=24_000, basis=OFFICIAL),
)
