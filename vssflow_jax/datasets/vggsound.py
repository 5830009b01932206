"""VGGSound: 10 s clips from YouTube with one of 309 sound classes.

Source: https://www.robots.ox.ac.uk/~vgg/data/vggsound/ (Chen, Xie, Vedaldi and Zisserman 2020);
`vggsound.csv` is in the repository hche11/VGGSound. License: CC BY 4.0 for the annotations; the
videos belong to their owners.

Below the root, in any folder: `vggsound.csv` (no header: id, start in seconds, label, split) and
videos named ID_SSSSSS.mp4 (start in seconds, six digits) or ID_START_END.mp4 (milliseconds).
Expect 199,467 rows, of which 15,446 are for tests; many of the videos are gone from YouTube. An id
occurs with several starts. The label becomes the annotation `label`. Validation: 1 % of the
training videos, by the hash of their id.
"""

from __future__ import annotations

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    REPORTED,
    DataSet,
    Example,
    Expected,
    Listing,
    Source,
    read_csv,
)

PARTS = ("train", "test")
SECONDS = 10
VALID_SHARE = 0.01


def list_examples(source: Source) -> Listing:
    """The rows of vggsound.csv whose videos are on disk."""
    path = source.require_list("vggsound.csv", origin="github.com/hche11/VGGSound, data/")
    listing = Listing(counts={"rows": 0, "test rows": 0})
    labels = set()
    for video_id, start, label, part in read_rows(path):
        listing.counts["rows"] += 1
        listing.counts["test rows"] += part == "test"
        labels.add(label)
        split = "test" if part == "test" else assign_split(video_id, VALID_SHARE, 0)
        name = f"{video_id}_{start:06d}"
        video = source.files.find_media(
            name, f"{video_id}_{start * 1000}_{(start + SECONDS) * 1000}"
        )
        if video is None:
            listing.omit(name, "no video", split)
            continue
        listing.examples.append(
            Example(id=name, split=split, task="sound", video=video, annotation={"label": label})
        )
    listing.counts["classes"] = len(labels)
    return listing


def read_rows(path: str):
    """(id, start in seconds, label, train or test) of each row of vggsound.csv."""
    for number, cells in read_csv(path):
        if len(cells) != 4 or not cells[1].strip().isdigit() or cells[3] not in PARTS:
            raise InputError(
                f"{path} row {number}: found {','.join(cells)[:60]!r}, expected id, start "
                f"second, label, {' or '.join(PARTS)}"
            )
        yield cells[0].strip(), int(cells[1]), cells[2].strip(), cells[3]


DATASET = DataSet(
    name="vggsound",
    list_examples=list_examples,
    expected={
        "rows": Expected(count=199_467, basis=REPORTED),
        "test rows": Expected(count=15_446, basis=OFFICIAL),
        "classes": Expected(count=309, basis=OFFICIAL),
    },
)
