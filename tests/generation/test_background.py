"""A generation in a thread: progress, errors, stopping, interrupts."""

import signal
import threading
import time

import pytest

from vssflow_jax.generation.background import BackgroundGeneration, Stopped
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.sampling import SamplingOptions

TEXT = "set blue at g nine now"


def count(report, steps=4):
    """Work in steps, which reports each."""
    for step in range(steps):
        report(step / steps)
    return "done"


def test_progress_and_result():
    seen = []
    assert BackgroundGeneration(count).wait(seen.append) == "done"
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_an_error_of_the_work_is_raised():
    def fail(report):
        report(0.5)
        raise ZeroDivisionError("why")

    running = BackgroundGeneration(fail)
    with pytest.raises(ZeroDivisionError, match="why"):
        list(running)


def test_work_that_is_stopped_ends_at_its_next_report():
    steps, may_step = [], threading.Event()

    def work(report):
        for step in range(100):
            report(step / 100)
            steps.append(step)
            may_step.wait(60)

    running = BackgroundGeneration(work)
    progress = iter(running)
    next(progress)
    running.stop()
    with pytest.raises(Stopped):
        next(progress)
    may_step.set()
    running.join()
    assert steps == [0]


def test_one_that_was_never_started_can_be_stopped_and_joined():
    running = BackgroundGeneration(count)
    running.stop()
    running.join()
    assert running.result is None


@pytest.fixture
def interrupts():
    """SIGINT raises a KeyboardInterrupt, even where the shell that runs the tests ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_an_interrupt_stops_the_work_and_further_ones_have_no_effect(interrupts):
    """The thread ends before the interrupt is passed on, and interrupts work again after it."""
    ended = []

    def work(report):
        signal.raise_signal(signal.SIGINT)
        try:
            while True:
                report(0.0)
                time.sleep(0.01)
        finally:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.01)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        BackgroundGeneration(work).wait()
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored(interrupts):
    def work(report):
        signal.raise_signal(signal.SIGINT)
        return count(report)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert BackgroundGeneration(work).wait() == "done"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_what_the_progress_raises_ends_the_generation(generator):
    """After the step that it was called for; the generator works on as before."""
    seen = []

    def progress(fraction):
        seen.append(fraction)
        if fraction >= 0.25:
            raise LookupError("enough")

    expected = generator(text=TEXT, steps=20, progress=lambda _: None).wave
    with pytest.raises(LookupError, match="enough"):
        generator(text=TEXT, steps=20, progress=progress)
    assert seen == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25])
    again = generator(text=TEXT, steps=20, progress=lambda _: None).wave
    assert (again == expected).all() and (generator(text=TEXT, steps=20).wave == expected).all()


def test_the_parts_of_a_batch_are_watched_as_one(generator, monkeypatch):
    """A batch that is solved in parts reports and stops as one solved at once."""
    monkeypatch.setattr("vssflow_jax.generation.synthesis.MAX_WINDOWS_IN_MEMORY", 1)
    seen, request, options = [], Request.parse(text=TEXT), SamplingOptions(steps=2)

    def progress(fraction):
        seen.append(fraction)
        if fraction >= 0.5:
            raise LookupError

    with pytest.raises(LookupError):
        generator.generate_candidates(request, [0, 1], options, progress=progress)
    assert seen == [0, 0.25, 0.5]
