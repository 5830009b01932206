"""The cheapest segmentation of a sequence of frames into given segments: a semi-Markov search.

Segments lie in order, without gaps except for pauses before those that allow one, and before the
first and after the last. Each segment has a first part, two thirds of it, and a second part, with
costs of their own in every frame.

Legend: T frames, n segments, U kinds of segments, D lengths.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentCosts:
    """What the search adds up.

    Attributes:
      kinds: [n], the kind of each segment.
      starts, ends: [U, T], of a frame in the first and in the second part of a segment.
      rest: [T], of a frame in a pause.
      lengths: [n, D], of each length.
      may_pause: bool [n], whether a pause may lie before each segment.
      pause: of a pause between segments.
    """

    kinds: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    rest: np.ndarray
    lengths: np.ndarray
    may_pause: np.ndarray
    pause: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentLimits:
    """Which segmentations are searched.

    Attributes:
      min_length: frames of a segment of the first length; others are one longer each.
      min_pause: frames of a pause between segments.
      bands: [n, 2], the first and the last frame at which each segment may start.
    """

    min_length: int
    min_pause: int
    bands: np.ndarray


def find_segments(costs: SegmentCosts, limits: SegmentLimits) -> list[tuple[int, int]]:
    """The first frame of each segment and the one after its last; empty where none fit."""
    starts, ends, rest = (_accumulate(x) for x in (costs.starts, costs.ends, costs.rest))
    frames, count = len(rest) - 1, len(costs.kinds)
    bands = limits.bands
    lengths = limits.min_length + np.arange(costs.lengths.shape[1])[:, None]  # [D, 1]
    low, entries = int(bands[0, 0]), rest[bands[0, 0] : bands[0, 1] + 1]
    steps: list[tuple[int, np.ndarray, np.ndarray]] = []  # for the way back
    for k, kind in enumerate(costs.kinds):
        after = np.arange(low, min(low + len(entries) - 1 + int(lengths[-1, 0]), frames) + 1)
        begin = after - lengths  # [D, E]
        turn, place = begin + 2 * lengths // 3, begin - low
        is_inside = (place >= 0) & (place < len(entries))
        begin, turn = np.where(is_inside, begin, low), np.where(is_inside, turn, low)
        total = (
            np.where(is_inside, entries[np.where(is_inside, place, 0)], np.inf)
            + (starts[kind, turn] - starts[kind, begin])
            + (ends[kind, after] - ends[kind, turn])
            + costs.lengths[k][:, None]
        )
        choice = np.argmin(total, axis=0)
        best = np.take_along_axis(total, choice[None], 0)[0]
        if k + 1 == count:
            break
        next_low, next_high = (int(frame) for frame in bands[k + 1])
        pause = (limits.min_pause, costs.pause) if costs.may_pause[k + 1] else None
        entries, origin = _enter_next(best, rest, low, (next_low, next_high), pause)
        steps.append((low, choice, origin))
        low = next_low
    best = best + rest[frames] - rest[after]
    if not np.isfinite(best).any():
        return []
    end = int(after[np.argmin(best)])
    spans = [(end - int(lengths[choice[end - low], 0]), end)]
    for k in reversed(range(len(steps))):
        first, choice, origin = steps[k]
        end = int(origin[spans[-1][0] - int(bands[k + 1, 0])])
        spans.append((end - int(lengths[choice[end - first], 0]), end))
    return spans[::-1]


def _accumulate(costs: np.ndarray) -> np.ndarray:
    """Sums of the first k frames: [..., T] -> [..., T + 1]."""
    return np.concatenate([np.zeros_like(costs[..., :1]), np.cumsum(costs, -1)], -1)


def _enter_next(
    best: np.ndarray,
    rest: np.ndarray,
    low: int,
    band: tuple[int, int],
    pause: tuple[int, float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Costs at which the next segment starts in each frame of its band, and where this one ended.

    Args:
      best: costs of all up to the end of this segment in frame `low` and those after it.
      rest: accumulated costs of a pause.
      low: see `best`.
      band: first and last frame at which the next segment may start.
      pause: shortest length and cost of a pause between the two; None: there is none.
    """
    start = np.arange(band[0], band[1] + 1)
    place = start - low
    is_known = (place >= 0) & (place < len(best))
    entries = np.where(is_known, best[np.where(is_known, place, 0)], np.inf)
    if pause is None:
        return entries, start
    min_pause, cost = pause
    ended = best - rest[low : low + len(best)]
    lowest = np.minimum.accumulate(ended)
    earliest = np.maximum.accumulate(np.where(ended <= lowest, np.arange(len(best)), 0))
    latest = np.minimum(place - min_pause, len(best) - 1)  # frame after which a pause begins
    paused = np.where(latest >= 0, lowest[np.maximum(latest, 0)] + rest[start] + cost, np.inf)
    is_paused = paused < entries
    origin = np.where(is_paused, earliest[np.maximum(latest, 0)] + low, start)
    return np.where(is_paused, paused, entries), origin
