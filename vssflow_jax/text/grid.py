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
    scores = _score_states(starts, ends, num_frames, rate)
    states = np.argmax(scores, axis=1)
    if len(np.unique(states[states % 2 == 1])) < len(inside):  # a phoneme would lose all frames
        states = _find_best_path(scores)
    phoneme = np.minimum(states // 2, len(inside) - 1)
    return np.where(states % 2, ids[phoneme], 0).astype(np.int32)


def _sample_middles(ids, starts, ends, num_frames: int, rate: float) -> np.ndarray:
    middles = (np.arange(num_frames) + 0.5) / rate
    phoneme = np.maximum(np.searchsorted(starts, middles, side="right") - 1, 0)
    is_spoken = (starts[phoneme] <= middles) & (middles < ends[phoneme])
    return np.where(is_spoken, ids[phoneme], 0).astype(np.int32)


def _score_states(starts, ends, num_frames: int, rate: float) -> np.ndarray:
    """Score of each state in each frame, [num_frames, 2 n + 1]: seconds of overlap."""
    edges = np.arange(num_frames + 1) / rate
    overlap = np.minimum(edges[1:, None], ends) - np.maximum(edges[:-1, None], starts)  # [T, n]
    covered = np.maximum(overlap, 0)
    pause = 1 / rate - covered.sum(1)  # [T]
    scores = repeat(pause, "t -> t states", states=2 * len(starts) + 1).copy()
    # Outside the interval `overlap` is minus the distance to it.
    scores[:, 1::2] = covered + DISTANCE_COST * np.minimum(overlap, 0)
    return scores


def _find_best_path(scores: np.ndarray) -> np.ndarray:
    """Best path through states 0 .. 2n: odd ones may not be skipped; scores [T, 2n+1]."""
    num_frames, num_states = scores.shape
    is_phoneme = np.arange(num_states) % 2 == 1
    best = np.full(num_states, -np.inf)
    best[:2] = scores[0, :2]
    steps = np.zeros((num_frames, num_states), np.int32)
    for t in range(1, num_frames):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.concatenate([[-np.inf, -np.inf], best[:-2]])[:num_states]
        choices = np.stack([best, one, np.where(is_phoneme, two, -np.inf)])
        steps[t] = np.argmax(choices, axis=0)
        best = choices[steps[t], np.arange(num_states)] + scores[t]
    state = num_states - 1 if best[-1] > best[-2] else num_states - 2
    path = np.empty(num_frames, np.int32)
    for t in range(num_frames - 1, -1, -1):
        path[t] = state
        state -= steps[t, state]
    return path
