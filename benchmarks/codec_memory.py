"""Memory and time of the AudioLDM codec by the length of a clip.

    python -m benchmarks.codec_memory [--lengths=10,30,120]

Encodes and decodes noise with random weights of the published sizes, each length in a process of
its own, and prints peak resident memory above that of the process with the weights loaded.
"""

from __future__ import annotations

import gc
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import measuring
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.interface import reconstruct
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import VocoderConfig
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.config import command_line
from vssflow_jax.weights import audioldm


def draw_weights(shapes, seed: int):
    """Random parameters that keep the size of signals."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1
        return jnp.asarray(rng.normal(0, fan**-0.5, leaf.shape), jnp.float32)

    return jax.tree.map(draw, shapes)


def measure_length(seconds: float) -> dict[str, float]:
    """Peak memory above the weights, and seconds, of one round trip through the codec."""
    sizes = {"vae_config": VaeConfig(), "vocoder_config": VocoderConfig()}
    codec = AudioldmCodec(
        vae=draw_weights(audioldm.vae_shapes(sizes["vae_config"]), 0),
        vocoder=draw_weights(audioldm.vocoder_shapes(sizes["vocoder_config"]), 1),
        **sizes,
    )
    wave = jnp.asarray(np.random.default_rng(0).normal(0, 0.1, (1, round(seconds * SAMPLE_RATE))))
    compiled = reconstruct.lower(codec, wave.astype(jnp.float32)).compile()
    gc.collect()
    measuring.reset_peak_memory()  # compiling may have needed more
    before, start = measuring.peak_memory(), time.perf_counter()
    decoded = np.asarray(compiled(codec, wave.astype(jnp.float32)))
    elapsed = time.perf_counter() - start
    assert np.isfinite(decoded).all()
    return {"peak_GB": (measuring.peak_memory() - before) / 1e9, "seconds": elapsed}


def main() -> None:
    """Prints the table, or the numbers of one length."""
    if flags.FLAGS.length:
        print(json.dumps(measure_length(flags.FLAGS.length)))
        return
    print("| seconds of audio | GB above the weights | seconds |")
    print("|---|---|---|")
    for length in flags.FLAGS.lengths:
        numbers = measuring.run_in_child(f"--length={length}")
        print(f"| {length} | {numbers['peak_GB']:.2f} | {numbers['seconds']:.1f} |", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_list("lengths", ["10", "30", "120"], "Seconds of audio, one row each.")
    flags.DEFINE_float("length", 0.0, "Measure this length alone in this process and print JSON.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
