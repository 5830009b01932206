"""LJSpeech: 24 hours of one reader, without video.

Source: https://keithito.com/LJ-Speech-Dataset/ (Ito and Johnson 2017). License: public domain.

Below the root: `metadata.csv` (id|text|normalized text, quotes are plain characters) and
`wavs/ID.wav`. Expect 13,100 clips at 22.05 kHz. There is no official split: 500 in 13,100 are for
tests and 100 for validation, by the hash of their ids.
"""

from __future__ import annotations

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import AUDIO_ENDINGS, assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    DataSet,
    Example,
    Expected,
    Listing,
    MediaFormat,
    Source,
    read_lines,
)

CLIPS = 13_100
VALID_SHARE, TEST_SHARE = 100 / CLIPS, 500 / CLIPS


def list_examples(source: Source) -> Listing:
    """The rows of metadata.csv whose recordings are on disk."""
    path = source.require_list("metadata.csv", origin="keithito.com/LJ-Speech-Dataset")
    rows, listing = read_lines(path), Listing()
    for number, line in enumerate(rows, 1):
        cells = [cell.strip() for cell in line.split("|")]
        if not 2 <= len(cells) <= 3:
            raise InputError(
                f"{path} row {number}: found {line[:60]!r}, expected id|text|normalized text"
            )
        name, text = cells[0], cells[-1] or cells[1]
        split = assign_split(name, VALID_SHARE, TEST_SHARE)
        audio = source.files.find_media(name, endings=AUDIO_ENDINGS)
        if audio is None or not text:
            listing.omit(name, "no transcript" if audio else "no recording", split)
            continue
        listing.examples.append(
            Example(id=name, split=split, task="speech", audio=audio, text=text, speaker="lj")
        )
    listing.counts["rows"] = len(rows)
    return listing


DATASET = DataSet(
    name="ljspeech",
    list_examples=list_examples,
    expected={"rows": Expected(count=CLIPS, basis=OFFICIAL)},
    media=MediaFormat(sample_rate=22_050, basis=OFFICIAL),
)
