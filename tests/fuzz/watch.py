"""Runs inputs and watches what they do: errors, time, memory, files, programs, addresses."""

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from vssflow_jax.common.errors import InputError, one_line

TIME_LIMIT = 20.0  # seconds of work for an input, or MAX_WAIT times as many without work
MAX_WAIT = 10  # a busy machine makes a process wait
MEMORY_LIMIT = 3e9  # bytes of a worker
MAX_MESSAGE = 2000  # characters of an error
POLL = 0.2  # seconds between looks at a worker's memory
READ, REFUSED, FAILED = "read", "refused", "failed"
PAGE = os.sysconf("SC_PAGE_SIZE")
# Events that Python reports before it touches files, programs and addresses.
WRITES = {"os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.rename"}
FORBIDDEN = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "socket.",
    "urllib.",
    "pickle.",
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an input.

    Attributes:
      state: READ, REFUSED or FAILED.
      reason: the error; of a failure the exception and its place.
      memory: bytes of the process afterwards; 0: unknown.
    """

    state: str
    reason: str = ""
    memory: int = 0


def run_input(kind, name: str, data: bytes) -> Outcome:
    """Reads one file of a kind in a fresh folder, in this process.

    Args:
      kind: of `fuzz.kinds`.
      name: the file that `data` replaces.
      data: its content.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz") as root:
        folder, out = Path(root, "in"), Path(root, "out")
        out.mkdir()
        for file, content in {**kind.files, name: data}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        before = list_files(Path(root), out)
        with watching(root) as violations, contextlib.chdir(root):
            outcome = _call(kind.read, folder, name, out)
        if before != list_files(Path(root), out):
            violations.append("changed files beside the output folder")
        if violations and outcome.state != FAILED:
            outcome = Outcome(FAILED, f"{violations[0]}")
        return outcome


def _call(read, folder: Path, name: str, out: Path) -> Outcome:
    try:
        read(folder, name, out)
    except InputError as error:
        message = one_line(error)
        if len(message) > MAX_MESSAGE:
            return Outcome(FAILED, f"a message of {len(message)} characters: {message[:80]}")
        return Outcome(REFUSED, message)
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "vssflow_jax" in frame.filename] or frames
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return Outcome(FAILED, f"{type(error).__name__} at {place}: {one_line(error)[:200]}")
    return Outcome(READ)


def list_files(root: Path, out: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below `root` but for those in `out`."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in root.rglob("*")
        if not path.is_relative_to(out) and not path.is_dir()
    }


_watched: list[tuple[str, list[str]]] = []  # the folder that may be written, and what else happened


@contextlib.contextmanager
def watching(folder: str):
    """A block whose writes outside of `folder`, programs and addresses are listed.

    Only where `install_audit` was called, since an audit hook stays for the process's life.
    """
    violations: list[str] = []
    _watched.append((os.path.realpath(folder), violations))
    try:
        yield violations
    finally:
        _watched.pop()


def install_audit() -> None:
    """Makes `watching` see what this process does."""
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple) -> None:
    if not _watched:
        return
    folder, violations = _watched[-1]
    if event == "open":
        path, _, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writes and isinstance(path, str | bytes) and not _is_allowed(os.fsdecode(path), folder):
            violations.append(f"wrote to {os.fsdecode(path)[:200]}")
    elif event in WRITES:
        path = arguments[1] if event in ("os.link", "os.symlink", "os.rename") else arguments[0]
        if isinstance(path, str | bytes) and not _is_allowed(os.fsdecode(path), folder):
            violations.append(f"{event}: {os.fsdecode(path)[:200]}")
    elif event.startswith(FORBIDDEN):
        violations.append(f"{event}: {str(arguments)[:200]}")


def _is_allowed(path: str, folder: str) -> bool:
    return path == os.devnull or os.path.realpath(path).startswith(folder + os.sep)


def read_memory(pid: int) -> int:
    """Bytes of a process in memory; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def read_work(pid: int) -> float:
    """Seconds of processor time that a process has had; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


class Worker:
    """A process that runs inputs of a kind one after another, and another one after its death.

    Args:
      kind: of `fuzz.kinds`; its functions must be importable.
      time_limit: seconds of work for an input, and a MAX_WAITth of those that it may wait.
      memory_limit: bytes.
    """

    def __init__(self, kind, time_limit: float = TIME_LIMIT, memory_limit: float = MEMORY_LIMIT):
        self.kind, self.time_limit, self.memory_limit = kind, time_limit, memory_limit
        self.root = tempfile.mkdtemp(prefix="fuzz")
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.kind, self.root))
        self.process.start()
        theirs.close()
        self.connection.recv()  # it has imported what it needs

    def run(self, name: str, data: bytes) -> Outcome:
        """The outcome of one input; a death, a hang and too much memory are failures."""
        self.connection.send((name, data))
        start, work = time.monotonic(), read_work(self.process.pid)
        while not self.connection.poll(POLL):
            memory = read_memory(self.process.pid)
            if memory > self.memory_limit:
                return self._replace(f"took {memory / 1e9:.1f} GB of memory")
            waited, worked = time.monotonic() - start, read_work(self.process.pid) - work
            if worked > self.time_limit or waited > MAX_WAIT * self.time_limit:
                return self._replace(f"took longer than {self.time_limit:g} s")
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return self._replace(f"ended the process ({self.process.exitcode})")

    def _replace(self, reason: str) -> Outcome:
        self.stop()
        self.root = tempfile.mkdtemp(prefix="fuzz")
        self._start()
        return Outcome(FAILED, reason)

    def stop(self) -> None:
        """Ends the process and removes its files."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        shutil.rmtree(self.root, ignore_errors=True)


def _serve(connection, kind, root: str) -> None:
    tempfile.tempdir = root
    kind.warm_up()
    install_audit()
    connection.send("ready")
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            outcome = run_input(kind, *connection.recv())
            connection.send(dataclasses.replace(outcome, memory=read_memory(os.getpid())))
