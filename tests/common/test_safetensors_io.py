"""Arrays in files: what is written, what is read, and nothing left of a write that failed."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from vssflow_jax.common import safetensors_io
from vssflow_jax.common.errors import InputError


def test_written_arrays_are_what_the_format_says(tmp_path):
    """Our writer against the library's reader, turned and empty arrays among them."""
    rng = np.random.default_rng(0)
    cube = rng.standard_normal((3, 4, 5), np.float32)
    arrays = {
        "cube": cube, "turned": cube.T, "cut": cube[::2, 1:, ::-1], "one": np.float32(2.5),
        "none": np.zeros((0, 3), np.float32), "ids": np.arange(7), "flags": cube[0] > 0,
        "half": cube.astype(np.float16), "name/with: \u00fc \"quotes\"": cube[0],
    }  # fmt: skip
    safetensors_io.write_arrays(tmp_path / "a.safetensors", arrays)
    loaded = load_file(tmp_path / "a.safetensors")
    lazy = safetensors_io.read_arrays(tmp_path / "a.safetensors")
    assert {name: (a.shape, a.dtype) for name, a in lazy.items()} == {
        name: (a.shape, a.dtype.name) for name, a in arrays.items()
    }
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)
        np.testing.assert_array_equal(np.asarray(lazy[name]), array, strict=True)


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail():
        raise InputError("no")

    bad = {"a": np.zeros(3, np.float32), "b": safetensors_io.Lazy((2,), "float32", fail)}
    with pytest.raises(InputError):
        safetensors_io.write_arrays(tmp_path / "a.safetensors", bad)
    assert not list(tmp_path.iterdir())
