"""The contact sheet of a face, by the command."""

import pytest
from helpers import fixtures, in_process
from PIL import Image

from vssflow_jax.features import face_mesh

needs_networks = pytest.mark.skipif(not face_mesh.is_available(), reason=face_mesh.INSTALL)


@needs_networks
def test_the_command_draws_the_mouth(tmp_path):
    video = fixtures.find_real_video("carphone_pristine.mp4")
    done = in_process.run("report", f"--video={video}", f"--out={tmp_path / 'a.png'}")
    assert done.returncode == 0 and done.stderr == ""
    assert "a mouth in 100 of 100 pictures (used as lips)" in done.stdout
    assert Image.open(tmp_path / "a.png").size == (960, 431)


def test_mistakes_are_one_line(tmp_path):
    flags = [f"--video={fixtures.write_video(tmp_path / 'a.mp4')}", f"--out={tmp_path / 'a.png'}"]
    wanted = {"--face=1": "--face: found '1'", "--out=a.jpg": "expected a .png name"}
    if face_mesh.is_available():
        wanted["--face=1,2"] = "found no face in 50 pictures"
    for flag, message in wanted.items():
        done = in_process.run("report", *flags, flag)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ") and message in done.stderr
