"""--help of commands."""

import subprocess
import sys

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


WITHOUT_EVAL = """
import runpy, sys
for name in ("jiwer", "mir_eval", "pocketsphinx", "sklearn"):
    sys.modules[name] = None
sys.argv = ["vssflow_jax." + sys.argv[1], "--help"]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_what_needs_no_extra_works_without_it_and_the_rest_names_it(command):
    """An export lists scores, which needs nothing of what computes them."""
    code = [sys.executable, "-c", WITHOUT_EVAL, command]
    done = subprocess.run(code, check=False, capture_output=True, text=True, cwd=tiny_configs.ROOT)
    if command == "export":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: found no ") and "pip install 'vssflow_jax[eval]'" in line
