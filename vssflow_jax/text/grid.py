"""Phoneme times to one phoneme id a latent frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import repeat

from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.phonemes import symbols_to_ids

# Subtracted from a phoneme's score in a frame, for each second between the frame and its interval.
DISTANCE_COST = 0.01
MARGIN = 0.5  # seconds between a frame and the phonemes that are candidates for it, at first


def phonemes_to_frames(
    intervals: Sequence[Interval], num_frames: int, rate: float = LATENT_RATE
) -> np.ndarray:
    """Phoneme ids on an even grid: int32 [num_frames], 0 where nothing is said.

    Of all monotone ways to lay the phonemes on the frames, this takes the one with the largest
    overlap between frames and intervals, under the rule that every phoneme that sounds within
    the grid keeps at least one frame. Where there are more phonemes than frames, each frame
    takes the phoneme in its middle. The search is a Viterbi pass over the states
    pause, phoneme 1, pause, phoneme 2, ..., pause.
    """
    inside = [i for i in intervals if i.start < num_frames / rate and i.end > 0]
    if not inside or not num_frames:
        return np.zeros(num_frames, np.int32)
    starts, ends = np.array([i[:2] for i in inside]).T
    ids = symbols_to_ids(i.symbol for i in inside)
    if len(inside) > num_frames:
        return _sample_middles(ids, starts, ends, num_frames, rate)
    states = _find_states(starts, ends, num_frames, rate, MARGIN)
    phoneme = np.minimum(states // 2, len(inside) - 1)
    return np.where(states % 2, ids[phoneme], 0).astype(np.int32)


def _sample_middles(ids, starts, ends, num_frames: int, rate: float) -> np.ndarray:
    middles = (np.arange(num_frames) + 0.5) / rate
    phoneme = np.maximum(np.searchsorted(starts, middles, side="right") - 1, 0)
    is_spoken = (starts[phoneme] <= middles) & (middles < ends[phoneme])
    return np.where(is_spoken, ids[phoneme], 0).astype(np.int32)


def _find_states(starts, ends, num_frames: int, rate: float, margin: float) -> np.ndarray:
    """The state of each frame, int [num_frames]: 2 k + 1 is phoneme k, even ones are pauses.

    Only phonemes within `margin` seconds of a frame, and one more to each side, are candidates,
    so that memory grows with the clip's length alone. Where phonemes are so dense that one ends up
    further away, the margin grows.
    """
    num_states = 2 * len(starts) + 1
    first, scores = _score_states(starts, ends, num_frames, rate, margin)
    states = first + np.argmax(scores, axis=1)
    if _has_all(states, len(starts)):
        return states
    states = _find_best_path(first, scores, num_states)  # a phoneme would lose all frames
    if scores.shape[1] < num_states and not _is_within(states, starts, ends, rate, margin):
        return _find_states(starts, ends, num_frames, rate, 4 * margin)
    return states


def _is_within(states, starts, ends, rate: float, margin: float) -> bool:
    """Whether every phoneme has frames, all of them within the margin of its interval."""
    (frames,) = np.nonzero(states % 2)
    phoneme = states[frames] // 2
    late, early = frames / rate - ends[phoneme], starts[phoneme] - (frames + 1) / rate
    return _has_all(states, len(starts)) and bool(np.all(np.maximum(late, early) < margin))


def _has_all(states, count: int) -> bool:
    """Whether each of the phonemes has a frame."""
    return len(np.unique(states[states % 2 == 1])) == count


def _score_states(
    starts, ends, num_frames: int, rate: float, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of each frame: the first state [num_frames], and the scores [num_frames, m].

    A score is seconds of overlap. It is -inf behind the last state.
    """
    edges, count = np.arange(num_frames + 1) / rate, len(starts)
    ended = np.searchsorted(np.maximum.accumulate(ends), edges[:-1] - margin, side="right")
    started = np.searchsorted(starts, edges[1:] + margin)
    first = np.maximum(ended - 1, 0)
    width = int(np.max(np.minimum(started + 1, count) - first))  # phonemes
    phoneme = first[:, None] + np.arange(width)
    is_known, phoneme = phoneme < count, np.minimum(phoneme, count - 1)
    overlap = np.minimum(edges[1:, None], ends[phoneme])
    overlap -= np.maximum(edges[:-1, None], starts[phoneme])  # [T, m]
    covered = np.maximum(overlap, 0) * is_known
    pause = 1 / rate - covered.sum(1)  # [T]
    scores = repeat(pause, "t -> t states", states=2 * width + 1).copy()
    # Outside the interval `overlap` is minus the distance to it.
    scores[:, 1::2] = covered + DISTANCE_COST * np.minimum(overlap, 0)
    scores[:, 1:][~np.repeat(is_known, 2, axis=1)] = -np.inf
    return 2 * first, scores


def _find_best_path(first: np.ndarray, scores: np.ndarray, num_states: int) -> np.ndarray:
    """Best path through states 0 .. 2n: odd ones may not be skipped.

    Args:
      first: state of each frame's first candidate, even, [T].
      scores: of the candidates, [T, m].
      num_states: 2 n + 1.
    """
    num_frames, width = scores.shape
    is_pause = np.arange(width) % 2 == 0
    padded = np.full(2 * width + 2, -np.inf)
    best = np.full(width, -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros((num_frames, width), np.int8)
    for t in range(1, num_frames):
        shift = min(first[t] - first[t - 1], width)
        padded[2 : width + 2] = best
        two, one, stay = (padded[shift + k : shift + k + width] for k in range(3))
        two, near = np.where(is_pause, -np.inf, two), np.maximum(stay, one)
        steps[t] = np.where(two > near, 2, one > stay)
        best = np.maximum(near, two) + scores[t]
    last = num_states - 1 - first[-1]
    state = num_states - 1 if best[last] > best[last - 1] else num_states - 2
    path = np.empty(num_frames, np.int32)
    for t in range(num_frames - 1, -1, -1):
        path[t] = state
        state -= int(steps[t, min(max(state - first[t], 0), width - 1)])
    return path
