"""What each condition does: nothing where it is not, something where it is."""

import numpy as np
import pytest

from vssflow_jax.common.safetensors_io import read_arrays
from vssflow_jax.data import shards
from vssflow_jax.reports import attribution


@pytest.fixture(scope="module")
def joint(tiny_run):
    split = shards.open_split(tiny_run / "shards", "test", with_wave=True)
    return next(r for r in (split[k] for k in range(len(split))) if r["meta"]["task"] == "joint")


def test_conditions_that_are_there_move_the_velocity(generator, joint, tmp_path):
    del joint["clip"]
    maps = attribution.measure_attribution(generator, joint)
    assert set(maps) == {"speaker", "lips", "phonemes", "sync"}
    assert all(row.shape == (100,) and np.isfinite(row).all() for row in maps.values())
    # the first layers of an untrained network pass on what is concatenated
    assert all(maps[name].max() > 0 for name in ("lips", "phonemes", "sync"))
    path = attribution.write_maps(tmp_path, joint, maps)
    assert path.read_bytes()[:4] == b"\x89PNG"
    again = read_arrays(path.with_suffix(".safetensors"))
    np.testing.assert_array_equal(np.asarray(again["sync"]), maps["sync"])
