"""Work on many processes: jobs that are trusted, and items that may hang or crash theirs."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Job, Result = TypeVar("Job"), TypeVar("Result")
Tag, Item, Part = TypeVar("Tag"), TypeVar("Item"), TypeVar("Part")
AHEAD = 4  # items a worker that may be begun before the oldest one is done
# One numerical thread a process: the processes are what fills the cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None = None
) -> Iterator[Result]:
    """Results of function(job) as they come, from `workers` fresh processes (None: all cores).

    With one worker or none the work is done here. `function` must be importable by name from
    a module other than the main one. When a job raises, the jobs that have not begun are
    dropped and the exception comes out here.
    """
    jobs = list(jobs)
    workers = min(cores() if workers is None else workers, len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_end_with_parent
    )
    try:
        with _starting():
            futures = [executor.submit(function, job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


# ---- items that may hang or crash -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class End:
    """Comes after an item's parts. `lost` says what became of its process, if not its end."""

    lost: str = ""


def streamed(
    function: Callable[[Item], Iterator[Part]],
    items: Iterable[tuple[Tag, Item]],
    workers: int | None = None,
    *,
    seconds: float,
) -> Iterator[tuple[Tag, Part | End]]:
    """What function(item) yields, with the item's tag: in the items' order, then an `End` each.

    The work is done in `workers` fresh processes (None: one a core; 0: here, unprotected). An
    item that ends its process gets another one and is lost with that too; one that takes longer
    than `seconds` for a part is lost at once. Items are taken as they are needed, and parts
    wait for their turn for at most AHEAD items a worker, so memory does not grow with their
    number. When `function` raises, the exception comes out here.

    `function` must be importable by name from a module other than the main one, and give the
    same parts each time.
    """
    workers = cores() if workers is None else workers
    if not workers:
        for tag, item in items:
            for part in function(item):
                yield tag, part
            yield tag, End()
        return
    crew = _Crew(function, iter(items), workers, seconds)
    try:
        yield from crew.run()
    finally:
        crew.close()


def together(function: Callable[[list[Item]], list[Result]], item: Item) -> Result:
    """function([item])[0], worked out by the main process of a `streamed` if this is one of its.

    There it is called with all items that wait for it at that time, in a thread of its own. So
    a device that only one process can hold serves all of them in batches, while those that do
    not wait get new items. Those that wait leave their cores idle, so the first question doubles
    the processes: half of them work while the other half waits. `function` must be importable
    by name; what it raises for an item alone is raised here.
    """
    if _asked is None:
        return function([item])[0]
    return _asked(function, item)


_asked: Callable | None = None  # in a worker: sends a question and waits for the answer


@dataclasses.dataclass(eq=False)
class _Begun:
    """An item on its way: parts that wait for their turn, how many came, processes it ended."""

    tag: Any
    item: Any
    parts: collections.deque = dataclasses.field(default_factory=collections.deque)
    count: int = 0
    crashes: int = 0


class _Worker:
    """A process, the item that it works on, and how many of its parts are known already."""

    def __init__(self, function, seconds: float):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, function, seconds)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with _starting():
            self.process.start()
        theirs.close()
        self.ready, self.begun, self.known = False, None, 0

    def give(self, begun: _Begun) -> None:
        self.begun, self.known = begun, begun.count
        with contextlib.suppress(OSError):  # it has died: then its end of the pipe says so
            self.connection.send(begun.item)


class _Crew:
    """The processes of one `streamed`."""

    def __init__(self, function, items: Iterator, workers: int, seconds: float):
        self.function, self.items, self.seconds = function, items, seconds
        self.cores = self.size = workers
        self.workers: list[_Worker] = []
        self.line: collections.deque[_Begun] = collections.deque()  # in the items' order
        self.questions: list[tuple[_Worker, Callable, Any]] = []  # who waits for an answer
        self.answering: list[_Worker] = []  # whose questions the thread is at
        self.answers: list[tuple[Any, Exception | None]] = []
        self.bell, self.rings = multiprocessing.Pipe(duplex=False)  # rings when they are there
        self.pending: collections.deque[_Begun] = collections.deque()  # without a process

    def run(self) -> Iterator[tuple[Any, Any]]:
        self._feed()
        while self.line:
            self._listen(0 if self.line[0].parts else None)
            self._feed()
            self._answer()
            if self.line[0].parts:
                begun, part = self.line[0], self.line[0].parts.popleft()
                if isinstance(part, End):
                    self.line.popleft()
                    self._feed()
                yield begun.tag, part

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self.bell.close()
        self.rings.close()

    def _feed(self) -> None:
        """Gives idle workers items, and starts workers while there are items for them."""
        for worker in self.workers:
            if worker.ready and worker.begun is None and (self.pending or self._pull()):
                worker.give(self.pending.popleft())
        starting = sum(not worker.ready for worker in self.workers)
        while len(self.workers) < self.size and (len(self.pending) > starting or self._pull()):
            self.workers.append(_Worker(self.function, self.seconds))
            starting += 1

    def _pull(self) -> bool:
        """Takes one more item if there is one and it is not too far ahead."""
        if len(self.line) >= AHEAD * self.size:
            return False
        for tag, item in self.items:
            self.line.append(_Begun(tag, item))
            self.pending.append(self.line[-1])
            return True
        return False

    def _listen(self, timeout: float | None) -> None:
        """Takes one message of each worker that has one; the bell says that answers are there."""
        by_connection = {worker.connection: worker for worker in self.workers}
        for connection in multiprocessing.connection.wait([*by_connection, self.bell], timeout):
            if connection is self.bell:
                self._hand_out()
                continue
            worker = by_connection[connection]
            try:
                kind, value = connection.recv()
            except (EOFError, OSError):
                self._died(worker)
                continue
            if kind == "ready":
                worker.ready = True
            elif kind == "raised":
                raise value
            elif kind == "asked":
                self.questions.append((worker, *value))
                self.size = 2 * self.cores
            elif kind == "end":
                worker.begun.parts.append(End())
                worker.begun = None
            elif worker.known:  # another process gave this part before it died
                worker.known -= 1
            else:
                worker.begun.parts.append(value)
                worker.begun.count += 1

    def _answer(self) -> None:
        """Takes up the oldest questions, as many as there are cores, if none are being answered.

        Answering all at once would make them work in step, and nobody would while they wait.
        """
        if self.answering or not self.questions:
            return
        function = self.questions[0][1]
        asked = [question for question in self.questions if question[1] == function][: self.cores]
        self.questions = [one for one in self.questions if all(one is not a for a in asked)]
        self.answering = [worker for worker, _, _ in asked]
        items = [item for _, _, item in asked]

        def work() -> None:
            self.answers = _answers(function, items)
            with contextlib.suppress(OSError):  # nobody waits for them any more
                self.rings.send(None)

        # A daemon, so that an interrupt does not wait until minutes of encoding are over.
        threading.Thread(target=work, daemon=True).start()

    def _hand_out(self) -> None:
        self.bell.recv()
        for worker, answer in zip(self.answering, self.answers, strict=True):
            with contextlib.suppress(OSError):  # it has died: its pipe will say so
                worker.connection.send(answer)
        self.answering = []

    def _died(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        status, begun = worker.process.exitcode, worker.begun
        if not worker.ready:
            raise RuntimeError(f"a worker process ended at its start ({_ending(status)})")
        if begun is None:
            return
        begun.crashes += 1
        if status == -signal.SIGALRM:
            begun.parts.append(End(f"took longer than {self.seconds:g} s"))
        elif begun.crashes > 1:
            begun.parts.append(End(f"crashed its process twice ({_ending(status)})"))
        else:
            self.pending.appendleft(begun)


def _answers(function: Callable, items: list) -> list[tuple[Any, Exception | None]]:
    """(result, None) or (None, exception) for each item; one that fails does not spoil others."""
    try:
        return [(result, None) for result in function(items)]
    except Exception as error:
        if len(items) == 1:
            return [(None, error)]
    return [answer for item in items for answer in _answers(function, [item])]


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _serve(connection, function, seconds: float) -> None:
    """A worker's life. The alarm's default action ends the process in whatever code it hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    global _asked  # noqa: PLW0603

    def _asked(function: Callable, item):
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(("asked", (function, item)))
        result, error = connection.recv()
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if error is not None:
            raise error
        return result

    with contextlib.suppress(EOFError, OSError):  # the main process is gone
        connection.send(("ready", None))
        while True:
            item = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, seconds)
            for kind, value in _worked(function, item):
                signal.setitimer(signal.ITIMER_REAL, 0)
                connection.send((kind, value))
                signal.setitimer(signal.ITIMER_REAL, seconds)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _worked(function, item) -> Iterator[tuple[str, Any]]:
    try:
        for part in function(item):
            yield "part", part
        yield "end", None
    except Exception as error:
        yield "raised", error


# ---- how processes start --------------------------------------------------------------------


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Processes that start in this block are the pool's."""
    with _single_threaded(), _light_start(), _undisturbed():
        yield


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that start in this block never hear Ctrl-C: the main one does, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """From now on this process ends when the one that started it is gone, however it went."""
    sentinel = multiprocessing.parent_process().sentinel

    def watch() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes that start in this block use one numerical thread each."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _light_start() -> Iterator[None]:
    """Processes that start in this block do not import the main module again.

    A spawned process runs the main module's imports first; from the training command that
    would load an accelerator runtime into each worker, seconds and hundreds of megabytes.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
