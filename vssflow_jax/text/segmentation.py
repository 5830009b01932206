"""Long clips with a text, cut into segments where the speaker pauses."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval

MIN_PAUSE = 0.2  # seconds without speech that a cut needs, half on each side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a clip.

    Attributes:
      start: its first latent frame.
      frames: how many latent frames it lasts.
      words: those said in it.
      intervals: their phonemes, in seconds from the segment's start.
    """

    start: int
    frames: int
    words: tuple[str, ...]
    intervals: tuple[Interval, ...]


def split_at_pauses(
    words: Sequence[str], intervals: Sequence[Interval], frames: int, max_frames: int
) -> list[Segment]:
    """Cuts a clip into as few segments as possible; phonemes behind its end are in none.

    Args:
      words: as `text.normalize` gives them.
      intervals: when their phonemes are said.
      frames: latent frames of the clip.
      max_frames: latent frames of a segment.

    Raises:
      InputError: the phonemes are not those of the words, no word is within the clip, or there is
        no pause to cut at.
    """
    limit = frames / LATENT_RATE
    word_intervals = [word for word in _group_by_word(words, intervals) if word[0].start < limit]
    if not word_intervals:
        raise InputError(
            f"found no word of the alignment within the clip's {limit:.2f} s: {words[0]!r} is at "
            f"{intervals[0].start:.2f} s"
        )
    edges = [0, *_choose_cuts(word_intervals, frames, max_frames), frames]
    segments = []
    for first, last in itertools.pairwise(edges):
        start, end = first / LATENT_RATE, last / LATENT_RATE
        inside = [
            k for k, word in enumerate(word_intervals)
            if first <= word[0].start * LATENT_RATE < last
        ]  # fmt: skip
        shifted = [
            i._replace(start=i.start - start, end=min(i.end, end) - start)
            for k in inside
            for i in word_intervals[k]
            if i.start < end
        ]
        segments.append(
            Segment(
                start=first,
                frames=last - first,
                words=tuple(words[k] for k in inside),
                intervals=tuple(shifted),
            )
        )
    return segments


def _group_by_word(words: Sequence[str], intervals: Sequence[Interval]) -> list[list[Interval]]:
    """The phonemes of each word. The alignment may mark stress differently."""
    rest, groups = list(intervals), []
    for word, symbols in zip(words, phonemes.pronounce(words), strict=True):
        group, rest = rest[: len(symbols)], rest[len(symbols) :]
        if [i.symbol.rstrip("012") for i in group] != [s.rstrip("012") for s in symbols]:
            raise InputError(
                f"found the phonemes {' '.join(i.symbol for i in group)!r} in the alignment for "
                f"{word!r}, expected {' '.join(symbols)!r}"
            )
        groups.append(group)
    if rest:
        raise InputError(f"found {len(rest)} phonemes in the alignment behind the last word")
    return groups


def _choose_cuts(words: Sequence[Sequence[Interval]], frames: int, max_frames: int) -> list[int]:
    """Latent frames to cut at, each as late as possible."""
    ends = [-MIN_PAUSE, *(word[-1].end for word in words)]
    starts = [*(word[0].start for word in words), frames / LATENT_RATE + MIN_PAUSE]
    margin = MIN_PAUSE / 2
    pauses = [
        (math.ceil((end + margin) * LATENT_RATE), math.floor((start - margin) * LATENT_RATE))
        for end, start in zip(ends, starts, strict=True)
    ]
    cuts, position = [], 0
    while frames - position > max_frames:
        limit = position + max_frames
        latest = [min(high, limit) for low, high in pauses if low <= min(high, limit)]
        if max(latest, default=0) <= position:
            raise InputError(
                f"found no pause of {MIN_PAUSE:g} s from {position / LATENT_RATE:.2f} to "
                f"{limit / LATENT_RATE:.2f} s"
            )
        position = max(latest)
        cuts.append(position)
    return cuts
