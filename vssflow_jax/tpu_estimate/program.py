"""The training step as a compiled program, without data, weights or the devices it is for."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from vssflow_jax import bundled, conditions
from vssflow_jax.codecs import mel
from vssflow_jax.codecs.interface import audio_format, load_codec
from vssflow_jax.codecs.oobleck import OobleckCodec, OobleckConfig
from vssflow_jax.codecs.pca import STACK, PcaCodec
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.stderr import capture_stderr
from vssflow_jax.data import pipeline
from vssflow_jax.tpu_estimate import collectives, costs, hlo
from vssflow_jax.training import checkpoint, distill_step, flow_step, sharding
from vssflow_jax.training.flops import count_traced_flops
from vssflow_jax.weights.oobleck import oobleck_shapes

TASKS = {"flow": flow_step.flow_task, "distill": distill_step.abstract_task}
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def with_fields(config, fields: dict[str, object]):
    """A copy of a config with fields, by their dotted names, changed."""
    changed = config.copy_and_resolve_references()
    for name, value in fields.items():
        group, field = name.split(".")
        changed[group][field] = value
    return changed


class OutOfMemory(Exception):
    """The program needs more memory than a device has: `used` and `limit`, bytes."""

    def __init__(self, used: int, limit: int):
        super().__init__(f"{used} of {limit} bytes")
        self.used, self.limit = used, limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What is known of a compiled step. Bytes and FLOPs are those of one device and one step.

    Attributes:
      memory: bytes of all that the program needs.
      flops: of the matrix products as compiled, recomputation included.
      model_flops: of those that the model needs, nothing computed twice.
      transfers: what each instruction moves from and to the memory.
      collectives: between the devices.
      seconds: that compiling took.
    """

    memory: int
    flops: int
    model_flops: float
    transfers: Sequence[costs.Transfer]
    collectives: Sequence[collectives.Collective]
    seconds: float

    @property
    def traffic(self) -> int:
        """Bytes from and to the memory."""
        return costs.count_bytes(self.transfers)


def load_codec_shapes(config):
    """The codec that the step encodes with: the config's, or the shapes of the default ones."""
    start = config.train.init_from
    folder = config.codec.folder or (start and bundled.find_workdir(start) / "codec")
    if folder:
        return load_codec(folder)
    if config.codec.name == OobleckCodec.kind:
        size = OobleckConfig()
        return OobleckCodec(config=size, **oobleck_shapes(size))
    width, channels = STACK * mel.BANDS, config.codec.channels
    return PcaCodec(
        mean=jax.ShapeDtypeStruct((width,), jnp.float32),
        basis=jax.ShapeDtypeStruct((width, channels), jnp.float32),
        scale=jax.ShapeDtypeStruct((channels,), jnp.float32),
    )


def describe_step(config, mesh) -> tuple[Callable, tuple]:
    """The training step, and the shapes and places of its arguments: state, frozen, batch.

    Raises:
      InputError: the config's fields make no model, or it is the step of another task.
    """
    if config.train.task not in TASKS:
        raise InputError(f"train.task: found {config.train.task!r}, expected one of {list(TASKS)}")
    if config.model.route not in conditions.ROUTES:
        raise InputError(
            f"model.route: found {config.model.route!r}, expected one of {list(conditions.ROUTES)}"
        )
    codec = load_codec_shapes(config)
    spec = make_batch_spec(config, codec)
    codec = place_shapes(codec, mesh, jax.P())
    try:
        task = TASKS[config.train.task](config, spec, codec, mesh)
        state = jax.eval_shape(task.init_state)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"--config: found a value that makes no model: {error}") from None
    example = pipeline.make_example({}, spec)
    example = {name: array for name, array in example.items() if name not in pipeline.HOST_KEYS}
    batch = place_shapes(example, mesh, sharding.BATCH_SPEC, (config.data.batch_size,))
    state = checkpoint.abstract_arrays(state, sharding.make_shardings(state, mesh))
    return task.train_step, (state, codec if task.frozen is None else task.frozen, batch)


def make_batch_spec(config, codec) -> pipeline.BatchSpec:
    """The shapes of a batch.

    Raises:
      InputError: the codec's sound has another format than the config's.
    """
    rates = {condition.name: condition.rate for condition in conditions.CONDITIONS}
    audio = conditions.AudioFormat(config.data.sample_rate, config.data.audio_channels)
    if audio != audio_format(codec):
        raise InputError(
            f"data.sample_rate, data.audio_channels: found {audio}, expected the codec's "
            f"{audio_format(codec)}"
        )
    spec = pipeline.BatchSpec.from_duration(config.data.duration, rates, audio=audio)
    if config.data.latents:
        spec = dataclasses.replace(spec, latent_channels=codec.channels)
    return spec


def place_shapes(tree, mesh, spec, lead: tuple[int, ...] = ()):
    """The shapes of a tree's arrays behind axes `lead`, all placed alike."""
    place = jax.NamedSharding(mesh, spec)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype, sharding=place), tree
    )


def compile_step(config, mesh) -> Program:
    """Compiles the training step of a config for a mesh of devices that need not be there.

    Raises:
      OutOfMemory: it does not fit.
      InputError: the config's batch or model cannot be.
    """
    sharding.check_config(config, mesh)
    if config.train.task == "distill":
        distill_step.check_fields(config)
    train_step, shapes = describe_step(config, mesh)
    began = time.perf_counter()
    with jax.default_matmul_precision(config.precision.matmul):
        places = jax.tree.map(lambda leaf: leaf.sharding, shapes[0])
        jitted = jax.jit(
            train_step,
            donate_argnums=0,
            out_shardings=(places, jax.NamedSharding(mesh, jax.P())),
        )
        lowered = jitted.lower(*shapes)
        with capture_stderr(OutOfMemory):
            try:
                compiled = lowered.compile()
            except jax.errors.JaxRuntimeError as error:
                raise parse_out_of_memory(error) or error from None
    seconds = time.perf_counter() - began
    stats = compiled.memory_analysis()
    module = hlo.parse_hlo(compiled.as_text())
    return Program(
        memory=(
            stats.argument_size_in_bytes
            + stats.output_size_in_bytes
            - stats.alias_size_in_bytes
            + stats.temp_size_in_bytes
            + stats.generated_code_size_in_bytes
        ),
        flops=costs.count_flops(module),
        model_flops=count_model_flops(config, shapes, mesh) / mesh.size,
        transfers=costs.list_transfers(module),
        collectives=collectives.list_collectives(module),
        seconds=seconds,
    )


def count_fixed_bytes(config, mesh) -> tuple[int, int]:
    """Bytes on a device that do not grow with the batch: of the arguments, and of the gradient."""
    state, frozen, _ = describe_step(config, mesh)[1]

    def local(tree):
        return sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )

    return local((state, frozen)), local(state.params)


def clip_multiple(config) -> int:
    """What the clips a device are a multiple of, on any number of devices."""
    if config.train.task == "distill":
        return distill_step.batch_multiple(config)
    return config.train.grad_accumulation


def parse_out_of_memory(error: Exception) -> OutOfMemory | None:
    """What the compiler says of a program that does not fit; None for another error.

    It says what all arrays need, or before it places them what the temporary ones do.
    """
    size = r"([\d.]+)([KMGT]?)"
    match = re.search(rf"Used {size} of {size} hbm", str(error)) or re.search(
        rf"required for [^(]*\({size}\) exceeds available HBM \({size}\)", str(error)
    )
    if not match:
        return None
    used, used_unit, limit, limit_unit = match.groups()
    return OutOfMemory(
        round(float(used) * UNITS[used_unit]), round(float(limit) * UNITS[limit_unit])
    )


def count_model_flops(config, shapes, mesh) -> int:
    """FLOPs of the step's matrix products over all devices, with nothing recomputed."""
    plain = with_fields(config, {"model.remat": "none", "model.tpu_kernels": False})
    return count_traced_flops(describe_step(plain, mesh)[0], *shapes)
