"""--help of commands."""

import pytest
from helpers import tiny_configs


@pytest.mark.parametrize("command", ["sample", "prepare"])
def test_help_is_printed_with_status_0(command):
    done = tiny_configs.run(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"vssflow_jax.{command} --" in done.stdout and "  --out " in done.stdout
    assert ("  --config " in done.stdout) == (command == "prepare")
    assert ("(default: default)" in done.stdout) == (command == "sample")  # the shipped model
    assert str(tiny_configs.ROOT) not in done.stdout and "absl" not in done.stdout
