"""The log of a run: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from vssflow_jax.common.files import write_text


class MetricsWriter:
    """Appends scalars by step to `metrics.jsonl` and `tb/` of a run's folder.

    Lines after the step that the run resumes from are dropped, and so is a line that a crash
    cut short.

    Args:
      workdir: the run's folder.
      step: the step that the run resumes from.

    Attributes:
      logged_seconds: of training, that earlier starts of the run have logged.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / "metrics.jsonl"
        lines = self._path.read_text(errors="replace").splitlines() if self._path.exists() else ()
        parsed = [(line, _parse(line)) for line in lines]
        kept = [(line, values) for line, values in parsed if values.get("step", step + 1) <= step]
        write_text(self._path, "".join(f"{line}\n" for line, _ in kept))
        self.logged_seconds = kept[-1][1].get("seconds", 0.0) if kept else 0.0
        self._board = SummaryWriter(str(workdir / "tb"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point of each curve."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes TensorBoard's file."""
        self._board.close()


class NullWriter:
    """The log of the processes that write none: all but the main one."""

    logged_seconds = 0.0

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def _parse(line: str) -> dict:
    """The values of a line; none if it was cut short."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
