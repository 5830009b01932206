"""VCTK: 110 English talkers of many accents, about 400 sentences each, without video.

Source: https://datashare.ed.ac.uk/handle/10283/3443 (Yamagishi, Veaux and MacDonald 2019). License:
CC BY 4.0.

Below the root: `txt/pNNN/pNNN_NNN.txt` and `wav48_silence_trimmed/pNNN/pNNN_NNN_mic1.flac`
(version 0.92; microphone 2 where 1 is missing) or `wav48/pNNN/pNNN_NNN.wav` (0.80). Expect about
44,000 utterances at 48 kHz; p315 has no texts. There is no official split: 8 % of the talkers are
for tests and 2 % for validation, by the hash of their names. All talkers say sentences 1 to 24,
which are therefore left out of tests and validation.
"""

from __future__ import annotations

import re

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
    read_transcript,
)

NAME = re.compile(r"((?:p|s)\d+)_(\d+)(?:_mic([12]))?")
COMMON_SENTENCES = 24  # that every talker says
VALID_SHARE, TEST_SHARE = 0.02, 0.08


def list_examples(source: Source) -> Listing:
    """The utterances below the root that have a text."""
    listing = Listing()
    sounds: dict[str, tuple[str, str]] = {}
    for stem, path in source.files.list_media(AUDIO_ENDINGS):
        if match := NAME.fullmatch(stem):
            name, microphone = f"{match[1]}_{match[2]}", match[3] or "1"
            sounds[name] = min(sounds.get(name, (microphone, path)), (microphone, path))
    for name, (_, path) in sorted(sounds.items()):
        talker, _, number = name.partition("_")
        split = assign_split(talker, VALID_SHARE, TEST_SHARE)
        text = source.files.find_file(f"{name}.txt")
        if split != "train" and int(number) <= COMMON_SENTENCES:
            listing.omit(name, "all talkers say this sentence, so training has it", split)
        elif text is None:
            listing.omit(name, "no transcript", split)
        else:
            listing.examples.append(
                Example(
                    id=name,
                    split=split,
                    task="speech",
                    audio=path,
                    text=read_transcript(text),
                    speaker=talker,
                )
            )
    listing.counts |= {"utterances": len(sounds), "talkers": len({n.split("_")[0] for n in sounds})}
    return listing


DATASET = DataSet(
    name="vctk",
    list_examples=list_examples,
    expected={
        "utterances": Expected(count=44_000, basis=UNCONFIRMED),
        "talkers": Expected(count=110, basis=OFFICIAL),
    },
    media=MediaFormat(sample_rate=48_000, basis=OFFICIAL),
)
