"""What a run needs: parameters by module, memory of a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.training import chips, resources
from vssflow_jax.training.state import TrainState


def test_the_parameter_table_sums_modules():
    params = {
        "dit": {"blocks": {"out": {"kernel": jnp.ones((2, 3, 4))}, "bias": jnp.ones(5)}},
        "scale": jnp.ones(1),
    }
    rows = [line.split() for line in resources.parameter_table(params).splitlines()[1:]]
    assert [row[:2] for row in rows] == [["dit/blocks", "29"], ["scale", "1"], ["all", "30"]]


def test_memory_of_a_step_is_its_arrays_and_grows_with_the_batch():
    params = {"w": jnp.ones((256, 256))}
    codec = jnp.ones(())
    state = TrainState(step=jnp.zeros(()), params=params, ema=None, opt_state=())

    def step(state, codec, batch):
        hidden = jnp.tanh(batch @ state.params["w"])
        return {"w": state.params["w"] + hidden.T @ hidden}

    def memory(rows):
        compiled = jax.jit(step).lower(state, codec, jnp.ones((rows, 256))).compile()
        device = jax.devices()[0]
        return resources.StepMemory.from_compiled(compiled, state, codec, device).needed

    assert memory(512) - memory(256) >= 256 * 256 * 4
    assert memory(256) >= 3 * 256 * 256 * 4


def test_the_largest_batch_is_on_a_line_through_what_is_known():
    memory = resources.StepMemory(needed=30, fixed=10, limit=105)
    assert memory.largest_batch(batch_size=4, multiple=1) == 19
    assert memory.largest_batch(batch_size=4, multiple=4) == 16
    assert resources.StepMemory(needed=30, fixed=10, limit=9).largest_batch(4, 4) == 0
    assert "about 16 clips" in memory.describe(4, 4)


def test_a_device_has_memory():
    assert 2**28 < resources.device_memory(jax.devices()[0]) < 2**50


@pytest.mark.parametrize(
    ("kind", "flops"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("cpu", None),
    ],
)
def test_peaks_of_devices_by_the_names_that_jax_gives_them(kind, flops):
    peak = chips.find_peak_flops(kind)
    assert peak is None if flops is None else np.isclose(peak, flops)
