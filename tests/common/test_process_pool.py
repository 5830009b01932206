"""Work on processes: order, limits, and items that hang, crash or raise."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import broken_jobs, tiny_configs
from helpers.paths import ROOT

from vssflow_jax.common import process_pool


def run(items, workers, seconds=60.0):
    """(tag, part) of broken_jobs.run_item, the reasons of what was lost by tag."""
    parts, lost = [], {}
    for tag, part in process_pool.streamed(broken_jobs.run_item, items, workers, seconds=seconds):
        if isinstance(part, process_pool.End):
            lost |= {tag: part.lost} if part.lost else {}
        else:
            parts.append((tag, part))
    return parts, lost


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_parts_come_in_the_order_of_the_items(workers):
    items = [(f"tag{n}", ("count", n % 4)) for n in range(12)]
    expected = [(tag, part) for tag, (_, count) in items for part in range(count)]
    assert run(items, workers) == (expected, {})


def test_what_hangs_or_crashes_is_lost_alone(tmp_path):
    items = [
        ("good", ("count", 2)),
        ("hangs", ("hang", 1)),
        ("dies", ("crash", 2)),
        ("dies once", ("once", str(tmp_path / "mark"))),
        ("leaves", ("leave", 0)),
        ("last", ("count", 1)),
    ]
    parts, lost = run(items, 2, seconds=2.0)
    assert lost == {
        "hangs": "took longer than 2 s",
        "dies": "crashed its process twice (SIGSEGV)",
        "leaves": "crashed its process twice (exit status 3)",
    }
    kept = [tag for tag, _ in parts]
    assert kept == ["good"] * 2 + ["hangs"] + ["dies"] * 2 + ["dies once"] * 3 + ["last"]
    assert [part for tag, part in parts if tag == "dies once"] == [0, 1, 2]


def test_an_exception_comes_out():
    for workers in (0, 2):
        with pytest.raises(KeyError, match="spoon"):
            run([("a", ("count", 1)), ("b", ("raise", "spoon"))], workers)


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number, ("count", 1)

    stream = process_pool.streamed(broken_jobs.run_item, items(), 1, seconds=60.0)
    next(stream)
    assert len(taken) <= process_pool.AHEAD
    stream.close()


@pytest.mark.parametrize("workers", [0, 3])
def test_what_needs_one_process_is_done_there_together(workers):
    """Squares come from the main process, several at a time; what fails alone is raised alone."""
    broken_jobs.calls.clear()
    items = [(n, ("square", -1 if n == 5 else n)) for n in range(60)]
    parts, lost = run(items, workers)
    assert parts == [(n, "refused" if n == 5 else n * n) for n in range(60)] and not lost
    assert sum(len(call) for call in broken_jobs.calls) >= 60, "in this process"
    if workers:
        assert max(len(call) for call in broken_jobs.calls) > 1


@pytest.mark.parametrize(("workers", "count"), [(1, 20), (2, 40)])
def test_decoding_goes_on_while_the_main_process_encodes(workers, count):
    """100 ms an item here, as long by all workers there: half of it can be hidden, and is."""
    start, seconds = None, 0.1 * workers
    items = [(n, ("both", seconds)) for n in range(count)]
    for _ in process_pool.streamed(broken_jobs.run_item, items, workers, seconds=60.0):
        start = start or time.monotonic()  # the workers have started
    assert time.monotonic() - start < 0.1 * count * 1.25


def test_waiting_for_the_main_process_is_no_hanging():
    parts, lost = run([("a", ("slow", 3)), ("b", ("slow", 4))], 2, seconds=1.0)
    assert parts == [("a", 3), ("b", 4)] and not lost


@pytest.mark.parametrize(
    "work",
    [
        "process_pool.streamed(broken_jobs.run_item, [(n, ('pid', folder)) for n in range(2)], 2, "
        "seconds=4.0)",
        "process_pool.unordered(broken_jobs.hang, [folder] * 2, 2)",
    ],
)
def test_workers_end_with_their_master(tmp_path, work):
    """SIGKILL of the main process: no worker stays behind, not even one that hangs."""
    program = (
        "from helpers import broken_jobs; from vssflow_jax.common import process_pool\n"
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
    until = time.monotonic() + 30
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def test_control_c_ends_a_command_with_a_word(tmp_path):
    """In the midst of work, all processes of the terminal hear it; one of them says so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # to ignore it is inherited
    process = tiny_configs.start(
        "corpus", f"--out={tmp_path}", "--clips=900", start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    while not list(tmp_path.rglob("*.mp4")):
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted" and "Traceback" not in said


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
