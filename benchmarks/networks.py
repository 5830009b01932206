"""The measured network: sizes from a config, synthetic weights and inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import struct

from benchmarks import measuring
from vssflow_jax import conditions
from vssflow_jax.config import command_line
from vssflow_jax.data import pipeline
from vssflow_jax.models import vssflow
from vssflow_jax.training import flow_step, sharding, state
from vssflow_jax.weights import vssflow_names

TYPES = ("float32", "bfloat16")


def read_config(dtype: str = "float32"):
    """The config of the flag, computing in `dtype`."""
    out = flags.FLAGS.config.copy_and_resolve_references()
    out.precision.compute = dtype
    return out


def build_model(config):
    """The model, its latent channels from `config.codec`."""
    return vssflow.build_model(config, config.codec.channels)


def synthetic_params(model):
    """Synthetic weights, of variance 1 / inputs, on the default device."""
    shapes = vssflow_names.parameter_shapes(model)

    def draw(path, leaf):
        phase = jnp.arange(leaf.size, dtype=jnp.float32).reshape(leaf.shape)
        name = jax.tree_util.keystr(path)
        offset = jnp.float32(sum(map(ord, name)) % 97)
        noise = jnp.sin(phase * 1.618 + offset)  # as good as random numbers here, and fast
        if "scale" in name:
            return 1 + 0.1 * noise
        return noise * (2 / (leaf.shape[-2] if leaf.ndim > 1 else leaf.size)) ** 0.5

    return jax.jit(lambda: jax.tree_util.tree_map_with_path(draw, shapes))()


def random_features(config, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random conditions of `batch` clips at the published rates."""
    draw = np.random.default_rng(seed)
    spec = make_spec(config)
    out = {}
    for condition in conditions.CONDITIONS:
        count = spec.frames[condition.name]
        if condition.ids:
            out[condition.name] = draw.integers(0, 71, (batch, count), dtype=np.int32)
            continue
        shape = () if condition.alignment == conditions.TOKEN else (count,)
        out[condition.name] = draw.standard_normal((batch, *shape, condition.width), np.float32)
    return out


def make_spec(config) -> pipeline.BatchSpec:
    """Shapes of the config's clips."""
    rates = {condition.name: condition.rate for condition in conditions.CONDITIONS}
    return pipeline.BatchSpec.from_duration(config.data.duration, rates)


@struct.dataclass
class Latents:
    """A codec whose waveforms are latents already, so that the network alone is measured."""

    channels: int = struct.field(pytree_node=False)

    def encode(self, latent: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation: the latent itself and zeros."""
        return latent, jnp.zeros_like(latent)


def random_batch(config, count: int) -> dict:
    """A training batch of random examples, with latents as waveforms."""
    spec = make_spec(config)
    draw = np.random.default_rng(1)
    shape = (count, spec.latent_frames, config.codec.channels)
    return {
        "wave": draw.standard_normal(shape, np.float32),
        "features": random_features(config, count),
        "present": {name: np.ones(count, np.float32) for name in conditions.NAMES},
        "frames": np.full(count, spec.latent_frames, np.int32),
    }


def count_flops(config, context: bool = True) -> float:
    """Operations of the matrix products of one clip's velocity, without the conditions.

    The products of our formulation: folded maps and the shared input are counted once. Without
    cross-attention if `context` is False.
    """
    model = build_model(config).dit_config
    tokens = make_spec(config).latent_frames + 1
    width, keys = model.width, model.kv_heads * model.head_dim
    own = 4 * width * width + 2 * tokens * width
    second = 2 * width * width + 2 * tokens * width
    if not model.context_width:
        second += 2 * width * keys
    feed_forward = 3 * model.mlp_ratio * width * width
    layer = own + feed_forward + (second if context else 0)
    ends = 2 * config.codec.channels * width
    return 2.0 * tokens * (model.layers * layer + ends)


def count_training_flops(config) -> float:
    """Operations of one clip's training step: the forward pass and twice that backward."""
    model = build_model(config).dit_config
    tokens = make_spec(config).latent_frames + 1
    ends = model.channels * (model.channels + model.width) - config.codec.channels * model.width
    keys = 2 * model.layers * model.context_width * model.kv_heads * model.head_dim
    return 3 * (count_flops(config) + 2.0 * tokens * (ends + keys))


def compile_train_step(config, mesh, batch_size: int) -> tuple[Callable[[], None], int]:
    """The product's training step on a mesh: a function that runs it, and bytes a device."""
    model = build_model(config)

    def init():
        return state.init_state(synthetic_params(model), config)

    replicated = jax.NamedSharding(mesh, jax.P())
    shardings = sharding.make_shardings(jax.eval_shape(init), mesh)
    current = jax.jit(init, out_shardings=shardings)()
    codec = jax.device_put(Latents(config.codec.channels), replicated)
    batch = sharding.place_batch(random_batch(config, batch_size), mesh)
    train_step = jax.jit(
        flow_step.make_flow_train_step(model, config, mesh),
        donate_argnums=0,
        out_shardings=(shardings, replicated),
    )
    run = train_step.lower(current, codec, batch).compile()
    memory = run.memory_analysis()

    def run_once():
        nonlocal current
        current, metrics = run(current, codec, batch)
        jax.block_until_ready((current, metrics))

    return run_once, memory.argument_size_in_bytes + memory.temp_size_in_bytes


def make_rows(ours, theirs, batch_size: int) -> measuring.Rows:
    """Rows in both types: the machine's matrix product, ours, PyTorch's if it is installed."""
    out = {}
    for dtype in TYPES:
        product = functools.partial(measure_matrix_product, dtype, batch_size)
        out[f"{measuring.MATRIX} {dtype}"] = product
    out |= {f"ours {dtype}": functools.partial(ours, dtype) for dtype in TYPES}
    if measuring.has_packages("torch", "diffusers"):
        out["torch float32"] = functools.partial(theirs, False)
        out["torch bfloat16 autocast"] = functools.partial(theirs, True)
    return out


def measure_matrix_product(dtype: str, batch: int = 1) -> dict:
    """The machine's rate on the largest product of the network, [tokens, D] x [D, 8 D]."""
    config = read_config(dtype)
    width = build_model(config).dit_config.width
    rows, columns = batch * (make_spec(config).latent_frames + 1), 8 * width
    a = jnp.ones((rows, width), dtype)
    b = jnp.ones((width, columns), dtype)
    repeats = 10

    def product(a, b):
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    run = jax.jit(product)

    def repeat():
        for _ in range(repeats):
            out = run(a, b)
        jax.block_until_ready(out)

    seconds = [s / repeats for s in measuring.time_calls(repeat)]
    return {"seconds": seconds, "flops": 2.0 * rows * width * columns}


def define_flags() -> None:
    """The flag of the recipe."""
    command_line.define_config("configs/joint.py", "Recipe with the sizes.")
