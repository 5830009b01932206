"""The search for segments: as cheap as the best of all, within its limits."""

import itertools

import numpy as np
import pytest

from vssflow_jax.features.segment_search import SegmentCosts, SegmentLimits, find_segments

FRAMES, MIN_LENGTH, MIN_PAUSE, PAUSE = 11, 2, 2, 0.4


def make_costs(seed, may_pause):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(2, size=len(may_pause))
    starts, ends = rng.uniform(0, 1, (2, 2, FRAMES))
    return SegmentCosts(
        kinds=kinds,
        starts=starts,
        ends=ends,
        rest=rng.uniform(0, 0.7, FRAMES),
        lengths=rng.uniform(0, 0.5, (len(kinds), 3)),
        may_pause=np.array(may_pause),
        pause=PAUSE,
    )


def make_limits(bands):
    return SegmentLimits(min_length=MIN_LENGTH, min_pause=MIN_PAUSE, bands=np.array(bands))


def add_up(costs, spans):
    """Cost of a segmentation; infinite where it is not allowed."""
    total, spoken = 0.0, np.zeros(FRAMES, bool)
    for number, (start, end) in enumerate(spans):
        kind, length = costs.kinds[number], end - start
        turn = start + 2 * length // 3
        total += costs.starts[kind, start:turn].sum() + costs.ends[kind, turn:end].sum()
        total += costs.lengths[number, length - MIN_LENGTH]
        spoken[start:end] = True
        gap = start - spans[number - 1][1] if number else 0
        if gap and (gap < MIN_PAUSE or not costs.may_pause[number]):
            return np.inf
        total += PAUSE if gap else 0
    return total + costs.rest[~spoken].sum()


def list_all(count, bands):
    """All segmentations with allowed starts and lengths."""
    lengths = range(MIN_LENGTH, MIN_LENGTH + 3)
    for edges in itertools.product(*(range(a, b + 1) for a, b in bands)):
        for chosen in itertools.product(lengths, repeat=count):
            spans = [(a, a + n) for a, n in zip(edges, chosen, strict=True)]
            follows = all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
            if follows and spans[-1][1] <= FRAMES:
                yield spans


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bands", [[(0, 11)] * 3, [(0, 3), (2, 5), (3, 8)]])
def test_the_search_is_as_good_as_trying_all(seed, bands):
    costs = make_costs(seed, [True, seed % 2 == 0, True])
    spans = find_segments(costs, make_limits(bands))
    best = min(add_up(costs, one) for one in list_all(3, bands))
    assert add_up(costs, spans) == pytest.approx(best)
    assert all(a <= start <= b for (start, _), (a, b) in zip(spans, bands, strict=True))


def test_more_segments_than_fit_give_none():
    costs = make_costs(0, [True] * 6)
    assert find_segments(costs, make_limits([(0, 11)] * 6)) == []
