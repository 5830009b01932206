"""Items that may hang or crash the process that works on them, in many processes.

Not pebble: an item yields parts one by one, those that it yielded before a crash stay, the time
limit is that of a part, and workers ask the main process for batched work meanwhile.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from vssflow_jax.common.process_pool import count_cores, starting_workers

Tag, Item, Part, Result = TypeVar("Tag"), TypeVar("Item"), TypeVar("Part"), TypeVar("Result")
PREFETCH = 4  # items a worker that may be started before the oldest one is done


@dataclasses.dataclass(frozen=True)
class End:
    """Follows an item's parts.

    Attributes:
      failure: what happened to the item's process; empty: nothing.
    """

    failure: str = ""


def stream_parts(
    function: Callable[[Item], Iterator[Part]],
    items: Iterable[tuple[Tag, Item]],
    workers: int | None = None,
    *,
    time_limit: float,
) -> Iterator[tuple[Tag, Part | End]]:
    """Yields what function(item) yields, with the item's tag, in the items' order; then an `End`.

    The work is done in `workers` fresh processes (None: one a core; 0: here, unprotected). An
    item that ends its process gets another one, and fails if it ends that one too; an item that
    takes longer than `time_limit` seconds for a part fails at once. Items are taken as they are
    needed, and at most PREFETCH items a worker are started before the oldest one is done, so
    memory does not grow with their number. If `function` raises, the exception is raised here.

    `function` must be importable by name from a module other than the main one, and yield the
    same parts each time.
    """
    workers = count_cores() if workers is None else workers
    if not workers:
        for tag, item in items:
            for part in function(item):
                yield tag, part
            yield tag, End()
        return
    pool = _Pool(function, iter(items), workers, time_limit)
    try:
        yield from pool.run()
    finally:
        pool.close()


def run_in_main_process(function: Callable[[list[Item]], list[Result]], item: Item) -> Result:
    """function([item])[0], computed by the main process if this is a worker of `stream_parts`.

    There it is called with all items that wait for it at that time, in a thread of its own. So
    a device that only one process can hold serves all of them in batches, while the workers that
    do not wait get new items. Waiting workers leave their cores idle, so the first question
    doubles the number of processes: half of them work while the other half waits. `function`
    must be importable by name; what it raises for an item alone is raised here.
    """
    if _ask is None:
        return function([item])[0]
    return _ask(function, item)


_ask: Callable | None = None  # in a worker: sends a question and waits for the answer


@dataclasses.dataclass(eq=False)
class _Started:
    """An item that has been started.

    Attributes:
      parts: that wait for their turn.
      received: how many parts have come.
      crashes: processes that it ended.
    """

    tag: Any
    item: Any
    parts: collections.deque = dataclasses.field(default_factory=collections.deque)
    received: int = 0
    crashes: int = 0


class _Worker:
    """A process, its item, and how many of the item's parts a process before it has sent."""

    def __init__(self, function, time_limit: float):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, function, time_limit)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with starting_workers():
            self.process.start()
        theirs.close()
        self.ready, self.started, self.known_parts = False, None, 0

    def assign(self, started: _Started) -> None:
        self.started, self.known_parts = started, started.received
        with contextlib.suppress(OSError):  # it has died: then its end of the pipe says so
            self.connection.send(started.item)


class _Pool:
    """The processes of one `stream_parts`."""

    def __init__(self, function, items: Iterator, workers: int, time_limit: float):
        self.function, self.items, self.time_limit = function, items, time_limit
        self.cores = self.size = workers
        self.workers: list[_Worker] = []
        self.in_order: collections.deque[_Started] = collections.deque()
        self.unassigned: collections.deque[_Started] = collections.deque()
        self.questions: list[tuple[_Worker, Callable, Any]] = []
        self.asking: list[_Worker] = []  # whose questions are being answered
        self.answers: list[tuple[Any, Exception | None]] = []
        self.answered, self.signal_answered = multiprocessing.Pipe(duplex=False)

    def run(self) -> Iterator[tuple[Any, Any]]:
        self._assign_items()
        while self.in_order:
            self._receive(0 if self.in_order[0].parts else None)
            self._assign_items()
            self._answer_questions()
            if self.in_order[0].parts:
                started, part = self.in_order[0], self.in_order[0].parts.popleft()
                if isinstance(part, End):
                    self.in_order.popleft()
                    self._assign_items()
                yield started.tag, part

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self.answered.close()
        self.signal_answered.close()

    def _assign_items(self) -> None:
        """Gives idle workers items, and starts workers while there are items for them."""
        for worker in self.workers:
            if worker.ready and worker.started is None and (self.unassigned or self._take_item()):
                worker.assign(self.unassigned.popleft())
        starting = sum(not worker.ready for worker in self.workers)
        while len(self.workers) < self.size and (
            len(self.unassigned) > starting or self._take_item()
        ):
            self.workers.append(_Worker(self.function, self.time_limit))
            starting += 1

    def _take_item(self) -> bool:
        """Takes one more item if there is one and not too many are started."""
        if len(self.in_order) >= PREFETCH * self.size:
            return False
        for tag, item in self.items:
            self.in_order.append(_Started(tag, item))
            self.unassigned.append(self.in_order[-1])
            return True
        return False

    def _receive(self, timeout: float | None) -> None:
        """Receives one message of each worker that has one, or the word that answers are there."""
        by_connection = {worker.connection: worker for worker in self.workers}
        waiting = [*by_connection, self.answered]
        for connection in multiprocessing.connection.wait(waiting, timeout):
            if connection is self.answered:
                self._send_answers()
                continue
            worker = by_connection[connection]
            try:
                kind, value = connection.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if kind == "ready":
                worker.ready = True
            elif kind == "raised":
                raise value
            elif kind == "question":
                self.questions.append((worker, *value))
                self.size = 2 * self.cores
            elif kind == "end":
                worker.started.parts.append(End())
                worker.started = None
            elif worker.known_parts:
                worker.known_parts -= 1
            else:
                worker.started.parts.append(value)
                worker.started.received += 1

    def _answer_questions(self) -> None:
        """Answers the oldest questions, as many as there are cores, unless some are in work.

        Answering all at once would make the workers wait, and then work, all at the same time.
        """
        if self.asking or not self.questions:
            return
        function = self.questions[0][1]
        batch = [question for question in self.questions if question[1] == function][: self.cores]
        self.questions = [one for one in self.questions if all(one is not other for other in batch)]
        self.asking = [worker for worker, _, _ in batch]
        items = [item for _, _, item in batch]

        def work() -> None:
            self.answers = _answer_items(function, items)
            with contextlib.suppress(OSError):  # the pool is closed
                self.signal_answered.send(None)

        # A daemon, so that an interrupt does not wait until minutes of encoding are over.
        threading.Thread(target=work, daemon=True).start()

    def _send_answers(self) -> None:
        self.answered.recv()
        for worker, answer in zip(self.asking, self.answers, strict=True):
            with contextlib.suppress(OSError):  # it has died: its pipe will say so
                worker.connection.send(answer)
        self.asking = []

    def _replace(self, worker: _Worker) -> None:
        """Removes a worker that has died; its item gets another one, or fails."""
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        status, started = worker.process.exitcode, worker.started
        if not worker.ready:
            raise RuntimeError(f"a worker process ended at its start ({_exit_name(status)})")
        if started is None:
            return
        started.crashes += 1
        if status == -signal.SIGALRM:
            started.parts.append(End(f"took longer than {self.time_limit:g} s"))
        elif started.crashes > 1:
            started.parts.append(End(f"crashed its process twice ({_exit_name(status)})"))
        else:
            self.unassigned.appendleft(started)


def _answer_items(function: Callable, items: list) -> list[tuple[Any, Exception | None]]:
    """(result, None) or (None, exception) for each item; one that fails does not spoil others."""
    try:
        return [(result, None) for result in function(items)]
    except Exception as error:
        if len(items) == 1:
            return [(None, error)]
    return [answer for item in items for answer in _answer_items(function, [item])]


def _exit_name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _serve(connection, function, time_limit: float) -> None:
    """A worker's main loop. The alarm's default action ends the process wherever it hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    global _ask  # noqa: PLW0603

    def _ask(function: Callable, item):
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(("question", (function, item)))
        result, error = connection.recv()
        signal.setitimer(signal.ITIMER_REAL, time_limit)
        if error is not None:
            raise error
        return result

    with contextlib.suppress(EOFError, OSError):  # the main process is gone
        connection.send(("ready", None))
        while True:
            item = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, time_limit)
            for message in _run_item(function, item):
                signal.setitimer(signal.ITIMER_REAL, 0)
                connection.send(message)
                signal.setitimer(signal.ITIMER_REAL, time_limit)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _run_item(function, item) -> Iterator[tuple[str, Any]]:
    """The messages of an item: its parts, then its end or the exception."""
    try:
        for part in function(item):
            yield "part", part
        yield "end", None
    except Exception as error:
        yield "raised", error
