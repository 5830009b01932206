"""Items in worker processes: order, time limits, and items that hang, crash or raise."""

import time

import pytest
from helpers import broken_jobs

from vssflow_jax.common import crash_safe_pool


def run(items, workers, time_limit=60.0):
    """(tag, part) of broken_jobs.run_item, and the failures by tag."""
    parts, failures = [], {}
    for tag, part in crash_safe_pool.stream_parts(
        broken_jobs.run_item, items, workers, time_limit=time_limit
    ):
        if isinstance(part, crash_safe_pool.End):
            failures |= {tag: part.failure} if part.failure else {}
        else:
            parts.append((tag, part))
    return parts, failures


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_parts_come_in_the_order_of_the_items(workers):
    items = [(f"tag{n}", ("count", n % 4)) for n in range(12)]
    expected = [(tag, part) for tag, (_, count) in items for part in range(count)]
    assert run(items, workers) == (expected, {})


def test_an_item_that_hangs_or_crashes_fails_alone(tmp_path):
    items = [
        ("good", ("count", 2)),
        ("hangs", ("hang", 1)),
        ("dies", ("crash", 2)),
        ("dies once", ("once", str(tmp_path / "mark"))),
        ("leaves", ("leave", 0)),
        ("last", ("count", 1)),
    ]
    parts, failures = run(items, 2, time_limit=2.0)
    assert failures == {
        "hangs": "took longer than 2 s",
        "dies": "crashed its process twice (SIGSEGV)",
        "leaves": "crashed its process twice (exit status 3)",
    }
    kept = [tag for tag, _ in parts]
    assert kept == ["good"] * 2 + ["hangs"] + ["dies"] * 2 + ["dies once"] * 3 + ["last"]
    assert [part for tag, part in parts if tag == "dies once"] == [0, 1, 2]


def test_an_exception_is_raised_here():
    for workers in (0, 2):
        with pytest.raises(KeyError, match="spoon"):
            run([("a", ("count", 1)), ("b", ("raise", "spoon"))], workers)


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number, ("count", 1)

    stream = crash_safe_pool.stream_parts(broken_jobs.run_item, items(), 1, time_limit=60.0)
    next(stream)
    assert len(taken) <= crash_safe_pool.PREFETCH
    stream.close()


@pytest.mark.parametrize("workers", [0, 3])
def test_questions_are_answered_by_the_main_process_in_batches(workers):
    """Squares come from the main process, several at a time; what fails alone is raised alone."""
    broken_jobs.calls.clear()
    items = [(n, ("square", -1 if n == 5 else n)) for n in range(60)]
    parts, failures = run(items, workers)
    assert parts == [(n, "refused" if n == 5 else n * n) for n in range(60)] and not failures
    assert sum(len(call) for call in broken_jobs.calls) >= 60, "in this process"
    if workers:
        assert max(len(call) for call in broken_jobs.calls) > 1


@pytest.mark.slow  # it measures time, which a busy machine makes longer
@pytest.mark.parametrize(("workers", "count"), [(1, 20), (2, 40)])
def test_decoding_goes_on_while_the_main_process_encodes(workers, count):
    """100 ms an item here, as long by all workers there: half of it can be hidden, and is."""
    start, seconds = None, 0.1 * workers
    items = [(n, ("both", seconds)) for n in range(count)]
    for _ in crash_safe_pool.stream_parts(broken_jobs.run_item, items, workers, time_limit=60.0):
        start = start or time.monotonic()  # the workers have started
    assert time.monotonic() - start < 0.1 * count * 1.25


def test_waiting_for_the_main_process_does_not_count_as_time():
    parts, failures = run([("a", ("slow", 3)), ("b", ("slow", 4))], 2, time_limit=1.0)
    assert parts == [("a", 3), ("b", 4)] and not failures
