"""A long clip with a text in pieces: cut where the speaker pauses, each with its own words."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval

PAUSE = 0.2  # seconds without speech that a cut needs, half on each side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a clip: first latent frame and how many, its words, their phonemes' times.

    Times count from the piece's start.
    """

    first: int
    frames: int
    words: tuple[str, ...]
    spoken: tuple[Interval, ...]


def pieces(words: Sequence[str], spoken: Sequence[Interval], total: int, most: int) -> list[Piece]:
    """Cuts a clip of `total` latent frames into pieces of at most `most`, as few as can be.

    Args:
      words: as `text.normalize` gives them.
      spoken: when their phonemes are said.
      total: latent frames of the clip.
      most: latent frames of a piece.

    Raises:
      InputError: the phonemes are not those of the words, or there is no pause to cut at.
    """
    said = _by_word(words, spoken)
    edges = [0, *_cuts(said, total, most), total]
    found = []
    for first, end in itertools.pairwise(edges):
        start = first / LATENT_RATE
        inside = [k for k, word in enumerate(said) if first <= word[0].start * LATENT_RATE < end]
        shifted = [
            i._replace(start=i.start - start, end=min(i.end, end / LATENT_RATE) - start)
            for k in inside
            for i in said[k]
        ]
        names = tuple(words[k] for k in inside)
        found.append(Piece(first=first, frames=end - first, words=names, spoken=tuple(shifted)))
    return found


def _by_word(words: Sequence[str], spoken: Sequence[Interval]) -> list[list[Interval]]:
    """The phonemes of each word. Stress may be marked otherwise."""
    rest, said = list(spoken), []
    for word, symbols in zip(words, phonemes.pronounce(words), strict=True):
        own, rest = rest[: len(symbols)], rest[len(symbols) :]
        if [i.symbol.rstrip("012") for i in own] != [s.rstrip("012") for s in symbols]:
            raise InputError(
                f"found the phonemes {' '.join(i.symbol for i in own)!r} in the alignment for "
                f"{word!r}, expected {' '.join(symbols)!r}"
            )
        said.append(own)
    if rest:
        raise InputError(f"found {len(rest)} phonemes in the alignment behind the last word")
    return said


def _cuts(said: Sequence[Sequence[Interval]], total: int, most: int) -> list[int]:
    """Latent frames to cut at: each as late as it may be."""
    ends = [-PAUSE, *(word[-1].end for word in said)]
    starts = [*(word[0].start for word in said), total / LATENT_RATE + PAUSE]
    pauses = [
        (math.ceil((end + PAUSE / 2) * LATENT_RATE), math.floor((start - PAUSE / 2) * LATENT_RATE))
        for end, start in zip(ends, starts, strict=True)
    ]
    cuts, at = [], 0
    while total - at > most:
        latest = [min(high, at + most) for low, high in pauses if low <= min(high, at + most)]
        if max(latest, default=0) <= at:
            raise InputError(
                f"found no pause of {PAUSE:g} s from {at / LATENT_RATE:.2f} to "
                f"{(at + most) / LATENT_RATE:.2f} s"
            )
        at = max(latest)
        cuts.append(at)
    return cuts
