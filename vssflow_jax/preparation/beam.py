"""Shards written by Apache Beam: the same function on the same rows, on any of its runners.

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


def run_pipeline(
    jobs: Sequence[shard_jobs.ShardJob],
    locks: pathlib.Path,
    time_limit: float,
    options: Sequence[str],
) -> list[pathlib.Path]:
    """Writes shards in one pipeline; returns those that exist when it has ended.

    Args:
      jobs: shards to write; each is one element, so a runner moves rows and no records.
      locks: file of the locks that all who write in the folder share.
      time_limit: seconds for a record.
      options: Beam's, such as `--runner=FlinkRunner`.
    """
    with apache_beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        (
            pipeline
            | "Shards" >> apache_beam.Create(list(jobs))
            | "Spread" >> apache_beam.Reshuffle()
            | "Encode and write" >> apache_beam.ParDo(WriteShard(str(locks), time_limit))
        )
    return [job.path for job in jobs if shard_jobs.is_finished(job)]


class WriteShard(apache_beam.DoFn):
    """Writes the shard of a job and yields its name; does nothing if another worker has it.

    The rows are encoded in a process of their own, so that a decoder that crashes or hangs
    costs a clip and not a worker.
    """

    def __init__(self, locks: str, time_limit: float):
        self.locks, self.time_limit = locks, time_limit

    def process(self, job: shard_jobs.ShardJob) -> Iterator[str]:
        rows = apache_beam.metrics.Metrics.counter("prepare", "rows")
        for _ in shard_jobs.write_shards([job], _open_locks(self.locks), 1, self.time_limit):
            rows.inc()
        yield job.path.name


@functools.cache
def _open_locks(path: str) -> Locks:
    """One object a process: closing one of several would release the locks of all of them."""
    return Locks(path)
