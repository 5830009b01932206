"""Joins of loops."""

import numpy as np
import pytest

from vssflow_jax.evaluation.metrics import loops

RATE = 16_000


def test_a_sound_that_begins_as_it_ends_has_a_smaller_change_at_its_join():
    """Noise that swells and fades is joined where it is silent, or where it is loudest."""
    rng = np.random.default_rng(0)
    times = np.arange(2 * RATE) / RATE
    swelling = rng.standard_normal(len(times)) * np.where(times < 1, 0.001, 0.3) * 0.3
    abrupt = loops.rank_join(np.float32(swelling))  # loud noise is followed by silence
    smooth = loops.rank_join(np.float32(np.roll(swelling, RATE // 2)))
    assert smooth < 0.9 < 0.95 < abrupt


def test_the_rank_of_equal_changes_is_the_median():
    assert loops.rank_change(0.5, np.full(10, 0.5)) == 0.5
    assert loops.rank_change(0.2, np.arange(10) / 10) == pytest.approx(0.25)


def test_a_join_does_not_depend_on_level():
    wave = np.float32(0.1 * np.random.default_rng(1).standard_normal(RATE))
    assert loops.rank_join(wave) == loops.rank_join(2 * wave)
