"""What goes wrong in a run without ending it, counted: skipped steps, corrupt records."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping

import jax

from vssflow_jax.common.errors import InputError

SKIPPED, CORRUPT = "skipped_steps", "corrupt_records"


class NanGuard:
    """Counts, and stops the run at too many.

    Whether a step was skipped is looked at when the next one is under way, so that the device
    need not wait for the host.

    Args:
      max_skipped: skipped steps in a row that stop the run.
      max_corrupt: records that may be corrupt.
      found: what `state` gave when the run was saved.
    """

    def __init__(self, max_skipped: int, max_corrupt: float, found: Mapping | None = None):
        found = found or {}
        self._max_skipped, self._max_corrupt = max_skipped, max_corrupt
        self._skipped, self._row = found.get("skipped", 0), found.get("row", 0)
        self._corrupt: list[str] = list(found.get("corrupt", ()))
        self._pending: deque[tuple[int, jax.Array, list[str]]] = deque()

    def records(self, names: list[str]) -> None:
        """Takes note of corrupt records.

        Raises:
          InputError: there are too many of them.
        """
        for name in names:
            if name not in self._corrupt:
                self._corrupt.append(name)
                print(
                    f"warning: {name}: corrupt, the next good record stands in for it",
                    file=sys.stderr,
                    flush=True,
                )
        if len(self._corrupt) > self._max_corrupt:
            raise InputError(
                f"data.max_corrupt_fraction: found {len(self._corrupt)} corrupt records, expected "
                f"at most {self._max_corrupt:g}: {'; '.join(self._corrupt)}"
            )

    def step(self, number: int, skipped: jax.Array, clips: list[str]) -> None:
        """Takes note of a step that has been started, and looks at the one before it.

        Raises:
          InputError: too many were skipped in a row; names the clips of the last.
        """
        self._pending.append((number, skipped, clips))
        if len(self._pending) > 1:
            self._look()

    def settle(self) -> None:
        """Looks at every step so far; raises as `step` does."""
        while self._pending:
            self._look()

    def _look(self) -> None:
        number, skipped, clips = self._pending.popleft()
        if not skipped:
            self._row = 0
            return
        self._skipped, self._row = self._skipped + 1, self._row + 1
        if self._row >= self._max_skipped:
            raise InputError(
                f"train.max_skipped_steps: {self._row} steps in a row, up to {number}, had no "
                f"finite loss or gradient; clips of the last: {', '.join(clips)}"
            )

    def values(self) -> dict[str, int]:
        """For the log."""
        return {SKIPPED: self._skipped, CORRUPT: len(self._corrupt)}

    def state(self) -> dict:
        """What a checkpoint keeps, JSON-able."""
        self.settle()
        return {"skipped": self._skipped, "row": self._row, "corrupt": self._corrupt}
