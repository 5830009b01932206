"""AudioSet: 10 s of YouTube videos with sound events, and the strong labels of a part of them.

Source: https://research.google.com/audioset/download.html (Gemmeke et al. 2017) and
download_strong.html (Hershey et al. 2021). License: labels CC BY 4.0, ontology CC BY-SA 4.0; no
media are distributed.

Below the root, in any folder: one or more of `balanced_train_segments.csv`,
`unbalanced_train_segments.csv` and `eval_segments.csv` (three lines of comment, then id, start,
end, "label,label"); if you have them `audioset_train_strong.tsv`, `audioset_eval_strong.tsv`
(id_milliseconds, start, end, label) and `class_labels_indices.csv` (names of the labels); and media
named ID, YID, ID_SECONDS.D or ID_STARTMS_ENDMS. Expect 22,160, 2,042,985 and 20,371 rows, 527
classes; much is gone from YouTube. The evaluation segments are the test split; validation: 1 % of
the training segments, by the hash of their id. Labels become the annotation `labels`, strong ones
also `events` ([start, end, label], in seconds).

`av_metadata_500.tsv` of the official VSSFlow code (id, mp4, transcript, start and end of the
speech) adds its clips as joint ones to the test split.
"""

from __future__ import annotations

import collections
import os

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import AUDIO_ENDINGS, VIDEO_ENDINGS, assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    DataSet,
    Example,
    Expected,
    Listing,
    Source,
    read_csv,
    read_lines,
)
from vssflow_jax.text.alignment import WordInterval

SEGMENTS = {
    "balanced_train": "train",
    "unbalanced_train": "train",
    "eval": "test",
}
STRONG = ("audioset_train_strong.tsv", "audioset_eval_strong.tsv")
LABEL_NAMES = "class_labels_indices.csv"
JOINT = "av_metadata_500.tsv"
ORIGIN = "research.google.com/audioset/download.html"
VALID_SHARE = 0.01


def list_examples(source: Source) -> Listing:
    """The segments of the lists that are on disk."""
    listing = Listing()
    lists = {part: source.find_list(f"{part}_segments.csv") for part in SEGMENTS}
    joint = source.find_list(JOINT)
    if not joint and not any(lists.values()):
        source.require_list(*(f"{part}_segments.csv" for part in SEGMENTS), origin=ORIGIN)
    names = _read_label_names(source.find_list(LABEL_NAMES))
    events = _read_events([source.find_list(name) for name in STRONG], names)
    if events:
        listing.counts["strong clips"] = len(events)
    spoken = _add_joint_examples(joint, source, listing) if joint else set()
    for part, path in lists.items():
        for video_id, start, end, labels in _read_segments(path) if path else ():
            listing.counts[f"{part} rows"] = listing.counts.get(f"{part} rows", 0) + 1
            key = f"{video_id}_{round(start * 1000)}"
            if video_id in spoken:
                continue  # it is in the test split as a joint clip
            split = SEGMENTS[part]
            if split == "train":
                split = assign_split(video_id, VALID_SHARE, 0)
            stems = (video_id, f"{video_id}_{start:.1f}", f"{key}_{round(end * 1000)}")
            annotation = {"labels": [names.get(label, label) for label in labels]}
            if key in events:
                annotation["events"] = events[key]
            _add_example(source, listing, video_id, split, (*stems, f"Y{video_id}"), annotation)
    return listing


def _add_example(
    source: Source, listing: Listing, name: str, split: str, stems, annotation: dict
) -> None:
    """Adds the clip whose medium has one of the stems: a video, else a sound."""
    video = source.files.find_media(*stems, endings=VIDEO_ENDINGS)
    audio = None if video else source.files.find_media(*stems, endings=AUDIO_ENDINGS)
    if video is None and audio is None:
        listing.omit(name, "no video and no sound", split)
        return
    listing.examples.append(
        Example(id=name, split=split, task="sound", video=video, audio=audio, annotation=annotation)
    )


def _add_joint_examples(path: str, source: Source, listing: Listing) -> set[str]:
    """Adds the clips of av_metadata_500.tsv; their ids."""
    ids = set()
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        try:
            video_id, file, text, start, end = cells
            interval = WordInterval(float(start), float(end), text)
        except ValueError:
            raise InputError(
                f"{path} row {number}: found {line[:60]!r}, expected id, mp4, text, start, end"
            ) from None
        ids.add(video_id)
        stem = os.path.splitext(os.path.basename(file))[0]
        video = source.files.find_media(stem, video_id)
        if video is None:
            listing.omit(f"joint-{video_id}", "no video", "test")
            continue
        listing.examples.append(
            Example(
                id=f"joint-{video_id}",
                split="test",
                task="joint",
                video=video,
                text=text,
                words=(interval,),
            )
        )
    listing.counts["joint rows"] = len(ids)
    return ids


def _read_segments(path: str):
    """(id, start, end, labels) of each row of a list of segments."""
    for number, cells in read_csv(path, comment="#"):
        try:
            video_id, start, end, labels = cells
            times = float(start), float(end)
        except ValueError:
            raise InputError(
                f"{path}, segment {number}: found {', '.join(cells)[:60]!r}, expected id, start, "
                "end, labels"
            ) from None
        yield video_id, *times, labels.split(",")


def _read_events(paths, names: dict[str, str]) -> dict[str, list]:
    """[start, end, label] of the strong labels, by segment (id_milliseconds)."""
    events = collections.defaultdict(list)
    for path in filter(None, paths):
        for number, line in enumerate(read_lines(path), 1):
            cells = line.split("\t")
            if cells[0] == "segment_id":
                continue
            try:
                key, start, end, label = cells
                events[key].append([float(start), float(end), names.get(label, label)])
            except ValueError:
                raise InputError(
                    f"{path} row {number}: found {line[:60]!r}, expected segment, start, end, label"
                ) from None
    return {key: sorted(rows) for key, rows in events.items()}


def _read_label_names(path: str | None) -> dict[str, str]:
    """Names of the labels by their identifier, such as /m/09x0r; empty without the list."""
    return {row[1]: row[2] for _, row in (read_csv(path) if path else ()) if len(row) == 3}


DATASET = DataSet(
    name="audioset",
    list_examples=list_examples,
    expected={
        "balanced_train rows": Expected(count=22_160, basis=OFFICIAL),
        "unbalanced_train rows": Expected(count=2_042_985, basis=OFFICIAL),
        "eval rows": Expected(count=20_371, basis=OFFICIAL),
        "strong clips": Expected(count=103_463 + 16_996, basis=OFFICIAL),
        "joint rows": Expected(count=495, basis=OFFICIAL),
    },
)
