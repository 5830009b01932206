"""Frames that a page shows."""

import pytest

from vssflow_jax.reports.stills import select_evenly


@pytest.mark.parametrize("count", (0, 1, 3, 4, 64))
def test_items_are_spread_evenly(count):
    rows = list(range(count))
    shown = select_evenly(rows, 3)
    assert len(shown) == min(count, 3) and shown == sorted(set(shown))
    if count == 64:
        assert shown == [10, 32, 53]
