"""AVSpeech: segments of YouTube videos in which one visible person speaks, without transcripts.

Source: https://looking-to-listen.github.io/avspeech/download.html (Ephrat et al. 2018). License: CC
BY 4.0 for the lists; no media are distributed.

Below the root, in any folder: `avspeech_train.csv` and `avspeech_test.csv` (no header: id, start,
end in seconds, x and y of the face from 0 to 1) and videos ID_START_END.mp4 with any number of
decimals. Expect 2,621,845 and 183,273 rows. `--transcripts` names a folder with a text file for
each video, of the same name; videos without one are listed as missing it. The face becomes the
annotation `face`. Validation: 1 % of the training videos, by the hash of their id. LRS3 has some
of the test videos.
"""

from __future__ import annotations

import collections
import os

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import assign_split
from vssflow_jax.datasets.interface import (
    REPORTED,
    TEXT_ENDINGS,
    DataSet,
    Example,
    Expected,
    FileIndex,
    Listing,
    Source,
    read_csv,
    read_transcript,
)

PARTS = {"avspeech_train.csv": "train", "avspeech_test.csv": "test"}
TOLERANCE = 0.005  # seconds between the times of a list and of a file's name
VALID_SHARE = 0.01


def list_examples(source: Source) -> Listing:
    """The segments of the lists that are on disk and have a transcript."""
    lists = {file: source.find_list(file) for file in PARTS}
    if not any(lists.values()):
        source.require_list(*PARTS, origin="looking-to-listen.github.io/avspeech/download.html")
    listing, videos = Listing(), _find_videos(source.files)
    for file, part in PARTS.items():
        for video_id, start, end, face in _read_rows(lists[file]) if lists[file] else ():
            listing.counts[f"{part} rows"] = listing.counts.get(f"{part} rows", 0) + 1
            split = part if part == "test" else assign_split(video_id, VALID_SHARE, 0)
            name = f"{video_id}_{start:.2f}_{end:.2f}"
            video = next(
                (
                    path
                    for other_start, other_end, path in videos.get(video_id, ())
                    if abs(other_start - start) < TOLERANCE and abs(other_end - end) < TOLERANCE
                ),
                None,
            )
            if video is None:
                listing.omit(name, "no video", split)
            else:
                _add_example(source, listing, name, split, video, video_id, face)
    return listing


def _add_example(
    source: Source, listing: Listing, name: str, split: str, video: str, speaker: str, face
) -> None:
    stem = os.path.splitext(os.path.basename(video))[0]
    transcript = source.transcripts.find_file(*(stem + ending for ending in TEXT_ENDINGS))
    if transcript is None:
        listing.omit(name, "no transcript", split)
        return
    try:
        header = media.read_header(video)
        if header.width is None:
            raise InputError(f"{video}: found no video stream, expected a video")
    except InputError as error:
        listing.omit(name, str(error), split)
        return
    listing.examples.append(
        Example(
            id=name,
            split=split,
            task="speech",
            video=video,
            text=read_transcript(transcript),
            speaker=speaker,
            annotation={"face": [round(face[0] * header.width), round(face[1] * header.height)]},
        )
    )


def _find_videos(files: FileIndex) -> dict[str, list[tuple[float, float, str]]]:
    """(start, end, path) of each video by its id. Ids contain underscores themselves."""
    videos = collections.defaultdict(list)
    for stem, path in files.list_media():
        try:
            video_id, start, end = stem.rsplit("_", 2)
            videos[video_id].append((float(start), float(end), path))
        except ValueError:
            continue  # another kind of file
    return dict(videos)


def _read_rows(path: str):
    """(id, start, end, (x, y)) of each row of a list."""
    for number, cells in read_csv(path):
        try:
            video_id, *numbers = cells
            start, end, x, y = map(float, numbers)
        except ValueError:
            raise InputError(
                f"{path} row {number}: found {','.join(cells)[:60]!r}, expected id,start,end,x,y"
            ) from None
        yield video_id, start, end, (x, y)


DATASET = DataSet(
    name="avspeech",
    list_examples=list_examples,
    expected={
        "train rows": Expected(count=2_621_845, basis=REPORTED),
        "test rows": Expected(count=183_273, basis=REPORTED),
    },
    needs_transcripts=True,
)
