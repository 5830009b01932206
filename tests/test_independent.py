"""Published networks of sizes that no official fixture has, against PyTorch's own layers."""

import pytest
import unseen
from parity import relative
from safetensors.numpy import load_file


@pytest.mark.parametrize("name", unseen.CASES)
def test_the_fixture_is_what_pytorch_gives(name):
    """`test_parity` holds ours to the fixture, also where there is no PyTorch."""
    pytest.importorskip("torch")
    expected = load_file(f"{unseen.FILE}.safetensors")[f"out.{name}"]
    assert relative(unseen.theirs(name), expected) <= 1e-5
