"""Places on the mesh, sizes that do not divide, and losses on several devices."""

import jax
import numpy as np
import pytest
from helpers import meshes, small_runs, train_steps
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


class FakeDevice:
    """What JAX says of a device: its place on the network, its slice."""

    def __init__(self, number, coords=None, slice_index=None):
        self.id, self.process_index, self.device_kind = number, number // 4, "fake"
        self.platform = "cpu" if coords is None else "tpu"
        if coords is not None:
            self.coords, self.core_on_chip = coords, 0
        if slice_index is not None:
            self.slice_index = slice_index


def test_neighbors_on_the_network_are_neighbors_on_the_mesh():
    """A 4 x 4 torus whose devices JAX lists in another order."""
    chips = [FakeDevice(4 * y + x, (x, y, 0)) for y in range(4) for x in range(4)]
    shuffled = [chips[number] for number in np.random.default_rng(0).permutation(16)]
    grid = sharding.arrange_devices({"data": 4, "fsdp": -1, "tensor": 1}, shuffled)
    assert grid.shape == (4, 4, 1)
    for line in (*grid[:, :, 0], *grid[:, :, 0].T):
        varying = [axis for axis in range(2) if len({chip.coords[axis] for chip in line}) > 1]
        assert len(varying) == 1  # each line of an axis is a ring of the torus
    split = sharding.arrange_devices({"data": 2, "fsdp": 2, "tensor": 4}, shuffled)
    assert {chip.id for chip in split.ravel()} == set(range(16))


def test_data_runs_across_slices_and_nothing_else_does():
    devices = [FakeDevice(number, slice_index=number % 2) for number in range(8)]
    grid = sharding.arrange_devices({"data": 4, "fsdp": 2, "tensor": 1}, devices)
    assert [[chip.slice_index for chip in row] for row in grid[..., 0]] == [[0, 0]] * 2 + [
        [1, 1]
    ] * 2
    unnamed = [FakeDevice(number) for number in range(8)]
    grid = sharding.arrange_devices({"data": 2, "fsdp": 4, "tensor": 1, "slices": 2}, unnamed)
    assert [{chip.process_index for chip in row} for row in grid[..., 0]] == [{0}, {1}]
    for sizes, error in (
        ({"data": 1, "fsdp": 8, "tensor": 1}, "mesh.data: found 1, expected a multiple of the 2"),
        ({"data": 8, "fsdp": 1, "tensor": 1, "slices": 4}, "mesh.slices: found 4, expected 2"),
    ):
        with pytest.raises(InputError, match=error):
            sharding.arrange_devices(sizes, devices)
    with pytest.raises(InputError, match=r"mesh\.slices: found 3, expected a divisor of the 8"):
        sharding.arrange_devices({"data": 8, "fsdp": 1, "tensor": 1, "slices": 3}, unnamed)


def test_a_process_reads_the_rows_of_its_devices_wherever_they_are():
    assert sharding.merge_rows([range(8, 12), range(0, 4), range(8, 12)]) == [
        0,
        1,
        2,
        3,
        *range(8, 12),
    ]


def test_a_batch_with_other_rows_than_those_of_the_process_is_not_placed():
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    batch = {"x": np.arange(6.0).reshape(3, 2), "ids": np.array(["a", "b", "c"])}
    placed = sharding.place_batch(batch, mesh, 3)
    np.testing.assert_array_equal(placed["x"], batch["x"])
    assert list(placed) == ["x"]
    with pytest.raises(ValueError, match="found 3 rows, expected the 4"):
        sharding.place_batch(batch, mesh, 4)


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


@pytest.mark.parametrize("task", ["flow", pytest.param("distill", marks=pytest.mark.slow)])
def test_a_mixed_mesh_with_accumulation_gives_one_devices_losses(task, tmp_path):
    """In the training of a model, and in that of a student, whose config has a teacher."""
    changes = small_runs.PLAIN
    if task == "distill":
        teacher = {**changes, "model__duration_width": 8, "optim__learning_rate": 3e-3}
        train_steps.write_teacher(tmp_path, train_steps.small(**teacher))
        student = {"train__task": "distill", "train__init_from": str(tmp_path)}
        changes = {**teacher, **student, "dropout__all": 0.0, "distill__steps": 2}
    on_eight = meshes.on_devices({task: ("mixed, accumulated", changes)}, steps=3)
    expected = train_steps.losses(train_steps.MESHES["one"], 3, **changes)
    meshes.assert_equal_losses({"one": expected, **on_eight})
