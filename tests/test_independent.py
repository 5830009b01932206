"""Published encoders of sizes that no fixture has, against PyTorch's own layers."""

import encoders
import jax
import numpy as np
import pytest
from parity import relative

from vssflow_jax.features import published
from vssflow_jax.features.avhubert import AvhubertConfig
from vssflow_jax.features.clip import ClipConfig
from vssflow_jax.features.rawnet3 import Rawnet3Config
from vssflow_jax.features.synchformer import SynchformerConfig

BOUND = 5e-5
CASES = {
    "clip": (
        (ClipConfig(side=40, patch=8, width=48, layers=3, heads=4), (2, 40, 40, 3)),
        (ClipConfig(side=12, patch=4, width=128, layers=1, heads=2), (3, 12, 12, 3)),
    ),
    "sync": (
        (
            SynchformerConfig(side=24, patch=8, frames=6, width=40, layers=3, heads=5),
            (2, 6, 24, 24, 3),
        ),
        (
            SynchformerConfig(side=8, patch=4, frames=16, width=128, layers=1, heads=2),
            (1, 16, 8, 8, 3),
        ),
    ),
    "lips": (
        (
            AvhubertConfig(
                widths=(6, 10, 10), blocks=(2, 1, 2), prelu=True, width=48, hidden=20, layers=3,
                heads=6, reach=5, groups=3,
            ),
            (2, 9, 88, 88),
        ),
        (
            AvhubertConfig(
                widths=(8, 12), blocks=(1, 3), prelu=False, width=32, hidden=64, layers=1,
                heads=2, reach=16, groups=8,
            ),
            (1, 4, 88, 88),
        ),
    ),
    "speaker": (
        (
            Rawnet3Config(
                filters=24, taps=31, channels=24, slices=4, pooled=20, attention=6, width=9
            ),
            (3, 3000),
        ),
        (
            Rawnet3Config(
                filters=32, taps=51, channels=60, slices=6, pooled=48, attention=16, width=32
            ),
            (1, 4801),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("number", (0, 1))
@pytest.mark.parametrize("kind", CASES)
def test_other_sizes(kind, number):
    pytest.importorskip("torch")
    import independent

    config, shape = CASES[kind][number]
    params = encoders.parameters(kind, config, seed=number)
    state = encoders.official(kind, config, seed=number)
    given = np.random.default_rng(7 + number).standard_normal(shape).astype(np.float32)
    found = jax.jit(published.KINDS[kind].model(config).apply)({"params": params}, given)
    expected = independent.features(kind, state, config, given)
    error = relative(found, expected)
    print(kind, number, error)
    assert error <= BOUND
