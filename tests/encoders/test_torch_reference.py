"""Published networks of sizes that no official fixture has, against PyTorch's own layers."""

import pytest
from helpers import unseen_sizes
from helpers.parity_encoders import BOUND
from helpers.parity_measures import relative_error
from safetensors.numpy import load_file

from vssflow_jax.encoders.cnn14 import Cnn14Config
from vssflow_jax.encoders.vggish import VggishConfig


@pytest.mark.parametrize("name", unseen_sizes.CASES)
def test_the_fixture_is_what_pytorch_gives(name):
    """`test_parity` holds ours to the fixture, also where there is no PyTorch."""
    pytest.importorskip("torch")
    expected = load_file(f"{unseen_sizes.FILE}.safetensors")[f"out.{name}"]
    assert relative_error(unseen_sizes.run_torch(name), expected) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "shape"),
    [("vggish_0", VggishConfig(), (2, 96, 64)), ("cnn14_0", Cnn14Config(), (1, 64_000))],
)
def test_published_sizes(name, config, shape, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(unseen_sizes.CASES, name, (config, shape))
    output, expected = unseen_sizes.run_ours(name), unseen_sizes.run_torch(name)
    assert output.shape == (shape[0], {"vggish_0": 128, "cnn14_0": 2048 + 527}[name])
    assert relative_error(output, expected) <= BOUND
