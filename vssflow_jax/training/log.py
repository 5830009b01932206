"""Where a run writes its numbers: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from vssflow_jax.common.files import write_text


class MetricsWriter:
    """Appends scalars by step to `metrics.jsonl` and `tb/` of a run's folder.

    Args:
      workdir: the run's folder.
      step: the step that the run goes on from; later lines of a broken run are dropped.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / "metrics.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        write_text(self._path, "".join(f"{line}\n" for line in kept))
        self._board = SummaryWriter(str(workdir / "tb"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point a curve."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes TensorBoard's file."""
        self._board.close()


class NullWriter:
    """The log of processes that write none."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _step(line: str) -> float:
    """The step of a line; a line cut short by a crash counts as later than all."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return float("inf")
