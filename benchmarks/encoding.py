"""Clips a second of each published network, at its full size with random weights.

    python -m benchmarks.encoding [--networks=clip,sync,lips,speaker,vggish,cnn14]

A clip has 10 seconds: 100, 250 and 250 frames, ten windows of 3 seconds of sound, ten patches,
1001 spectra. Frames are resized and spectra computed before, so this is the network alone, without
its compilation.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from vssflow_jax.config import command_line
from vssflow_jax.features import runner
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


def measure(kind: str) -> tuple[float, float]:
    """Seconds a clip, and millions of parameters."""
    config = published.KINDS[kind].config()
    cpu = jax.default_backend() == "cpu"
    encodes = kind in runner.BATCH  # the others belong to metrics and stay in float32
    dtype = jnp.bfloat16 if encodes and not cpu else jnp.float32
    model = published.KINDS[kind].model(config, dtype=dtype)
    rng, shapes = np.random.default_rng(0), published.parameter_shapes(kind, config)
    params = jax.tree.map(lambda a: 0.02 * rng.standard_normal(a.shape, np.float32) + 0.01, shapes)
    params = jax.device_put(params)
    items, size = ITEMS[kind]
    size = runner.batch_size(kind) if encodes and not cpu else size
    batch = INPUTS[kind](size)
    inputs = runner.MODEL_INPUTS.get(kind, lambda x: (x,))
    run = jax.jit(lambda p, x: model.apply({"params": p}, *inputs(x)))
    step = functools.partial(run, params, batch)
    jax.block_until_ready(step())
    timings = []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(step())
        timings.append(time.perf_counter() - start)
    return min(timings) * items / size, sum(a.size for a in jax.tree.leaves(params)) / 1e6


def main() -> None:
    """Prints the table."""
    print("| encoder | parameters | seconds a clip of 10 s | clips a second |")
    print("|---|---|---|---|")
    for kind in flags.FLAGS.networks:
        seconds, millions = measure(kind)
        print(f"| {kind} | {millions:.1f} M | {seconds:.2f} | {1 / seconds:.3f} |", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_list("networks", list(ITEMS), "Networks to measure.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
