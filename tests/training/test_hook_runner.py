"""Samples and scores of a run: beside the steps of several processes, between those of one."""

import contextlib
import json
import re
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from helpers import loopback, small_runs
from helpers.paths import ROOT

from vssflow_jax.common.errors import InputError
from vssflow_jax.training.hook_runner import HookRunner, StepJob


class Log:
    """A log in memory."""

    def __init__(self):
        self.lines = []

    def write(self, step, values):
        self.lines.append((step, dict(values)))


class HeldJobs:
    """A hook with a job after every step, each of which waits until it is released."""

    def __init__(self):
        self.steps, self.released, self.begun = [], threading.Event(), threading.Event()

    def __call__(self, step, state):
        def job():
            self.steps.append(step)
            self.begun.set()
            assert self.released.wait(timeout=60)
            return {"score": float(step)}

        return job


def test_steps_go_on_beside_a_job_and_those_due_meanwhile_are_said_to_be_left_out(capsys):
    log, jobs = Log(), HeldJobs()
    runner = HookRunner(jobs, log, in_background=True)
    for step in (1, 2, 3):
        runner.call(step, None, 10.0 * step)
    assert jobs.begun.wait(timeout=60)
    assert log.lines == [] and runner.write_finished() == 1
    said = capsys.readouterr().out.splitlines()
    note = "note: no samples or scores of step {}: those of step 1 are not finished"
    assert said == [note.format(2), note.format(3)]
    jobs.released.set()
    runner.finish()
    runner.call(4, None, 40.0)
    runner.finish()
    assert runner.write_finished() is None
    assert jobs.steps == [1, 4]
    assert log.lines == [(step, {"score": step, "seconds": 10.0 * step}) for step in (1, 4)]


def test_a_process_alone_finishes_a_job_before_the_next_step():
    log, jobs = Log(), HeldJobs()
    jobs.released.set()
    runner = HookRunner(jobs, log, in_background=False)
    runner.call(1, None, 0.5)
    assert log.lines == [(1, {"score": 1.0, "seconds": 0.5})]
    assert runner.write_finished() is None


@pytest.mark.parametrize("in_background", [False, True])
def test_an_error_of_a_job_is_raised_after_a_later_step_at_the_latest(in_background):
    def fail():
        raise InputError("evaluation: broken")

    runner = HookRunner(lambda step, state: fail if step == 1 else None, Log(), in_background)
    with pytest.raises(InputError, match="evaluation: broken"):
        for step in range(1, 1000):
            runner.call(step, None, 0.0)
            time.sleep(0.01)
    runner.finish()  # it is raised once


def read_lines(workdir):
    """The lines of a run's log so far."""
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_last_job_is_waited_for_and_its_line_has_its_own_step(tmp_path, monkeypatch):
    monkeypatch.setattr("vssflow_jax.training.loop.HookRunner", background_runner)
    jobs = HeldJobs()

    def hook(step, state):
        if step == 6:
            threading.Timer(0.2, jobs.released.set).start()
        return jobs(step, state) if step == 2 else None

    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=6).train(hook)
    lines = read_lines(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 2]
    assert lines[-1] == {"step": 2, "score": 2.0, "seconds": lines[1]["seconds"]}
    # The lines of a resumed run go on from the largest time, and keep the scores.
    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=7).train(lambda *_: None)
    resumed = read_lines(tmp_path)
    assert resumed[:7] == lines and resumed[7]["seconds"] > lines[5]["seconds"]


@pytest.mark.parametrize("in_background", [False, True])
def test_a_missed_job_is_done_before_or_beside_the_next_steps(
    tmp_path, monkeypatch, capsys, in_background
):
    if in_background:
        monkeypatch.setattr("vssflow_jax.training.loop.HookRunner", background_runner)
    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=4).train(lambda *_: None)
    missed = StepJob(step=2, seconds=0.25, job=lambda: {"score": 7.0})
    again = small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=6)
    again.train(lambda *_: None, missed)
    lines = read_lines(tmp_path)
    assert sorted(line["step"] for line in lines) == [1, 2, 2, 3, 4, 5, 6]
    assert {"step": 2, "score": 7.0, "seconds": 0.25} in lines
    said = "samples or scores of step 2, which were not finished, are made now"
    assert said in capsys.readouterr().out


def background_runner(hook, log, in_background):
    """A runner as those of several processes have it."""
    return HookRunner(hook, log, in_background=True)


def wait_until(holds, processes, seconds=loopback.PATIENCE):
    """Waits until a condition holds, while the processes run."""
    deadline = time.monotonic() + seconds
    while not holds():
        for process in processes:
            assert process.poll() is None, loopback.read_log(process)
        assert time.monotonic() < deadline, [loopback.read_log(process) for process in processes]
        time.sleep(0.02)


STEPS = 16


@pytest.fixture
def held(tiny_run, tmp_path):
    """Runs of two processes whose samples obey a folder; see `helpers.held_samples`."""
    folder = tmp_path / "obeyed"
    folder.mkdir()
    (folder / "hold").touch()

    with contextlib.ExitStack() as pairs:

        def start(name, sample_every):
            workdir = tmp_path / name
            if not workdir.exists():
                for part in ("shards", "codec"):
                    shutil.copytree(tiny_run / part, workdir / part)
            flags = ("--config.mesh.data=4", "--config.mesh.fsdp=2")
            flags += (
                f"--config.train.steps={STEPS}",
                f"--config.train.sample_every={sample_every}",
            )
            command = (ROOT / "tests" / "helpers" / "held_samples.py", folder)
            pair = loopback.running_pair(workdir, tmp_path, *flags, command=command)
            return workdir, pairs.enter_context(pair)

        yield SimpleNamespace(folder=folder, start=start)


def losses(workdir):
    """Losses by step, in the order of their lines."""
    return [(line["step"], line["loss"]) for line in read_lines(workdir) if "loss" in line]


@pytest.mark.slow
@pytest.mark.multihost
def test_samples_of_one_process_do_not_stop_the_steps_of_two(held):
    """They wait while both take steps, and are left out at one's Ctrl-C; the next start makes them.

    It does so from the checkpoint of their step, and waits for them at the end.
    """
    workdir, pair = held.start("held", sample_every=4)
    wait_until(lambda: read_lines(workdir)[-1:] and read_lines(workdir)[-1]["step"] >= 7, pair)
    assert (held.folder / "begun-4").exists()
    pair[1].send_signal(signal.SIGINT)
    assert [process.wait(timeout=loopback.PATIENCE) for process in pair] == [75, 75], (
        loopback.read_log(pair[0])
    )
    stopped = [loopback.read_log(process).splitlines()[-1] for process in pair]
    assert ", samples or scores of step 4 are not; run the same" in stopped[0]
    assert "SIGTERM: step" in stopped[0]
    assert "samples" not in stopped[1] and "SIGINT: step" in stopped[1]

    workdir, pair = held.start("held", sample_every=4)
    final = workdir / "checkpoints" / str(STEPS)
    wait_until(lambda: final.exists() and read_lines(workdir)[-1]["step"] == STEPS, pair)
    stopped_at = int(re.search(r"step (\d+) is saved", stopped[0])[1])
    begun = stopped_at - stopped_at % 4
    assert (held.folder / f"begun-{begun}").exists()
    assert not list(workdir.glob("samples/*"))
    time.sleep(2)  # for a process that does not wait
    assert all(process.poll() is None for process in pair)
    (held.folder / "release").touch()
    assert [process.wait(timeout=loopback.PATIENCE) for process in pair] == [0, 0], (
        loopback.read_log(pair[0])
    )
    made_up = f"samples or scores of step {begun}, which were not finished, are made now"
    assert made_up in loopback.read_log(pair[0]) and made_up not in loopback.read_log(pair[1])
    for step in range(begun + 4, STEPS + 1, 4):
        note = f"note: no samples or scores of step {step}: those of step {begun} are not finished"
        assert note in loopback.read_log(pair[0])
    lines = read_lines(workdir)
    assert lines[-1]["step"] == begun and lines[-1]["score"] == begun
    assert len(list(workdir.glob(f"samples/{begun}/*.wav"))) == 1 + 2
    assert [path.name for path in workdir.glob("samples/*")] == [str(begun)]

    unsampled, pair = held.start("unsampled", sample_every=0)
    assert [process.wait(timeout=loopback.PATIENCE) for process in pair] == [0, 0], (
        loopback.read_log(pair[0])
    )
    assert losses(workdir) == losses(unsampled)
    assert [step for step, _ in losses(workdir)] == list(range(1, STEPS + 1))


@pytest.mark.slow
@pytest.mark.multihost
def test_an_error_in_the_samples_of_one_process_ends_the_run_with_its_line(held):
    (held.folder / "hold").unlink()
    (held.folder / "fail").touch()
    _, pair = held.start("failing", sample_every=4)
    statuses = [process.wait(timeout=loopback.PATIENCE) for process in pair]
    assert statuses[0] == 2 and statuses[1] not in (0, 75)
    last = loopback.read_log(pair[0]).splitlines()[-1]
    assert last == "error: samples of step 4: found none"
