"""A generation in a thread of its own, which can be stopped."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from vssflow_jax.generation.synthesis import Progress

POLL_SECONDS = 0.2  # between two looks at whether to stop
Result = TypeVar("Result")


class Stopped(Exception):
    """A generation was stopped before its end."""


@contextmanager
def _postponed_interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Interrupts call `stop`, however many come; the first one is raised at the block's end.

    An interrupt that is raised at once may come between any two lines, so a second one could
    break off the waiting for the thread. Only the main thread gets interrupts.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    is_interrupted = threading.Event()

    def handle(*_):
        is_interrupted.set()
        stop()

    handler = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if is_interrupted.is_set():
            signal.raise_signal(signal.SIGINT)


class BackgroundGeneration(Generic[Result]):
    """A generation in a thread of its own: its progress, its result, and a way to stop it.

    A compiled program keeps its thread until it ends. The thread that waits for it stays free to
    show progress, and to notice an interrupt and stop the program between two solver steps:

        output = BackgroundGeneration(lambda report: generator(video, progress=report)).wait(print)

    Args:
      work: is called in the thread with a function that takes the progress, from 0 to 1, and
        raises Stopped once the generation is to stop.

    Attributes:
      result: what the work returned; None until then.
    """

    def __init__(self, work: Callable[[Progress], Result]):
        self.result: Result | None = None
        self._work = work
        self._messages: queue.Queue[float | BaseException | None] = queue.Queue()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generation")

    def wait(self, show: Progress | None = None) -> Result:
        """The result; `show` is called with the progress. An interrupt stops the work first."""
        with _postponed_interrupts(self.stop):
            try:
                for fraction in self:
                    if show is not None:
                        show(fraction)
            finally:
                self.stop()
                self.join()
        return self.result

    def __iter__(self) -> Iterator[float]:
        """Starts the work; its progress, until it has ended or is to stop.

        Raises:
          Stopped: it is to stop; its thread may take until the end of a solver step.
          Exception: what the work raised.
        """
        self._thread.start()
        while not self._is_stopping.is_set():
            try:
                message = self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if message is None:
                return
            if isinstance(message, BaseException):
                raise message
            yield message
        raise Stopped

    def stop(self) -> None:
        """Lets the work end at its next report; returns at once."""
        self._is_stopping.set()

    def join(self) -> None:
        """Waits for the thread, if it was started."""
        if self._thread.is_alive():
            self._thread.join()

    def _report(self, fraction: float) -> None:
        if self._is_stopping.is_set():
            raise Stopped
        self._messages.put(fraction)

    def _run(self) -> None:
        try:
            self.result = self._work(self._report)
            self._messages.put(None)
        except BaseException as error:
            self._messages.put(error)
