"""Commands on a full disk."""

import shutil
import subprocess

import pytest
from helpers import tiny_configs
from helpers.in_process import assert_error


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_leaves_no_file(tiny_run, small_disk):
    (small_disk / "filler").write_bytes(bytes(1_000_000))
    out = small_disk / "out.wav"
    flags = (f"--workdir={tiny_run}", f"--out={out}", "--steps=2", "--text=set blue at g nine now")
    assert_error(tiny_configs.run("sample", *flags), "no space left", out=out)
    done = tiny_configs.train(small_disk / "run", f"--config.data.shards={tiny_run / 'shards'}")
    assert_error(done, "no space left")
