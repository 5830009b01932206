"""Worker processes: they end with the main process, however it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import tiny_configs
from helpers.paths import ROOT


@pytest.mark.parametrize(
    "work",
    [
        "crash_safe_pool.stream_parts("
        "broken_jobs.run_item, [(n, ('pid', folder)) for n in range(2)], 2, time_limit=4.0)",
        "process_pool.map_unordered(broken_jobs.hang, [folder] * 2, 2)",
    ],
)
def test_workers_end_with_the_main_process(tmp_path, work):
    """SIGKILL of the main process: no worker stays behind, not even one that hangs."""
    program = (
        "from helpers import broken_jobs\n"
        "from vssflow_jax.common import crash_safe_pool, process_pool\n"
        f"folder = {str(tmp_path)!r}\n"
        f"for _ in {work}: pass\n"
    )
    paths = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    child = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths}
    )
    while len(list(tmp_path.iterdir())) < 2 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    until = time.monotonic() + 600
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def test_control_c_ends_a_command_with_one_line(tmp_path):
    """In the midst of work, all processes of the terminal hear it; one of them says so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # to ignore it is inherited
    process = tiny_configs.start(
        "corpus", f"--out={tmp_path}", "--clips=200", start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    while not list(tmp_path.rglob("*.mp4")):
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=1800)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted" and "Traceback" not in said


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
