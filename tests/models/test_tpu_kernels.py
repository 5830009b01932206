"""Kernels for TPUs, run as plain JAX: values and gradients are those of the plain computation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from helpers import meshes
from jax.experimental import pallas as pl

from vssflow_jax.models import attention, dit, layers, rotary, tpu_attention, tpu_feed_forward
from vssflow_jax.models.tpu_kernels import count_moves, runs_on_tpus

# Largest differences over the largest number: rounding, and that of bfloat16 in other places.
BOUNDS = {jnp.float32: 2e-6, jnp.bfloat16: 0.015}


def draw(seed, *shape, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def compare(kernel, plain, inputs, bound):
    """Asserts that outputs and the gradients of a random sum of them are near each other."""
    results = []
    for function in (kernel, plain):
        out, pull_back = jax.jit(lambda *inputs, f=function: jax.vjp(f, *inputs))(*inputs)
        results.append((out, *pull_back(draw(7, *out.shape, dtype=out.dtype))))
    for actual, expected in zip(*results, strict=True):
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        actual, expected = (np.asarray(x, np.float32) for x in (actual, expected))
        np.testing.assert_allclose(actual, expected, atol=bound * np.abs(expected).max(), rtol=0)


def attend_plainly(query, key, value, heads):
    def split(x):
        return rearrange(x, "b t (n h) -> b n t h", h=heads.dim)

    query, key, value = map(split, (query, key, value))
    key = rotary.apply_rotary(key) if heads.rotate_key else key
    query = rotary.apply_rotary(query) if heads.rotate_query else query
    return rearrange(attention.attend(query, key, value), "b n t h -> b t (n h)")


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim", "rows", "rotated"),
    [
        (4, 4, 64, 11, True),  # two programs of two heads
        (8, 4, 64, 9, False),  # two of four query heads that share two of keys
        (8, 4, 32, 11, True),  # one program with all heads
    ],
)
def test_attention_equals_the_plain_one(dtype, heads, kv_heads, dim, rows, rotated):
    size = tpu_attention.Heads(dim=dim, rotate_query=rotated, rotate_key=rotated)
    inputs = [
        draw(0, 2, 11, heads * dim, dtype=dtype),
        *(draw(seed, 2, rows, kv_heads * dim, dtype=dtype) for seed in (1, 2)),
    ]
    compare(
        lambda *inputs: tpu_attention.attend_packed(*inputs, size),
        lambda *inputs: attend_plainly(*inputs, size),
        inputs,
        BOUNDS[dtype],
    )


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("resident", [2, 4])
def test_feed_forward_equals_the_plain_one(dtype, resident, monkeypatch):
    """With all tokens in fast memory, and with a part of the clips after another."""
    clips, tokens, width = 4, 11, 128
    hidden = 2 * tpu_feed_forward.BLOCK
    size = 16 * width * jnp.dtype(dtype).itemsize
    monkeypatch.setattr(tpu_feed_forward, "RESIDENT", resident * size)
    module = layers.FeedForward(hidden // width, dtype)
    x = draw(0, clips, tokens, width, dtype=dtype)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda leaf: 0.1 * draw(leaf.size, *leaf.shape), shapes)
    weights = [params["in"]["kernel"], params["in"]["bias"], params["out"]["kernel"]]

    def plain(x, in_kernel, in_bias, out_kernel):
        dense = {
            "in": {"kernel": in_kernel, "bias": in_bias},
            "out": {"kernel": out_kernel, "bias": jnp.zeros(width)},
        }
        return module.apply({"params": dense}, x)

    compare(tpu_feed_forward.swiglu, plain, [x, *weights], BOUNDS[dtype])


def test_feed_forward_kernels_take_widths_of_whole_vectors():
    assert tpu_feed_forward.fits_swiglu(251, 1536, 6144)
    assert not tpu_feed_forward.fits_swiglu(251, 1536, 6144 + 128)
    assert not tpu_feed_forward.fits_swiglu(251, 192, 768)
    assert not tpu_feed_forward.fits_swiglu(2000, 1536, 6144)


@pytest.mark.parametrize(
    ("kv_heads", "dim", "rows", "fits"),
    [
        (24, 64, 251, True),
        (12, 64, 251, True),
        (3, 64, 251, False),
        (4, 32, 251, True),
        (12, 24, 251, False),
        (16, 16, 251, False),
        (3, 128, 251, True),
        (24, 64, 2000, False),
    ],
)
def test_attention_kernels_take_heads_that_fill_vectors(kv_heads, dim, rows, fits):
    assert tpu_attention.fits_attention(kv_heads, dim, rows) is fits


def test_kernels_declare_what_their_grid_moves():
    """A block that stays from one program to the next is moved once."""
    grid = (2, 3)
    by_row = pl.BlockSpec((8, 128), lambda i, j: (i, 0))
    by_column = pl.BlockSpec((8, 128), lambda i, j: (j, 0))
    constant = pl.BlockSpec((8, 128), lambda i, j: (0, 0))
    assert [count_moves(grid, spec) for spec in (by_row, by_column, constant)] == [2, 6, 1]


def abstract_mesh(platform, kind):
    device = jax.sharding.AbstractDevice(device_kind=kind, num_cores=1, platform=platform)
    return jax.sharding.AbstractMesh((1,), ("data",), abstract_device=device)


@pytest.mark.parametrize(
    ("platform", "kind", "large"),
    [
        ("cpu", "cpu", False),
        ("gpu", "NVIDIA H100", False),
        ("tpu", "TPU v4", False),
        ("tpu", "TPU v5 lite", True),
        ("tpu", "TPU v5p", True),
        ("tpu", "TPU v6 lite", True),
        ("tpu", "TPU7x", True),
    ],
)
def test_kernels_are_for_bfloat16_on_a_mesh_of_tpus_with_room(platform, kind, large):
    assert not runs_on_tpus(jnp.bfloat16)
    with jax.sharding.use_abstract_mesh(abstract_mesh(platform, kind)):
        assert runs_on_tpus(jnp.bfloat16) is large
        assert not runs_on_tpus(jnp.float32)


def test_a_block_with_kernels_is_the_plain_one(monkeypatch):
    """In bfloat16, each against the plain computation in float32."""
    size = {"channels": 8, "layers": 1, "heads": 2, "kv_heads": 2, "head_dim": 64, "mlp_ratio": 2}
    x, context, slope = draw(0, 2, 9, 128), draw(1, 2, 7, 32), draw(2, 2, 9, 128)

    def make(dtype, kernels=False):
        config = dit.DiTConfig(
            latent_channels=8,
            context_width=32,
            time_features=8,
            dtype=dtype,
            tpu_kernels=kernels,
            **size,
        )
        return dit.Block(config), dit.stacked_context_kv(config)

    def apply(modules, params, x):
        block, context_kv = modules
        keys = context_kv.apply({"params": params[1]}, context)
        return block.apply({"params": params[0]}, x, jax.tree.map(lambda array: array[0], keys))[0]

    def init(key):
        block, context_kv = make("float32")
        keys, variables = context_kv.init_with_output(key, context)
        return block.init(key, x, jax.tree.map(lambda array: array[0], keys)), variables

    shapes = jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: 0.1 * draw(leaf.size, *leaf.shape), shapes)
    params = tuple(variables["params"] for variables in params)

    @functools.partial(jax.jit, static_argnums=0)
    def run(modules, params, x):
        out, pull_back = jax.vjp(functools.partial(apply, modules), params, x)
        return jax.tree.leaves((out, *pull_back(slope)))

    exact, plain = (run(make(dtype), params, x) for dtype in ("float32", "bfloat16"))
    for room in (attention, layers):
        monkeypatch.setattr(room, "runs_on_tpus", lambda dtype: True)
    kernels = run(make("bfloat16", kernels=True), params, x)
    for reference, other, fused in zip(exact, plain, kernels, strict=True):
        error, rounding = (float(jnp.linalg.norm(y - reference)) for y in (fused, other))
        scale = float(jnp.linalg.norm(reference))
        assert error <= 1.2 * rounding + 1e-3 * scale and rounding <= 0.05 * scale
    assert not np.array_equal(kernels[0], plain[0])


SHARDED = """
import jax, numpy as np
from vssflow_jax.models import tpu_attention, tpu_feed_forward
from vssflow_jax.training import sharding
mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
draw = np.random.default_rng(0).standard_normal
heads = tpu_attention.Heads(dim=64)
attended = [draw((4, 5, 256), np.float32) for _ in range(3)]
fed = [draw(shape, np.float32) for shape in ((4, 5, 128), (128, 512), (512,), (256, 128))]
def both(attended, fed):
    return (tpu_attention.attend_packed(*attended, heads).sum() ** 2
            + (tpu_feed_forward.swiglu(*fed) ** 2).sum())
def on_mesh(*inputs):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return jax.value_and_grad(both, argnums=(0, 1))(*inputs)
place = jax.NamedSharding(mesh, jax.P(("data", "fsdp")))
rows = jax.device_put((attended, fed[:1]), place)
one = jax.jit(jax.value_and_grad(both, argnums=(0, 1)))(attended, fed)
many = jax.jit(on_mesh)(rows[0], rows[1] + fed[1:])
for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max(), rtol=0)
print("equal")
"""


@pytest.mark.slow
def test_on_eight_devices_each_computes_its_part():
    assert meshes.run_code(SHARDED) == "equal\n"
