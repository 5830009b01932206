"""Clips a second of each published network, at its full size with random weights.

    python -m benchmarks.encoding [--networks=clip,sync,lips,speaker,vggish,cnn14]

A clip has 10 seconds: 100, 250 and 250 frames, ten windows of 3 seconds of sound, ten patches,
1001 spectra. Frames are resized and spectra computed before, so this is the network alone, without
its compilation.

The last columns compare with a matrix product of the same type, measured before and after each
network: how many times as long the network takes as its products would at that rate, by the clock
and, which says more beside other work, in processor time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from vssflow_jax.config import command_line
from vssflow_jax.features import runner
from vssflow_jax.training.flops import count_traced_flops
from vssflow_jax.weights import published

# Items of a clip of 10 s, and the batch size.
ITEMS = {
    "clip": (100, 32),
    "sync": (30, 2),
    "lips": (1, 1),
    "speaker": (10, 10),
    "vggish": (10, 10),
    "cnn14": (1, 4),
}
INPUTS = {
    "clip": lambda n: np.zeros((n, 224, 224, 3), np.uint8),
    "sync": lambda n: np.zeros((n, 16, 224, 224, 3), np.uint8),
    "lips": lambda n: (np.zeros((n, 250, 96, 96), np.uint8), np.ones((n, 250), bool)),
    "speaker": lambda n: np.full((n, 48_000), 0.1, np.float32),
    "vggish": lambda n: np.zeros((n, 96, 64), np.float32),
    "cnn14": lambda n: np.zeros((n, 1001, 513), np.float32),
}
MATRIX_SIDE = {"cpu": 2048}  # of the compared product; on accelerators 8192
HEADINGS = (
    "encoder", "type", "parameters", "TFLOP a clip", "seconds a clip of 10 s", "clips a second",
    "times its products", "… in processor time",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of a computation at best: by the clock, and of all its threads."""

    wall: float
    processor: float


def measure_times(function: Callable[[], object], repeats: int = 2) -> Times:
    """The times of a function that is compiled already."""
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(function())
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return Times(wall=min(walls), processor=min(processors))


def measure_product(dtype: str) -> Callable[[], Times]:
    """A function that measures a FLOP of a large matrix product, summed in float32."""
    side = MATRIX_SIDE.get(jax.default_backend(), 8192)
    matrix = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
    jax.block_until_ready(product(matrix, matrix))

    def measure() -> Times:
        times, flops = measure_times(lambda: product(matrix, matrix), 4), 2 * side**3
        return Times(wall=times.wall / flops, processor=times.processor / flops)

    return measure


def make_function(kind: str, dtype: str) -> tuple[Callable, dict]:
    """A network as a function of parameters and a batch, and random parameters."""
    config = published.KINDS[kind].config()
    model = published.KINDS[kind].model(config, dtype=jnp.dtype(dtype))
    rng, shapes = np.random.default_rng(0), published.parameter_shapes(kind, config)
    params = jax.tree.map(lambda a: 0.02 * rng.standard_normal(a.shape, np.float32) + 0.01, shapes)
    if kind in runner.BATCH:
        return runner.make_apply(model, kind), jax.device_put(params)
    return lambda p, x: model.apply({"params": p}, x), jax.device_put(params)


def prepare(kind: str, dtype: str) -> tuple[Callable, tuple, int]:
    """A network's function, its arguments, parameters and a batch, and the batch's size."""
    function, params = make_function(kind, dtype)
    size = ITEMS[kind][1]
    if kind in runner.BATCH and jax.default_backend() != "cpu":
        size = runner.batch_size(kind)
    return function, (params, INPUTS[kind](size)), size


def measure_seconds(kind: str, dtype: str) -> float:
    """Seconds a clip."""
    function, arguments, size = prepare(kind, dtype)
    run = jax.jit(function, compiler_options=runner.compiler_options(kind))
    jax.block_until_ready(run(*arguments))
    return measure_times(lambda: run(*arguments)).wall * ITEMS[kind][0] / size


def measure_row(kind: str, dtype: str) -> list[str]:
    """The cells of a network's row."""
    function, arguments, size = prepare(kind, dtype)
    run = jax.jit(function, compiler_options=runner.compiler_options(kind))
    flops = count_traced_flops(function, *arguments)
    jax.block_until_ready(run(*arguments))
    product = measure_product(dtype)
    before, times, after = product(), measure_times(lambda: run(*arguments)), product()
    clips = size / ITEMS[kind][0]
    seconds = times.wall / clips
    ratios = (
        times.wall / (flops * min(before.wall, after.wall)),
        times.processor / (flops * min(before.processor, after.processor)),
    )
    count = sum(array.size for array in jax.tree.leaves(arguments[0]))
    return [
        kind, dtype, f"{count / 1e6:.1f} M", f"{flops / clips / 1e12:.3f}",
        f"{seconds:.2f}", f"{1 / seconds:.3f}", *(f"{ratio:.2f}" for ratio in ratios),
    ]  # fmt: skip


def main() -> None:
    """Prints the table."""
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for kind in flags.FLAGS.networks:
        types = flags.FLAGS.types if kind in runner.BATCH else ["float32"]  # metrics' stay so
        for dtype in types:
            print(f"| {' | '.join(measure_row(kind, dtype))} |", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_list("networks", list(ITEMS), "Networks to measure.")
    flags.DEFINE_list("types", ["float32", "bfloat16"], "Types in which conditions' encoders run.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
