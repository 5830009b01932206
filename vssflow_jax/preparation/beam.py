"""Shards made by Apache Beam: the same function on the same rows, wherever Beam runs it.

Beam's workers read the media and write the shards under the paths that the main process sees,
so all of them share a file system. They need this package, with the extra `beam`.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.locks import Locks
from vssflow_jax.preparation import shard_jobs

try:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ModuleNotFoundError as error:
    raise InputError(
        f"--beam: found no module {error.name}, expected Apache Beam "
        "(pip install 'vssflow_jax[beam]')"
    ) from error


def make(
    todo: Sequence[shard_jobs.Job], locks: pathlib.Path, seconds: float, options: Sequence[str]
) -> list[pathlib.Path]:
    """Makes shards in one pipeline, and returns which of them are there when it has ended.

    Args:
      todo: shards to make; each is one element, so a runner moves rows and no records.
      locks: file of the locks that all who write in the folder share.
      seconds: longest time for a record.
      options: Beam's, such as `--runner=FlinkRunner`.
    """
    with apache_beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        (
            pipeline
            | "Shards" >> apache_beam.Create(list(todo))
            | "Spread" >> apache_beam.Reshuffle()
            | "Encode and write" >> apache_beam.ParDo(MakeShard(str(locks), seconds))
        )
    return [job.path for job in todo if shard_jobs.finished(job)]


class MakeShard(apache_beam.DoFn):
    """A job to the name of its shard, written; nothing where another worker has it in hand.

    The rows are encoded in a process of their own, so that a decoder that crashes or hangs
    costs a clip and not a worker.
    """

    def __init__(self, locks: str, seconds: float):
        self.locks, self.seconds = locks, seconds

    def process(self, job: shard_jobs.Job) -> Iterator[str]:
        rows = apache_beam.metrics.Metrics.counter("prepare", "rows")
        for _ in shard_jobs.make_shards([job], _locks(self.locks), 1, self.seconds):
            rows.inc()
        yield job.path.name


@functools.cache
def _locks(path: str) -> Locks:
    """One a process: closing one of several would give up the locks of all of them."""
    return Locks(path)
