"""The network that is measured: sizes from a config, weights and inputs made up."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ml_collections import config_flags

from benchmarks import measuring
from vssflow_jax import conditions
from vssflow_jax.data import pipeline
from vssflow_jax.models import vssflow
from vssflow_jax.training import flow_step, sharding, state
from vssflow_jax.weights import vssflow_names

CONFIG = config_flags.DEFINE_config_file("config", "configs/joint.py", "Recipe with the sizes.")
TYPES = ("float32", "bfloat16")


def config(dtype: str = "float32"):
    """The config of the flag, computing in `dtype`."""
    out = CONFIG.value.copy_and_resolve_references()
    out.precision.compute = dtype
    return out


def build(config):
    """The model, its latent channels from `config.codec`."""
    return vssflow.build_model(config, config.codec.channels)


def parameters(model):
    """Made-up weights, of variance 1 / inputs, on the default device."""
    shapes = vssflow_names.parameter_shapes(model)

    def draw(path, leaf):
        phase = jnp.arange(leaf.size, dtype=jnp.float32).reshape(leaf.shape)
        name = jax.tree_util.keystr(path)
        offset = jnp.float32(sum(map(ord, name)) % 97)
        noise = jnp.sin(phase * 1.618 + offset)  # as good as random, and quick
        if "scale" in name:
            return 1 + 0.1 * noise
        return noise * (2 / (leaf.shape[-2] if leaf.ndim > 1 else leaf.size)) ** 0.5

    return jax.jit(lambda: jax.tree_util.tree_map_with_path(draw, shapes))()


def features(config, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random conditions of `batch` clips at the published rates."""
    draw = np.random.default_rng(seed)
    spec = spec_of(config)
    out = {}
    for condition in conditions.CONDITIONS:
        count = spec.frames[condition.name]
        if condition.ids:
            out[condition.name] = draw.integers(0, 71, (batch, count), dtype=np.int32)
            continue
        shape = () if condition.alignment == conditions.TOKEN else (count,)
        out[condition.name] = draw.standard_normal((batch, *shape, condition.width), np.float32)
    return out


def spec_of(config) -> pipeline.BatchSpec:
    """Shapes of the config's clips."""
    rates = {condition.name: condition.rate for condition in conditions.CONDITIONS}
    return pipeline.BatchSpec.from_duration(config.data.duration, rates)


@struct.dataclass
class Latents:
    """A codec that is given latents instead of waveforms: the network alone is measured."""

    channels: int = struct.field(pytree_node=False)

    def encode(self, latent: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation: the latent itself, and none."""
        return latent, jnp.zeros_like(latent)


def batch(config, count: int) -> dict:
    """A training batch of random clips, latents in the place of waveforms."""
    spec = spec_of(config)
    draw = np.random.default_rng(1)
    shape = (count, spec.latent_frames, config.codec.channels)
    return {
        "wave": draw.standard_normal(shape, np.float32),
        "features": features(config, count),
        "present": {name: np.ones(count, np.float32) for name in conditions.NAMES},
        "frames": np.full(count, spec.latent_frames, np.int32),
    }


def flops(config, context: bool = True) -> float:
    """Operations of the matrix products of one clip's velocity, conditions made before.

    The products of our formulation: no folded map, and no input share, is counted twice. With
    `context` False, without cross-attention.
    """
    model = build(config).dit_config
    tokens = spec_of(config).latent_frames + 1
    width, keys = model.width, model.kv_heads * model.head_dim
    own = 4 * width * width + 2 * tokens * width
    second = 2 * width * width + 2 * tokens * width
    if not model.context_width:
        second += 2 * width * keys
    feed_forward = 3 * model.mlp_ratio * width * width
    layer = own + feed_forward + (second if context else 0)
    ends = 2 * config.codec.channels * width
    return 2.0 * tokens * (model.layers * layer + ends)


def training_flops(config) -> float:
    """Operations of one clip's training step: forward, and twice that backward."""
    model = build(config).dit_config
    tokens = spec_of(config).latent_frames + 1
    ends = model.channels * (model.channels + model.width) - config.codec.channels * model.width
    keys = 2 * model.layers * model.context_width * model.kv_heads * model.head_dim
    return 3 * (flops(config) + 2.0 * tokens * (ends + keys))


def training(config, mesh, clips: int) -> tuple[Callable[[], None], int]:
    """A training step on a mesh as the product has it: a call, and bytes that a device needs."""
    model = build(config)

    def initial():
        return state.init_state(parameters(model), config)

    everywhere = jax.NamedSharding(mesh, jax.P())
    places = sharding.make_shardings(jax.eval_shape(initial), mesh)
    current = jax.jit(initial, out_shardings=places)()
    codec = jax.device_put(Latents(config.codec.channels), everywhere)
    given = sharding.place_batch(batch(config, clips), mesh)
    advance = jax.jit(
        flow_step.make_flow_train_step(model, config, mesh),
        donate_argnums=0,
        out_shardings=(places, everywhere),
    )
    run = advance.lower(current, codec, given).compile()
    needs = run.memory_analysis()

    def once():
        nonlocal current
        current, metrics = run(current, codec, given)
        jax.block_until_ready((current, metrics))

    return once, needs.argument_size_in_bytes + needs.temp_size_in_bytes


def beside(ours, theirs, clips: int) -> measuring.Rows:
    """Rows of both types: the machine's matrix product, ours, PyTorch's where it is installed."""
    out = {}
    for dtype in TYPES:
        product = functools.partial(matrix_product, dtype, clips)
        out[f"{measuring.MATRIX} {dtype}"] = product
    out |= {f"ours {dtype}": functools.partial(ours, dtype) for dtype in TYPES}
    if measuring.has("torch", "diffusers"):
        out["torch float32"] = functools.partial(theirs, False)
        out["torch bfloat16 autocast"] = functools.partial(theirs, True)
    return out


def matrix_product(dtype: str, batch: int = 1) -> dict:
    """The machine's rate on the largest product of the network, [tokens, D] x [D, 8 D]."""
    sizes = config(dtype)
    width = build(sizes).dit_config.width
    rows, columns = batch * (spec_of(sizes).latent_frames + 1), 8 * width
    a = jnp.ones((rows, width), dtype)
    b = jnp.ones((width, columns), dtype)
    many = 10

    def product(a, b):
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    run = jax.jit(product)

    def repeat():
        for _ in range(many):
            out = run(a, b)
        jax.block_until_ready(out)

    seconds = [s / many for s in measuring.clock(repeat)]
    return {"seconds": seconds, "flops": 2.0 * rows * width * columns}
