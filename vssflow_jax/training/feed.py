"""Batches on their way to the devices, one ahead of the training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Fed(NamedTuple):
    """A batch: as the pipeline gives it, and on the devices."""

    host: dict
    placed: dict


class DeviceFeed:
    """Takes batches from a Grain iterator and places each before the step before it is done.

    Args:
      batches: the iterator.
      place: puts a batch on the devices.

    Attributes:
      position: of the data after the batches that were taken; one that is only placed is not
        among them.
    """

    def __init__(self, batches: Any, place: Callable[[dict], dict]):
        self._batches, self._place = batches, place
        self.position: dict = batches.get_state()
        self._next: tuple[Fed | Exception, dict] | None = None

    def load_next(self) -> None:
        """Reads and places the batch that `take` returns next, unless it is there already.

        An error is raised by `take`, so that the step before can be completed.
        """
        if self._next is not None:
            return
        try:
            host = next(self._batches)
            fed: Fed | Exception = Fed(host, self._place(host))
        except Exception as error:
            fed = error
        self._next = (fed, self._batches.get_state())

    def peek(self) -> Fed:
        """The next batch, which `take` returns again; raises what reading it has raised."""
        self.load_next()
        fed, _ = self._next
        if isinstance(fed, Exception):
            raise fed
        return fed

    def take(self) -> Fed:
        """The next batch; raises what reading it has raised."""
        fed = self.peek()
        self.position, self._next = self._next[1], None
        return fed
