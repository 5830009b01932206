"""Kernels for TPUs, run as plain JAX: values and gradients are those of the plain computation."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from helpers.small_model import draw_features, draw_latent, keep_all, setup
from jax.experimental import pallas as pl

from vssflow_jax.models import attention, layers, rotary, tpu_attention, tpu_feed_forward
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
        (6, 3, 64, 11, True),  # an odd number of key heads: one program
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


def test_widths_that_are_no_whole_vectors_have_no_feed_forward_kernel():
    assert tpu_feed_forward.fits_swiglu(1536, 6144)
    assert not tpu_feed_forward.fits_swiglu(1536, 6144 + 128)
    assert not tpu_feed_forward.fits_swiglu(192, 768)


def test_kernels_declare_what_their_grid_moves():
    """A block that stays from one program to the next is moved once."""
    grid = (2, 3)
    by_row = pl.BlockSpec((8, 128), lambda i, j: (i, 0))
    by_column = pl.BlockSpec((8, 128), lambda i, j: (j, 0))
    constant = pl.BlockSpec((8, 128), lambda i, j: (0, 0))
    assert [count_moves(grid, spec) for spec in (by_row, by_column, constant)] == [2, 6, 1]


def abstract_mesh(platform):
    device = jax.sharding.AbstractDevice(device_kind="any", num_cores=1, platform=platform)
    return jax.sharding.AbstractMesh((1,), ("data",), abstract_device=device)


def test_kernels_are_for_bfloat16_on_a_mesh_of_tpus():
    assert not runs_on_tpus(jnp.bfloat16)
    for platform, is_tpu in (("cpu", False), ("gpu", False), ("tpu", True)):
        with jax.sharding.use_abstract_mesh(abstract_mesh(platform)):
            assert runs_on_tpus(jnp.bfloat16) is is_tpu
            assert not runs_on_tpus(jnp.float32)


def test_the_network_with_kernels_is_the_plain_one(monkeypatch):
    """Velocities and gradients in bfloat16, against those of float32 and of the plain path."""
    sizes = {"heads": 4, "kv_heads": 2, "head_dim": 32, "mlp_ratio": 2, "layers": 1}
    x, t = draw_latent()

    def run(apply):
        out, pull_back = jax.vjp(lambda x: apply(x, t, draw_features(), keep_all()), x)
        return np.concatenate([np.ravel(out), np.ravel(pull_back(jnp.ones_like(out))[0])])

    exact, plain = (run(setup(dtype=dtype, **sizes)[2]) for dtype in ("float32", "bfloat16"))
    for room in (attention, layers):
        monkeypatch.setattr(room, "runs_on_tpus", lambda dtype: True)
    kernels = run(setup(dtype="bfloat16", tpu_kernels=True, **sizes)[2])
    assert not np.array_equal(kernels, plain)
    size = np.linalg.norm(exact)
    assert np.linalg.norm(kernels - exact) < 1.5 * np.linalg.norm(plain - exact) < 0.05 * size


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


def test_on_eight_devices_each_computes_its_part():
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        capture_output=True,
        text=True,
        check=False,
        env={"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
    )
    assert done.stdout == "equal\n", done.stderr
