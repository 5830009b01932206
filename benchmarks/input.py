"""Times the input pipeline: `python -m benchmarks.input`.

Full-size records, 10 s at the published rates, are written to a temporary folder, read once into
the page cache, and then batched for training. Grain's threads and its worker processes have a row
each.
"""

from __future__ import annotations

import functools
import os
import pathlib
import tempfile
import time

import numpy as np
from absl import flags

from benchmarks import measuring
from vssflow_jax import conditions
from vssflow_jax.data import pipeline, shards

RATES = {condition.name: condition.rate for condition in conditions.CONDITIONS}


def random_record(number: int) -> dict:
    """Random features of one clip, as `prepare` writes them."""
    draw = np.random.default_rng(number)
    out = {
        "wave": draw.integers(-9000, 9000, round(flags.FLAGS.clip_seconds * 16_000), dtype=np.int16)
    }
    for condition in conditions.CONDITIONS:
        count = conditions.num_frames(condition.name, flags.FLAGS.clip_seconds)
        if condition.ids:
            out[condition.name] = draw.integers(0, 71, count, dtype=np.int32)
            continue
        shape = () if condition.alignment == conditions.TOKEN else (count,)
        values = draw.standard_normal((*shape, condition.width), np.float32)
        out[condition.name] = values.astype(np.float16)
    out["meta"] = {"id": f"{number:06d}", "task": "joint", "duration": flags.FLAGS.clip_seconds}
    return out


def measure_batches(workers: int) -> dict:
    """Seconds a clip through the training batches, without the start of the processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records"
        with shards.open_shard_writer(path) as write:
            for number in range(flags.FLAGS.clips):
                write(random_record(number))
        size = os.path.getsize(path) / flags.FLAGS.clips
        path.read_bytes()
        spec = pipeline.BatchSpec.from_duration(flags.FLAGS.clip_seconds, RATES)
        batches = pipeline.iterate_training_batches(
            shards.Split([str(path)]), spec, batch_size=flags.FLAGS.batch, seed=0, workers=workers
        )
        for _ in range(2 + 2 * workers):  # starts the processes and empties the read-ahead buffers
            next(batches)
        seconds, busy, count = [], [], flags.FLAGS.batches * flags.FLAGS.batch
        for _ in range(flags.FLAGS.repeats):
            start, used = time.perf_counter(), time.process_time()
            for _ in range(flags.FLAGS.batches):
                next(batches)
            seconds.append((time.perf_counter() - start) / count)
            busy.append((time.process_time() - used) / count)
        out = {"seconds": seconds, "per_second": 1 / min(seconds), "record_MB": size / 1e6}
        return out if workers else out | {"processor time": busy}


def make_rows() -> measuring.Rows:
    """The rows of the table."""
    names = {0: "threads"} | {n: f"{n} worker processes" for n in flags.FLAGS.workers if n}
    return {
        names[workers]: functools.partial(measure_batches, workers)
        for workers in flags.FLAGS.workers
    }


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_integer("clips", 256, "Records on disk.")
    flags.DEFINE_integer("batches", 16, "Measured batches in a turn.")
    flags.DEFINE_integer("batch", 32, "Clips a batch.")
    flags.DEFINE_float("clip_seconds", 10.0, "Length of a clip.")
    flags.DEFINE_multi_integer("workers", [0, 2], "Worker processes; 0: threads.")


if __name__ == "__main__":
    measuring.main(make_rows, define_flags, reference="threads")
