"""Times the input: `python -m benchmarks.input`.

Full-size records, 10 s at the published rates, are written to a temporary folder, read once so
that they are in the page cache, and then come as training batches. Grain's threads, and worker
processes of it, have a row each.
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

CLIPS = flags.DEFINE_integer("clips", 256, "Records on disk.")
BATCHES = flags.DEFINE_integer("batches", 16, "Measured batches in a turn.")
BATCH = flags.DEFINE_integer("batch", 32, "Clips a batch.")
SECONDS = flags.DEFINE_float("clip_seconds", 10.0, "Length of a clip.")
WORKERS = flags.DEFINE_multi_integer("workers", [0, 2], "Worker processes; 0: threads.")
RATES = {condition.name: condition.rate for condition in conditions.CONDITIONS}


def record(number: int) -> dict:
    """Random features of one clip, as preparing writes them."""
    draw = np.random.default_rng(number)
    out = {"wave": draw.integers(-9000, 9000, round(SECONDS.value * 16_000), dtype=np.int16)}
    for condition in conditions.CONDITIONS:
        count = conditions.num_frames(condition.name, SECONDS.value)
        if condition.ids:
            out[condition.name] = draw.integers(0, 71, count, dtype=np.int32)
            continue
        shape = () if condition.alignment == conditions.TOKEN else (count,)
        values = draw.standard_normal((*shape, condition.width), np.float32)
        out[condition.name] = values.astype(np.float16)
    out["meta"] = {"id": f"{number:06d}", "task": "joint", "duration": SECONDS.value}
    return out


def turn(workers: int) -> dict:
    """Seconds a clip through `training_batches`, its processes' start left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records"
        with shards.open_shard_writer(path) as write:
            for number in range(CLIPS.value):
                write(record(number))
        size = os.path.getsize(path) / CLIPS.value
        path.read_bytes()
        spec = pipeline.BatchSpec.from_duration(SECONDS.value, RATES)
        batches = pipeline.iterate_training_batches(
            shards.Split([str(path)]), spec, batch_size=BATCH.value, seed=0, workers=workers
        )
        for _ in range(2 + 2 * workers):  # starts, and empties what was read ahead meanwhile
            next(batches)
        seconds, busy, clips = [], [], BATCHES.value * BATCH.value
        for _ in range(measuring.REPEATS.value):
            start, used = time.perf_counter(), time.process_time()
            for _ in range(BATCHES.value):
                next(batches)
            seconds.append((time.perf_counter() - start) / clips)
            busy.append((time.process_time() - used) / clips)
        out = {"seconds": seconds, "per_second": 1 / min(seconds), "record_MB": size / 1e6}
        return out if workers else out | {"processor time": busy}


def rows() -> measuring.Rows:
    """What is measured."""
    names = {0: "threads"} | {n: f"{n} worker processes" for n in WORKERS.value if n}
    return {names[workers]: functools.partial(turn, workers) for workers in WORKERS.value}


if __name__ == "__main__":
    measuring.main(rows, reference="threads")
