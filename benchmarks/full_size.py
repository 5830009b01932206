"""Every network with weights of its own, at its published size: converted, reversed, run.

    python -m benchmarks.full_size [--networks=clip,sync,…]

Draws random weights under the published names, converts them, converts them back and compares the
bits, loads the converted ones, and runs them on one clip of 10 s (30 segments of Synchformer, 100
frames of CLIP, one evaluation of the velocity). Each network has a process of its own; seconds
include the compilation, memory is the process's peak, and processor time that of the whole process,
which other work on the machine hardly changes.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import measuring, networks
from benchmarks.codec_memory import draw_weights
from vssflow_jax import weights as vssflow_weights
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.interface import load_codec, reconstruct, save_codec
from vssflow_jax.codecs.oobleck import OobleckCodec, OobleckConfig
from vssflow_jax.codecs.vae import VaeConfig
from vssflow_jax.codecs.vocoder import VocoderConfig
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.config import command_line, load_recipe
from vssflow_jax.encoders import syncnet
from vssflow_jax.evaluation.metrics import clap, desync
from vssflow_jax.evaluation.metrics import published as embeddings
from vssflow_jax.features import runner
from vssflow_jax.models import vssflow
from vssflow_jax.training import checkpoint
from vssflow_jax.weights import audioldm, codec, encoder_names, network, oobleck, published
from vssflow_jax.weights.mapping import export_params

RATE, SECONDS = 16_000, 10
OOBLECKS = {
    "oobleck of ACE-Step": OobleckConfig(),
    "oobleck of Stable Audio Open": OobleckConfig(ratios=(2, 4, 4, 8, 8), sample_rate=44_100),
}
NETWORKS = (*published.KINDS, "codec", *OOBLECKS, "vssflow")
# Items of a clip for the encoders of conditions.
CLIPS = {
    "clip": lambda: np.zeros((100, 224, 224, 3), np.uint8),
    "sync": lambda: np.zeros((30, 16, 224, 224, 3), np.uint8),
    "lips": lambda: (np.zeros((1, 250, 96, 96), np.uint8), np.ones((1, 250), bool)),
    "speaker": lambda: draw_wave(30).reshape(10, -1),
    "dvector": lambda: np.ones((10, 160, 40), np.float32),
}


def draw_wave(seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """Noise, float32 [n]."""
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def timed(times: dict, name: str, function: Callable, *arguments):
    """What a function returns; its seconds are added to `times`."""
    start = time.perf_counter()
    out = function(*arguments)
    times[name] = time.perf_counter() - start
    return out


# ---- encoders -----------------------------------------------------------------------------


def measure_encoder(kind: str, folder: Path) -> dict:
    """The numbers of one of `published.KINDS`."""
    times, config = {}, published.KINDS[kind].config()
    src, back = folder / "official.safetensors", folder / "back.safetensors"
    write_arrays(src, draw_official(kind, config))
    shapes = jax.tree.leaves(published.parameter_shapes(kind, config))
    times["parameters"] = sum(leaf.size for leaf in shapes)
    timed(
        times,
        "convert",
        lambda: published.convert(kind, src, folder / kind, unverified=True),
    )
    timed(times, "reverse", published.revert, kind, folder / kind, back)
    times["exact"] = have_equal_bits(src, back)
    loaded = timed(times, "load", published.load_encoder, folder / kind, kind)
    output = timed(times, "run", run_encoder, kind, loaded)
    assert np.isfinite(output).all()
    return times


def draw_official(kind: str, config) -> dict:
    """The official state dict of an encoder with random parameters."""
    params = draw_encoder(published.parameter_shapes(kind, config))
    entries, layers = published.KINDS[kind].entries(config), getattr(config, "layers", 1)
    return encoder_names.join_qkv(export_params(entries, layers, params))


def draw_encoder(shapes) -> dict:
    """Random parameters that keep the size of signals; statistics and gains near 1."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        fan = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 100
        noise = rng.standard_normal(leaf.shape, np.float32) * np.float32(fan**-0.5)
        near_one = path[-1].key in ("scale", "variance", "window", "low", "band", "gain", "filters")
        return 1 + np.abs(noise) if near_one else noise

    return jax.tree_util.tree_map_with_path(draw, shapes)


def run_encoder(kind: str, loaded: published.EncoderWeights) -> np.ndarray:
    """The features or scores of one clip."""
    if kind in CLIPS:
        return run_condition(kind, loaded)
    if kind in embeddings.NAMES:
        model = embeddings.NAMES[kind](loaded.config, jax.device_put(loaded.params), loaded.hash)
        return np.concatenate(jax.tree.leaves(model([draw_wave()], RATE)), axis=None)
    if kind == "desync":
        video = np.random.default_rng(1).standard_normal((240, loaded.config.width), np.float32)
        return desync.Desync(loaded).compute_logits(video, draw_wave())
    if kind == "clap":
        (vector,) = clap.ClapScore(loaded, Path()).embed_sounds([draw_wave()], RATE)
        return vector
    model = syncnet.Syncnet(loaded.config)
    frames = np.zeros((8, syncnet.FRAMES, syncnet.SIDE, syncnet.SIDE, 3), np.float32)
    params = jax.device_put(loaded.params)
    encode = jax.jit(lambda params, x: model.apply({"params": params}, x, method="encode_lips"))
    return np.concatenate([np.asarray(encode(params, frames)) for _ in range(246 // 8 + 1)])


def run_condition(kind: str, loaded: published.EncoderWeights) -> np.ndarray:
    """Features of one clip, in the batches of `prepare`."""
    model, size = published.KINDS[kind].model(loaded.config), runner.batch_size(kind)
    inputs, items = runner.MODEL_INPUTS[kind], CLIPS[kind]()
    network = jax.jit(lambda params, x: model.apply({"params": params}, *inputs(x)))
    apply = functools.partial(network, jax.device_put(loaded.params))
    if kind == "lips":
        return np.asarray(apply(items))
    return runner.apply_in_batches(apply, items, size)


def have_equal_bits(first: Path, second: Path) -> bool:
    """Whether two safetensors files have the same tensors."""
    a, b = read_arrays(first), read_arrays(second)
    return a.keys() == b.keys() and all(
        np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes() for name in a
    )


# ---- codecs and the velocity network ------------------------------------------------------


def make_codec(name: str):
    """A codec with random weights of a published size."""
    if name in OOBLECKS:
        config = OOBLECKS[name]
        return OobleckCodec(config=config, **draw_weights(oobleck.oobleck_shapes(config), 0))
    vae, vocoder = VaeConfig(), VocoderConfig()
    return AudioldmCodec(
        vae=draw_weights(audioldm.vae_shapes(vae), 0),
        vocoder=draw_weights(audioldm.vocoder_shapes(vocoder), 1),
        vae_config=vae,
        vocoder_config=vocoder,
    )


def measure_codec(name: str, folder: Path) -> dict:
    """The numbers of a codec: the clip is encoded and decoded."""
    kind, times, first = name.split(" ")[0], {}, make_codec(name)
    times["parameters"] = sum(array.size for array in jax.tree.leaves(first))
    save_codec(first, folder / "first")
    codec.revert(kind, folder / "first", folder / "official")
    timed(times, "convert", codec.convert, kind, folder / "official", folder / "ours")
    timed(times, "reverse", codec.revert, kind, folder / "ours", folder / "back")
    files = sorted((folder / "official").rglob("*.safetensors"))
    times["exact"] = all(
        have_equal_bits(file, folder / "back" / file.relative_to(folder / "official"))
        for file in files
    )
    loaded = timed(times, "load", load_codec, folder / "ours")
    wave = draw_wave(SECONDS, loaded.sample_rate)
    wave = np.stack([wave, -wave], -1) if loaded.audio_channels == 2 else wave
    output = timed(times, "run", lambda: np.asarray(reconstruct(loaded, jnp.asarray(wave[None]))))
    assert np.isfinite(output).all()
    return times


def measure_vssflow(folder: Path) -> dict:
    """The numbers of the paper's joint model: one evaluation of the velocity of one clip."""
    config, times = load_recipe("joint"), {}
    model = vssflow.build_model(config, config.codec.channels)
    params = networks.synthetic_params(model)
    times["parameters"] = sum(array.size for array in jax.tree.leaves(params))
    src, back = folder / "official.safetensors", folder / "back.safetensors"
    write_arrays(src, vssflow_weights.to_official(model, params))
    timed(times, "convert", network.convert, src, folder / "ours", config)
    timed(times, "reverse", network.revert, folder / "ours", back)
    times["exact"] = have_equal_bits(src, back)
    loaded, _, _ = timed(times, "load", checkpoint.load_weights, folder / "ours")
    loaded, batch = jax.device_put(loaded), networks.random_batch(config, 1)
    keep = {name: jnp.ones(1) for name in batch["present"]}
    apply = jax.jit(
        lambda params, x: model.apply({"params": params}, x, jnp.zeros(1), batch["features"], keep)
    )
    output = timed(times, "run", lambda: np.asarray(apply(loaded, batch["wave"])))
    assert np.isfinite(output).all()
    return times


# ---- the table ----------------------------------------------------------------------------


def measure(name: str) -> dict:
    """The numbers of one network, in this process."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name in published.KINDS:
            numbers = measure_encoder(name, folder)
        else:
            numbers = measure_vssflow(folder) if name == "vssflow" else measure_codec(name, folder)
    return numbers | {"processor": time.process_time(), "peak_GB": measuring.peak_memory() / 1e9}


def main() -> None:
    """Prints the table, or the numbers of one network."""
    if flags.FLAGS.network:
        print(json.dumps(measure(flags.FLAGS.network)))
        return
    columns = "network parameters convert reverse same_bits load run processor_time peak_memory"
    print(measuring.format_row([column.replace("_", " ") for column in columns.split()]))
    print(measuring.format_row(["---"] * 9))
    for name in flags.FLAGS.networks:
        row = measuring.run_in_child(f"--network={name}")
        convert, reverse, load, run, processor = (
            f"{row[key]:.1f} s" for key in ("convert", "reverse", "load", "run", "processor")
        )
        parameters, exact = f"{row['parameters'] / 1e6:.1f} M", "yes" if row["exact"] else "NO"
        cells = [name, parameters, convert, reverse, exact, load, run, processor]
        print(measuring.format_row([*cells, f"{row['peak_GB']:.1f} GB"]), flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_list("networks", list(NETWORKS), "Networks to measure.")
    flags.DEFINE_string("network", "", "Measure this one alone in this process and print JSON.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
