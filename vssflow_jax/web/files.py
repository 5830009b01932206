"""What visitors' pages show: uploads and results, deleted when no page shows them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vssflow_jax.common.errors import InputError

if TYPE_CHECKING:
    from vssflow_jax.web.results import Result

RESULT = "result-"  # begins the names of folders


class VisitorFiles:
    """Which visitor's page shows which files, by a slot of the page: a field or the result.

    Two visitors who upload the same file share it: Gradio names uploads by their content. So a
    file is deleted only when the last page that shows it has let it go.

    Args:
      folder: for results; Gradio's own, so that it serves them without a copy.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._slots: dict[str, dict[str, frozenset[Path]]] = {}
        self._results: dict[str, Result] = {}
        self._unfinished: set[Path] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open_result(self) -> Iterator[Path]:
        """A new folder for a result. Its age counts from the end of the context."""
        folder = Path(tempfile.mkdtemp(prefix=RESULT, dir=self.folder))
        self._unfinished.add(folder)
        try:
            yield folder
        finally:
            with contextlib.suppress(FileNotFoundError):  # its request failed
                os.utime(folder)
            self._unfinished.discard(folder)

    def find_upload(self, upload: Mapping | None) -> str | None:
        """The path of an upload, as Gradio describes it; None without one.

        Raises:
          InputError: a file that is no upload. The description comes from the visitor.
        """
        if not upload:
            return None
        path = Path(str(upload.get("path")))
        if not path.resolve().is_relative_to(self.folder.resolve()) or path.is_dir():
            raise InputError("A file was not uploaded to this page; please choose it again.")
        return str(path)

    def show_result(self, visitor: str, folder: Path, result: Result) -> None:
        """Puts a result, whose files are in a folder, into a visitor's page."""
        self.show(visitor, "result", [folder])
        self._results[visitor] = result

    def find_result(self, visitor: str) -> Result:
        """The result that a visitor's page shows.

        Raises:
          InputError: there is none.
        """
        if visitor not in self._results:
            raise InputError("There is no result yet; please generate one.")
        return self._results[visitor]

    def show(self, visitor: str, slot: str, paths: Collection[Path]) -> None:
        """Puts files or folders into a slot of a visitor's page in place of those there."""
        with self._lock:
            slots = self._slots.setdefault(visitor, {})
            replaced, slots[slot] = slots.get(slot, frozenset()), frozenset(paths)
            self._delete_unused(replaced)

    def leave(self, visitor: str) -> None:
        """Deletes what only the visitor's page has shown."""
        self._results.pop(visitor, None)
        with self._lock:
            self._delete_unused(frozenset().union(*self._slots.pop(visitor, {}).values()))

    @contextlib.contextmanager
    def expire_files(self, seconds: float) -> Iterator[None]:
        """Deletes files of this age, every fourth of it, until the context ends.

        Those of visitors who left before their requests ran, or during an upload, belong to no page
        that could leave.
        """
        has_ended = threading.Event()

        def sweep() -> None:
            while not has_ended.wait(seconds / 4):
                self.delete_expired(seconds)

        thread = threading.Thread(target=sweep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            has_ended.set()
            thread.join()

    def delete_expired(self, seconds: float) -> None:
        """Deletes results and uploads of this age."""
        oldest = time.time() - seconds
        for path in self.folder.iterdir():
            is_result = path.name.startswith(RESULT)
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                if is_result and path not in self._unfinished and path.stat().st_mtime < oldest:
                    delete(path)
                for upload in [] if is_result else list_files(path):
                    if upload.stat().st_mtime < oldest:
                        delete(upload)

    def _delete_unused(self, paths: Collection[Path]) -> None:
        uses = Counter(
            path for slots in self._slots.values() for shown in slots.values() for path in shown
        )
        for path in paths:
            if not uses[path]:
                delete(path)


def list_files(path: Path) -> list[Path]:
    """The files below a folder; a file itself."""
    return [x for x in path.rglob("*") if x.is_file()] if path.is_dir() else [path]


def delete(path: Path) -> None:
    """Deletes a folder, or a file and then its folder if that is empty; nothing if it is gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other files are in it
            path.parent.rmdir()
