"""Counts skipped steps and corrupt records, and stops a run that has too many."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping

import jax

from vssflow_jax.common.errors import InputError

SKIPPED, CORRUPT = "skipped_steps", "corrupt_records"


class NanGuard:
    """Counts steps that were skipped (loss or gradient not finite) and corrupt records.

    It looks at the outcomes of steps only when asked to, so that no step waits for the host.

    Args:
      max_skipped_steps: skipped steps in a row that stop the run.
      max_corrupt_records: corrupt records that a run may have.
      saved: what `state` returned when the run was saved.
    """

    def __init__(
        self, max_skipped_steps: int, max_corrupt_records: float, saved: Mapping | None = None
    ):
        saved = saved or {}
        self._max_skipped, self._max_corrupt = max_skipped_steps, max_corrupt_records
        self._skipped, self._skipped_in_a_row = saved.get("skipped", 0), saved.get("row", 0)
        self._corrupt: list[str] = list(saved.get("corrupt", ()))
        self._pending: deque[tuple[int, jax.Array, list[str]]] = deque()

    def add_corrupt(self, records: list[str]) -> None:
        """Counts corrupt records, each name once, and warns of new ones.

        Raises:
          InputError: there are too many of them.
        """
        for name in records:
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

    def add_step(self, number: int, skipped: jax.Array, ids: list[str]) -> None:
        """Queues a step that has been started.

        Args:
          number: of the step.
          skipped: bool, maybe still being computed.
          ids: the step's examples.
        """
        self._pending.append((number, skipped, ids))

    def check_pending(self) -> None:
        """Checks every step so far, in one transfer from the devices.

        Raises:
          InputError: too many steps in a row were skipped; names the examples of the last.
        """
        outcomes = jax.device_get([skipped for _, skipped, _ in self._pending])
        for skipped in outcomes:
            number, _, ids = self._pending.popleft()
            self._check_step(number, bool(skipped), ids)

    def _check_step(self, number: int, skipped: bool, ids: list[str]) -> None:
        if not skipped:
            self._skipped_in_a_row = 0
            return
        self._skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= self._max_skipped:
            raise InputError(
                f"train.max_skipped_steps: {self._skipped_in_a_row} steps in a row, up to "
                f"{number}, had no finite loss or gradient; clips of the last: {', '.join(ids)}"
            )

    def metrics(self) -> dict[str, int]:
        """The counts, for the log."""
        return {SKIPPED: self._skipped, CORRUPT: len(self._corrupt)}

    def state(self) -> dict:
        """The counts, JSON-able, for a checkpoint."""
        self.check_pending()
        return {"skipped": self._skipped, "row": self._skipped_in_a_row, "corrupt": self._corrupt}
