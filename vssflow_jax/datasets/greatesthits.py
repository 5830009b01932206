"""The Greatest Hits: a drumstick that hits and scratches objects of 17 materials.

Source: https://andrewowens.com/vis/ (Owens et al. 2016), vis-data.zip or the small
vis-data-256.zip. License: none was found; take it as for research.

Below the root: DATE_denoised.mp4 (or DATE_denoised_thumb.mp4), DATE_denoised.wav, DATE_times.txt
(seconds, material, action, reaction), and the lists `train.txt` and `test.txt`. Expect 977 videos
with 46,577 actions, sound at 96 kHz. Validation: 5 % of the training videos, by the hash of their
name. The times of hits and scratches become the annotation `onsets`, all of them `events`
([start, end, "material action reaction"], in seconds).
"""

from __future__ import annotations

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import AUDIO_ENDINGS, assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    UNCONFIRMED,
    DataSet,
    Example,
    Expected,
    Listing,
    MediaFormat,
    Source,
    read_lines,
)

PARTS = {"train.txt": "train", "test.txt": "test"}
SILENT = "None"  # the action where the stick touches nothing that can be heard
VALID_SHARE = 0.05


def list_examples(source: Source) -> Listing:
    """The videos of the lists that are on disk."""
    listing = Listing(counts={"videos": 0, "actions": 0})
    for file, part in PARTS.items():
        path = source.require_list(file, origin="andrewowens.com/vis")
        for name in (line.split()[0] for line in read_lines(path)):
            listing.counts["videos"] += 1
            split = part if part == "test" else assign_split(name, VALID_SHARE, 0)
            stem = f"{name}_denoised"
            video = source.files.find_media(stem, f"{stem}_thumb")
            if video is None:
                listing.omit(name, "no video", split)
                continue
            events = _read_events(source.files.find_file(f"{name}_times.txt"))
            listing.counts["actions"] += len(events)
            listing.examples.append(
                Example(
                    id=name,
                    split=split,
                    task="sound",
                    video=video,
                    audio=source.files.find_media(stem, endings=AUDIO_ENDINGS),
                    annotation=_annotate(events),
                )
            )
    return listing


def _annotate(events: list[tuple[float, str]]) -> dict:
    if not events:
        return {}
    return {
        "onsets": [time for time, label in events if label.split()[1] != SILENT],
        "events": [[time, time, label] for time, label in events],
    }


def _read_events(path: str | None) -> list[tuple[float, str]]:
    """(seconds, material action reaction) of each row of times.txt."""
    events = []
    for line in read_lines(path) if path else ():
        time, *words = line.split()
        try:
            events.append((float(time), " ".join(words)))
            valid = len(words) >= 2
        except ValueError:
            valid = False
        if not valid:
            raise InputError(
                f"{path}: found {line[:40]!r}, expected seconds, material, action, reaction"
            )
    return sorted(events)


DATASET = DataSet(
    name="greatesthits",
    list_examples=list_examples,
    expected={
        "videos": Expected(count=977, basis=OFFICIAL),
        "actions": Expected(count=46_577, basis=UNCONFIRMED),
    },
    media=MediaFormat(sample_rate=96_000, basis=OFFICIAL),
)
