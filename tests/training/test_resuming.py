"""A run that is killed, out of disk or damaged, and resumed by the same command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers import in_process, small_runs, tiny_configs

from vssflow_jax.config import command_line
from vssflow_jax.training import checkpoint


def weights(workdir, number):
    checkpoints = checkpoint.Checkpoints(workdir)
    restored = jax.tree.map(np.asarray, checkpoints.restore_weights(number))
    checkpoints.close()
    return restored


def arrays(workdir, number):
    """Everything that a checkpoint says of the state, by item."""
    reader, path = ocp.StandardCheckpointer(), workdir / "checkpoints" / str(number)
    return {item: reader.restore(path / item) for item in ("state", "weights")}


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_folder(tiny_run):
    assert {"config.json", "metrics.jsonl", "checkpoints", "tb", "codec"} <= {
        p.name for p in tiny_run.iterdir()
    }
    lines = metrics(tiny_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {
        "loss", "grad_norm", "learning_rate", "clips_per_second", "input_wait_fraction",
        "skipped_steps", "corrupt_records",
    } <= set(lines[0])  # fmt: skip
    assert any(line["durations_loss"] > 0 for line in lines)
    assert checkpoint.open_newest(tiny_run)[1] == 6


KILLS_ITSELF = """
import os, signal, time
from vssflow_jax import train
from vssflow_jax.config import command_line
from vssflow_jax.training import loop
write_line = loop.Run._log

def log(run, *arguments):
    if run.step == 5:  # the checkpoint of step 4 may be half written
        while not (run.workdir / "checkpoints" / "2").is_dir():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    write_line(run, *arguments)

loop.Run._log = log
command_line.run(train.main, train.define_flags)
"""


def test_killed_run_ends_with_the_same_weights(tiny_run, tmp_path):
    """SIGKILL; the same command ends bit for bit where an unbroken run does."""
    workdir = tmp_path / "killed"
    shutil.copytree(
        tiny_run, workdir, ignore=shutil.ignore_patterns("checkpoints", "tb", "metrics.jsonl")
    )
    flags = (*tiny_configs.FLAGS, f"--workdir={workdir}", "--config.train.steps=6")
    killed = subprocess.run(
        [sys.executable, "-c", KILLS_ITSELF, *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=tiny_configs.ROOT,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with jax.default_matmul_precision(None):  # as in the two others, which no fixture changes
        done = in_process.run("train", *flags)
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout
    jax.tree.map(np.testing.assert_array_equal, arrays(workdir, 6), arrays(tiny_run, 6))
    expected = [(line["step"], line["loss"]) for line in metrics(tiny_run)]
    assert [(line["step"], line["loss"]) for line in metrics(workdir)] == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_twenty_interruptions_leave_no_trace(tiny_run, tmp_path, name):
    """Every start goes on, and the end is bit for bit the unbroken run's, optimizer and all."""
    steps, reports = 1500, []
    for count in (0, 20):
        workdir = tmp_path / str(count)
        workdir.mkdir()
        for part in ("shards", "codec"):
            shutil.copytree(tiny_run / part, workdir / part)
        command = [
            sys.executable,
            str(tiny_configs.ROOT / "tests/helpers/kill_harness.py"),
            name,
            count,
            0,
            steps,
        ]
        done = subprocess.run(
            [*map(str, command), str(workdir)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": f"{tiny_configs.ROOT}:{tiny_configs.ROOT / 'tests'}"},
        )
        assert done.returncode == 0, done.stderr + (workdir / "log.txt").read_text()
        reports.append(json.loads(done.stdout))
    starts = reports[1]["starts"]
    print(starts)
    assert reports[1]["last"] == 0 and len(starts) == 20
    ends = {-signal.SIGKILL} if name == "SIGKILL" else {75}
    assert {start["status"] for start in starts} == ends
    assert sum(start["saving"] for start in starts) >= 5
    assert [s["step"] for s in starts] == sorted(s["step"] for s in starts)
    unbroken, broken = (tmp_path / "0", tmp_path / "20")
    jax.tree.map(np.testing.assert_array_equal, arrays(broken, steps), arrays(unbroken, steps))
    expected, resumed = (
        [(line["step"], line["loss"]) for line in metrics(folder)] for folder in (unbroken, broken)
    )
    assert resumed == expected


def terminated(workdir, seen, seconds, *flags, number=signal.SIGTERM):
    """Status of a run that gets a signal some seconds after `seen` is in its output."""
    process = tiny_configs.start("train", *tiny_configs.FLAGS, f"--workdir={workdir}", *flags)
    for line in process.stdout:
        if seen in line:
            break
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=1800)
    return process.returncode, out + err


@pytest.mark.slow
def test_a_signal_at_any_stage_ends_with_75_and_the_next_start_goes_on(tiny_run, tmp_path):
    workdir, steps = tmp_path / "run", "--config.train.steps=6"
    status, said = terminated(workdir, "building the corpus", 1, steps)
    assert (status, "nothing to save" in said) == (75, True), said
    assert not (workdir / "shards" / "dataset.json").exists()
    shutil.copytree(tiny_run / "shards", workdir / "shards", dirs_exist_ok=True)
    # While the first step is being compiled: it is taken and saved. Ctrl-C is no different.
    status, said = terminated(workdir, "parameters", 0.5, steps, number=signal.SIGINT)
    assert (status, "step 1 is saved" in said) == (75, True), said
    assert checkpoint.open_newest(workdir)[1] == 1
    evaluate = ("--config.train.evaluate=True", "--config.train.evaluate_clips=1")
    status, said = terminated(workdir, "trained 6 steps", 0.2, steps, *evaluate)
    assert (status, "nothing to save" in said) == (75, True), said
    jax.tree.map(np.testing.assert_array_equal, weights(workdir, 6), weights(tiny_run, 6))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of nine megabytes: room for two checkpoints of the tiny run, not for three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


NO_ROOM_SEEN = """
import shutil, sys
usage = shutil._ntuple_diskusage(10**12, 0, 10**12)
shutil.disk_usage = lambda path: usage
from vssflow_jax import train
from vssflow_jax.config import command_line
command_line.run(train.main, train.define_flags)
"""


@pytest.mark.slow
@pytest.mark.parametrize("noticed", [True, False], ids=["before", "while writing"])
def test_a_full_disk_leaves_the_last_checkpoint(tiny_run, small_disk, noticed):
    workdir, moved = small_disk / "run", small_disk.parent / "moved"
    workdir.mkdir()
    shutil.copytree(tiny_run / "codec", workdir / "codec")
    flags = (f"--config.data.shards={tiny_run / 'shards'}", "--config.train.keep_checkpoints=9")
    command = ("-m", "vssflow_jax.train") if noticed else ("-c", NO_ROOM_SEEN)
    done = subprocess.run(
        [sys.executable, *command, *tiny_configs.FLAGS, f"--workdir={workdir}", *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=tiny_configs.ROOT,
        timeout=1800,
    )
    assert done.returncode == 2
    assert not noticed or "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    (error,) = (line for line in lines if line.startswith("error: "))
    assert error.endswith("no space left on the disk")
    assert not noticed or error == lines[-1]  # else Orbax's threads may write after it
    _, last = checkpoint.open_newest(workdir)
    assert last in (4, 6)
    shutil.move(workdir, moved)
    done = tiny_configs.train(moved, *flags, f"--config.train.steps={last + 2}")
    assert (done.returncode, f"resuming from step {last}" in done.stdout) == (0, True)
    # Nothing is left of the half written one.
    kept = sorted(int(path.name) for path in (moved / "checkpoints").iterdir())
    assert kept == list(range(2, last + 4, 2))


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "checkpoints").write_text("")

    def train():
        run = small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=2)
        run.train(lambda *_: None)

    assert command_line.run_guarded(train, ["train"]) == 2
    assert "a file is where a folder is expected" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_corrupt_records_are_counted_or_stop_the_run(tiny_run, tmp_path):
    for name in ("shards", "codec"):
        shutil.copytree(tiny_run / name, tmp_path / name)
    shard = next((tmp_path / "shards").glob("train*.array_record"))
    data = bytearray(shard.read_bytes())
    data[200_000:200_008] = bytes(byte ^ 0xFF for byte in data[200_000:200_008])
    shard.write_bytes(data)
    done = tiny_configs.train(tmp_path, "--config.train.steps=6")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith("error: data.max_corrupt_fraction: found 1 corrupt records")
        and shard.name in last
    )
    done = tiny_configs.train(
        tmp_path, "--config.train.steps=6", "--config.data.max_corrupt_fraction=0.2"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stands in for it") == 1
    assert metrics(tmp_path)[-1]["corrupt_records"] == 1


def test_resuming_with_another_model_or_seed_is_refused(tiny_run):
    before = (tiny_run / "config.json").read_text()
    changes = ("--config.model.cross_attention_rope=False", "--config.seed=1")
    flags = (f"--workdir={tiny_run}", "--config.train.steps=8", *changes)
    done = in_process.run("train", *tiny_configs.FLAGS, *flags)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: {tiny_run}: checkpoint 6: seed: found 1, expected 0; model.cross_attention_rope: "
        "found False, expected True, with which it was saved"
    )
    assert (tiny_run / "config.json").read_text() == before
