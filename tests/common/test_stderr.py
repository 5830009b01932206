"""Standard error of native libraries."""

import os
import subprocess
import sys

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.stderr import capture_stderr


def test_stderr_is_held_back_unless_the_work_fails(capfd):
    with capture_stderr():
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'noise')"], check=True)
    with pytest.raises(InputError), capture_stderr(InputError):
        os.write(2, b"noise")
        raise InputError("enough")
    assert capfd.readouterr().err == ""
    with pytest.raises(ValueError, match="else"), capture_stderr(InputError):
        os.write(2, b"reason")
        raise ValueError("else")
    assert capfd.readouterr().err == "reason"
