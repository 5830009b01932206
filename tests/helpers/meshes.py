"""Training steps on meshes of eight simulated devices, in a process of its own."""

import json
import os
import subprocess
import sys

import numpy as np

from helpers import tiny_configs
from helpers.paths import ROOT


def run_code(code):
    """What a program prints on eight simulated devices, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_devices(cases, steps=10):
    """The losses of some steps on eight simulated devices, by case, in a process of its own.

    Args:
      cases: by name a mesh of `train_steps.MESHES` and the fields that differ from its config.
      steps: of each.
    """
    environment = {
        **tiny_configs.simulate_devices(8),
        "STEPS": str(steps),
        "CASES": json.dumps(cases),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "helpers" / "train_steps.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_equal_losses(by_mesh):
    """The losses of all steps are those of one device, by mesh."""
    one = by_mesh.pop("one")
    assert len(set(one)) == len(one) > 2
    for name, losses in by_mesh.items():
        np.testing.assert_allclose(losses, one, rtol=1e-5, err_msg=name)
