"""The launch scripts, run as they are."""

import os
import subprocess
from pathlib import Path

LOCAL = Path(__file__).parent.parent / "launch" / "local.sh"


def launch(*arguments, **environment):
    return subprocess.run(
        ["bash", str(LOCAL), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_dry_run_prints_the_command_with_its_arguments():
    done = launch("--dry-run", "--config=configs/joint.py", "--workdir=a b")
    assert (
        done.stdout.strip()
        == "python -m vssflow_jax.train --config=configs/joint.py --workdir=a\\ b"
    )


def fake_python(folder, status):
    """A `python` that notes its call and ends with `status`."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\necho x >> {folder}/calls\nexit {status}\n")
    script.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "RESTARTS": "2"}


def test_crashes_are_tried_again_and_mistakes_are_not(tmp_path):
    for status, calls in ((0, 1), (2, 1), (1, 3)):
        folder = tmp_path / str(status)
        folder.mkdir()
        assert launch(**fake_python(folder, status)).returncode == status
        assert len((folder / "calls").read_text().split()) == calls
