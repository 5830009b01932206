"""V2C-Animation: dubbed lines of 153 characters in 26 animated films, with their emotions.

Source: github.com/chenqi008/V2C (Chen et al. 2022), which has scripts and labels but no media.
License: none is stated; the films belong to their studios.

Below the root, in any folder: FILM/FILM_speeches/CHARACTER/NN/CHARACTER-NN-NNNN.wav with a
.normalized.txt beside it or a line in CHARACTER-NN.trans.txt, FILM/FILM_videos/CHARACTER/NNNN.mp4,
and if you have it `emotions.json`. Expect 10,217 clips. The emotion becomes the annotation
`emotion`. About every tenth clip is cut up to 0.9 s off its subtitle, by the official script's
times.

The split: lists `train.txt`, `val.txt`, `test.txt` of names (FILM@CHARACTER_NN_NNNN), where you
have them; else 30 % of the clips for tests and 10 % for validation, by their hash.
"""

from __future__ import annotations

import json
import os
import re

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.folder import AUDIO_ENDINGS, VIDEO_ENDINGS, assign_split
from vssflow_jax.datasets.interface import (
    OFFICIAL,
    DataSet,
    Example,
    Expected,
    Listing,
    Source,
    read_lines,
    read_transcript,
)

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "others")
VALID_SHARE, TEST_SHARE = 0.1, 0.3
SPEECHES, VIDEOS = "_speeches", "_videos"
_WAVE = re.compile(r"(.+)-(\d+)-(\d+)")
_NAME = re.compile(r"(.+@.+_\d+_\d+)_\d+")  # of emotions.json, without its last number


def list_examples(source: Source) -> Listing:
    """The lines below the root that have a transcript and a video."""
    listing = Listing()
    videos, transcripts = _find_videos(source), _read_transcripts(source)
    emotions, lists = _read_emotions(source), source.read_split_lists()
    names = set()
    for stem, wave in source.files.list_media(AUDIO_ENDINGS):
        place, match = wave.split(os.sep), _WAVE.fullmatch(stem)
        film = next((p[: -len(SPEECHES)] for p in place if p.endswith(SPEECHES)), None)
        if film is None or match is None:
            continue
        character, chapter, number = match.groups()
        name = f"{film}@{character}_{chapter}_{number}"
        names.add(name)
        video = videos.get((film, character, number))
        text = _find_text(wave) or transcripts.get((film, stem))
        split = lists.get(name, assign_split(name, VALID_SHARE, TEST_SHARE))
        if video is None or text is None:
            listing.omit(name, "no video" if video is None else "no transcript", split)
            continue
        listing.examples.append(
            Example(
                id=name,
                split=split,
                task="speech",
                video=video,
                audio=wave,
                text=text,
                speaker=f"{film}@{character}",
                annotation={"emotion": emotions[name]} if name in emotions else {},
            )
        )
    listing.counts["clips"] = len(names)
    for name in sorted(emotions.keys() - names):
        listing.omit(name, "no sound", lists.get(name, ""))
    return listing


def _find_videos(source: Source) -> dict[tuple[str, str, str], str]:
    """Video by film, character and number."""
    videos = {}
    for stem, path in source.files.list_media(VIDEO_ENDINGS):
        parts = path.split(os.sep)
        if len(parts) > 2 and parts[-3].endswith(VIDEOS):
            videos[parts[-3][: -len(VIDEOS)], parts[-2], stem] = path
    return videos


def _find_text(wave: str) -> str | None:
    """The normalized transcript beside a sound."""
    path = f"{os.path.splitext(wave)[0]}.normalized.txt"
    return (read_transcript(path) or None) if os.path.exists(path) else None


def _read_transcripts(source: Source) -> dict[tuple[str, str], str]:
    """What is said by film and name, from the files of each chapter."""
    texts = {}
    for path in source.files.paths:
        film = next((p[: -len(SPEECHES)] for p in path.split(os.sep) if p.endswith(SPEECHES)), None)
        if film and path.endswith(("trans.txt", "-trans.txt")):
            for line in read_lines(path):
                name, _, text = line.partition(" ")
                if text.strip():
                    texts[film, name] = text.strip()
    return texts


def _read_emotions(source: Source) -> dict[str, str]:
    path = source.find_list("emotions.json")
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            labels = json.load(file)
        matches = {_NAME.fullmatch(name): EMOTIONS[int(label)] for name, label in labels.items()}
        return {match[1]: label for match, label in matches.items()}
    except (ValueError, TypeError, AttributeError, IndexError):
        raise InputError(
            f'{path}: expected an object like {{"Film@Character_00_0191_00": "6"}}'
        ) from None


DATASET = DataSet(
    name="v2c",
    list_examples=list_examples,
    expected={"clips": Expected(count=10_217, basis=OFFICIAL)},
)
