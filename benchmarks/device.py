"""One table of an accelerator: `python -m benchmarks.device`, or all of it, `benchmarks/device.sh`.

Rows: the largest matrix products of the network, the paper's training step with and without cuDNN's
fused attention, guided sampling, the published encoders, and the codec's decoder, all with random
weights and inputs. Every row has a process of its own; one that does not fit in memory says so, and
rows that would begin after `--budget` seconds are left out, with a line. `--tiny` is the same on a
small network, to try the script where there is no accelerator.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import encoding, measuring, networks, sampling
from benchmarks.codec_memory import draw_weights
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import VocoderConfig
from vssflow_jax.config import command_line
from vssflow_jax.models import attention
from vssflow_jax.training import chips, sharding
from vssflow_jax.weights import audioldm

Row = Callable[[], dict]
STEPS = (  # clips of a training step in bfloat16, and what its backward pass computes again
    (8, "none"), (32, "none"), (64, "none"), (32, "dots"), (64, "dots"), (128, "dots"),
    (128, "layer"),
)  # fmt: skip
UNROLLED = ((128, "dots"), (256, "dots"), (64, "none"), (128, "none"))  # without a loop over layers
TINY_STEPS = ((2, "none"), (4, "dots"))
ENCODERS = ("clip", "sync", "lips", "speaker")
TINY = (
    "--config=configs/joint.py",
    "--config.model.layers=1",
    "--config.model.heads=4",
    "--config.model.kv_heads=2",
)
LIMIT = 240  # seconds of a row at most
HEAD = "| row | ms | clips a second | TFLOP/s | of the bfloat16 peak | GB on the device |"


def measure_matrix_product(dtype: str, batch: int) -> dict:
    """The device's rate on the network's largest product."""
    return networks.measure_matrix_product(dtype, batch)


def measure_step(
    dtype: str, batch: int, remat: str, fused: bool = True, unrolled: bool = False
) -> dict:
    """A training step with its state on the device; unrolled: without a loop over the layers."""
    config = networks.read_config(dtype)
    config.model.remat = remat
    if unrolled:
        config.model.unroll = config.model.layers
    mesh = sharding.make_mesh(dict.fromkeys(sharding.AXES, 1), jax.devices()[:1])
    if not fused:
        attention.fits_cudnn = lambda *_: False  # in this process alone, which has one row
    run_once, _ = networks.compile_train_step(config, mesh, batch)
    flops = batch * networks.count_training_flops(config)
    return {"seconds": measuring.time_calls(run_once), "flops": flops, "clips": batch}


def measure_sampling(dtype: str, batch: int, steps: int) -> dict:
    """A guided sampling, every evaluation with and without conditions."""
    flags.FLAGS.batch, flags.FLAGS.steps = batch, steps
    row = sampling.measure_ours(dtype)
    seconds, flops = row[sampling.SAMPLING], row[f"{sampling.SAMPLING} flops"]
    return {"seconds": seconds, "flops": flops, "clips": batch}


def measure_encoder(kind: str) -> dict:
    """A published encoder on clips of 10 s."""
    dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    seconds = encoding.measure_seconds(kind, dtype)
    return {"seconds": [seconds], "clips": 1}


def measure_decoder(batch: int) -> dict:
    """AudioLDM's decoder and vocoder on latents of clips of the config's length."""
    codec = AudioldmCodec(
        vae=draw_weights(audioldm.vae_shapes(VaeConfig()), 0),
        vocoder=draw_weights(audioldm.vocoder_shapes(VocoderConfig()), 1),
        vae_config=VaeConfig(),
        vocoder_config=VocoderConfig(),
    )
    length = networks.make_spec(networks.read_config()).latent_frames
    latent = jnp.ones((batch, length, codec.channels))
    decode = jax.jit(lambda codec, latent: codec.decode(latent))
    seconds = measuring.time_calls(lambda: jax.block_until_ready(decode(codec, latent)))
    return {"seconds": seconds, "clips": batch}


def make_rows() -> dict[str, Row]:
    """The rows of the table in their order: what matters most comes first."""
    tiny = flags.FLAGS.tiny
    training, many, products = (TINY_STEPS, 2, 2) if tiny else (STEPS, 64, 64)
    rows: dict[str, Row] = {
        f"{measuring.MATRIX} {dtype}": functools.partial(measure_matrix_product, dtype, products)
        for dtype in networks.TYPES
    }
    for batch, steps in ((1, 25), (1, 4), (many, 25), (many, 4)):
        name = f"sampling, {batch} clips, {steps} guided evaluations"
        rows[name] = functools.partial(measure_sampling, "bfloat16", batch, steps)
    for batch, remat in TINY_STEPS[:1] if tiny else UNROLLED:
        name = f"training step, {batch} clips, bfloat16, remat {remat}, layers unrolled"
        rows[name] = functools.partial(measure_step, "bfloat16", batch, remat, unrolled=True)
    for batch, remat in training:
        name = f"training step, {batch} clips, bfloat16, remat {remat}"
        rows[name] = functools.partial(measure_step, "bfloat16", batch, remat)
    batch, remat = training[1]
    plain = functools.partial(measure_step, "bfloat16", batch, remat, fused=False)
    rows[f"training step, {batch} clips, bfloat16, remat {remat}, attention not fused"] = plain
    batch, remat = training[0]
    full = functools.partial(measure_step, "float32", batch, remat)
    rows[f"training step, {batch} clips, float32, remat {remat}"] = full
    for kind in ENCODERS[-1:] if tiny else ENCODERS:
        rows[f"encoder {kind}"] = functools.partial(measure_encoder, kind)
    for batch in (1,) if tiny else (1, 16):
        rows[f"codec, decoding {batch} clips"] = functools.partial(measure_decoder, batch)
    return rows


def measure_in_child(name: str) -> dict | str:
    """The numbers of a row, measured in a fresh process; or why there are none."""
    command = [sys.executable, "-m", "benchmarks.device", *sys.argv[1:], f"--row={name}"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"took more than {LIMIT} s"
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "RESOURCE_EXHAUSTED" in done.stderr:
        return "does not fit in memory"
    errors = re.findall(r"^[\w.]+(?:Error|Exception|Exit)\b.*", done.stderr, re.M)
    return (errors or ["no message"])[-1][:200]


def format_row(name: str, row: dict | str, peak: float | None) -> str:
    """A line of the table."""
    if isinstance(row, str):
        return f"| {name} | {row} | | | | |"
    best = min(row["seconds"])
    rate = row["flops"] / best if "flops" in row else None
    cells = [
        name,
        f"{1000 * best:.3g}",
        f"{row['clips'] / best:.3g}" if "clips" in row else "",
        f"{rate / 1e12:.3g}" if rate else "",
        f"{rate / peak:.2f}" if rate and peak else "",
        f"{row['peak_device_GB']:.1f}" if "peak_device_GB" in row else "",
    ]
    return f"| {' | '.join(cells)} |"


def describe_device() -> dict:
    """The device as JAX names it; in a child, so that the parent leaves its memory alone."""
    return {"device": jax.devices()[0].device_kind, "jax": jax.__version__}


def main() -> None:
    """Prints the table line by line."""
    rows = make_rows()
    if flags.FLAGS.row:
        row = describe_device() if flags.FLAGS.row == "device" else rows[flags.FLAGS.row]()
        print(json.dumps({**row, **measuring.report_memory()}))
        return
    started, device = time.monotonic(), measure_in_child("device")
    if isinstance(device, str):
        sys.exit(f"error: no device: {device}")
    peak = chips.find_peak_flops(device["device"])
    command = " ".join(["python -m benchmarks.device", *sys.argv[1:]])
    print(f"`{command}`, {time.strftime('%Y-%m-%d')}, {device['device']}, jax {device['jax']}\n")
    print(f"{HEAD}\n|{'---|' * HEAD.count(' |')}", flush=True)
    for name in rows:
        if time.monotonic() - started > flags.FLAGS.budget:
            print(format_row(name, f"left out after {flags.FLAGS.budget} s", peak), flush=True)
            continue
        print(format_row(name, measure_in_child(name), peak), flush=True)


def define_flags() -> None:
    """The flags of the command."""
    measuring.define_flags()
    sampling.define_flags()
    flags.DEFINE_bool("tiny", False, "A small network and few rows, to try the script.")
    flags.DEFINE_integer("budget", 420, "Seconds after which no further row begins.")


if __name__ == "__main__":
    if "--tiny" in sys.argv[1:] and not any(flag.startswith("--config") for flag in sys.argv):
        sys.argv[1:1] = TINY
    command_line.run(main, define_flags)
