"""Counts of skipped steps and corrupt records."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.training.nan_guard import NanGuard


def test_the_guard_counts_skipped_steps_and_names_each_corrupt_record_once(capsys):
    limits = {"max_skipped_steps": 2, "max_corrupt_records": 2}
    guard = NanGuard(**limits)
    for number, skipped in enumerate((True, False, True, False, False)):
        guard.add_step(number, np.bool_(skipped), ["a"])
    guard.add_corrupt(["x, record 1", "x, record 2"])
    guard.add_corrupt(["x, record 1"])
    assert guard.state() == {"skipped": 2, "row": 0, "corrupt": ["x, record 1", "x, record 2"]}
    assert capsys.readouterr().err.count("x, record 1: corrupt") == 1
    again = NanGuard(**limits, saved=guard.state())
    assert again.metrics() == {"skipped_steps": 2, "corrupt_records": 2}
    with pytest.raises(InputError, match=r"found 3 .* at most 2: x, record 1; x, record 2; y"):
        again.add_corrupt(["y, record 1"])
