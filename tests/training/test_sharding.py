"""Places on the mesh, and sizes that do not divide."""

import jax
import pytest
from jax.sharding import PartitionSpec as P

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields
from vssflow_jax.training import sharding


def test_parameter_table_places_matrices_and_leaves_vectors():
    mesh = jax.sharding.AbstractMesh((2, 2, 2), sharding.AXES)
    place = sharding.parameter_spec
    assert place("dit/blocks/attention/query/kernel", (6, 64, 4, 16), mesh) == P(
        None, "fsdp", "tensor", None
    )
    assert place("dit/blocks/feed_forward/out/kernel", (6, 128, 64), mesh) == P(
        None, "tensor", "fsdp"
    )
    assert (
        place("dit/blocks/norm1/scale", (6, 64), mesh) == P(None, None)
        or place("dit/blocks/norm1/scale", (6, 64), mesh) == P()
    )
    assert place("dit/embed/kernel", (321, 64), mesh) == P(None, None)  # 321 does not split


def test_mesh_errors_name_the_numbers():
    with pytest.raises(InputError, match="is for 3 devices, expected sizes for 1 devices"):
        sharding.make_mesh({"data": 3, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    with pytest.raises(InputError, match="at most one of them -1"):
        sharding.make_mesh({"data": -1, "fsdp": -1, "tensor": 1})
    with pytest.raises(InputError, match="3 devices or a multiple"):
        sharding.make_mesh({"data": -1, "fsdp": 3, "tensor": 1}, jax.devices()[:1])


def test_what_does_not_split_evenly_is_named():
    config, mesh = fields.default_config(), jax.sharding.AbstractMesh((4, 2, 5), sharding.AXES)
    config.data.batch_size, config.train.grad_accumulation = 24, 2
    with pytest.raises(InputError, match="batch_size: found 24, expected a multiple of 16"):
        sharding.check_config(config, mesh)
    config.data.batch_size = 32
    with pytest.raises(InputError, match=r"mesh.tensor: found 5, expected a divisor of .* 24"):
        sharding.check_config(config, mesh)
    config.train.grad_accumulation = 0
    with pytest.raises(InputError, match=r"train.grad_accumulation: found 0"):
        sharding.check_config(config, mesh)
