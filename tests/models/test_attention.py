"""Attention: relative positions, grouped heads, and where cuDNN's kernel is used."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.models import attention, rotary


def test_rotation_is_relative():
    """Scores of rotated queries and keys depend on the distance of their positions alone."""
    q, k = np.random.default_rng(0).standard_normal((2, 1, 1, 1, 8), np.float32)
    rotate = jax.jit(rotary.apply_rotary)
    q, k = (rotate(np.tile(x, (1, 1, 12, 1))) for x in (q, k))
    scores = np.einsum("bhqd,bhkd->qk", q, k)
    for offset in range(-5, 6):
        diagonal = np.diagonal(scores, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_grouped_attention_is_that_of_repeated_keys(dtype):
    """Query head j reads key head j // G, as in jax.nn.dot_product_attention."""
    query = jax.random.normal(jax.random.key(0), (2, 6, 5, 8), dtype)
    key, value = jax.random.normal(jax.random.key(1), (2, 2, 3, 7, 8), dtype)
    by_token = (np.swapaxes(x, 1, 2).astype(np.float32) for x in (query, key, value))
    expected = np.swapaxes(jax.jit(jax.nn.dot_product_attention)(*by_token), 1, 2)
    mixed = jax.jit(attention.attend)(query, key, value)
    assert mixed.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 0.02
    np.testing.assert_allclose(mixed.astype(jnp.float32), expected, atol=tolerance)


def fake_device(capability, version="cuda 12090", platform="gpu"):
    """What JAX tells of a device."""
    return SimpleNamespace(
        platform=platform,
        compute_capability=capability,
        client=SimpleNamespace(platform_version=version),
    )


T4, A100, H100, B200 = (fake_device(capability) for capability in ("7.5", "8.0", "9.0", "10.0"))
CPU = SimpleNamespace(platform="cpu", client=SimpleNamespace(platform_version="cpu"))
TPU = SimpleNamespace(platform="tpu", client=SimpleNamespace(platform_version="libtpu"))
ROCM = fake_device("gfx942", "rocm 60000")


@pytest.mark.parametrize(
    ("device", "fits"),
    [(T4, False), (A100, True), (H100, True), (B200, True), (CPU, False), (TPU, False),
     (ROCM, False)],
)  # fmt: skip
def test_cudnn_is_used_on_nvidia_gpus_from_ampere_on(device, fits):
    assert attention.fits_cudnn(jnp.bfloat16, 64, (24, 12), 1, device) is fits


@pytest.mark.parametrize(
    ("head_dim", "device", "fits"),
    [
        (64, A100, True),
        (128, A100, True),
        (136, A100, False),
        (256, A100, False),
        (256, H100, True),
        (264, H100, False),
        (60, H100, False),
    ],
)
def test_cudnn_takes_heads_of_some_widths(head_dim, device, fits):
    assert attention.fits_cudnn(jnp.bfloat16, head_dim, (8, 8), 1, device) is fits


def test_cudnn_takes_half_precision_alone():
    fits = {
        dtype: attention.fits_cudnn(dtype, 64, (8, 8), 1, H100)
        for dtype in (jnp.bfloat16, jnp.float16, jnp.float32)
    }
    assert fits == {jnp.bfloat16: True, jnp.float16: True, jnp.float32: False}


@pytest.mark.parametrize(
    ("heads", "tensor_shards", "fits"),
    [((8, 8), 8, True), ((8, 4), 4, True), ((8, 4), 8, False), ((24, 12), 8, False)],
)
def test_cudnn_needs_queries_and_keys_sharded_alike(heads, tensor_shards, fits):
    """With 8 query heads and 4 key heads on 8 devices the keys are not sharded, the queries are."""
    assert attention.fits_cudnn(jnp.bfloat16, 64, heads, tensor_shards, H100) is fits


def make_heads(tokens, rows, dtype=jnp.float32, heads=4, kv_heads=2, clips=2, dim=8):
    """Random queries, keys and values."""
    query = jax.random.normal(jax.random.key(0), (clips, heads, tokens, dim), dtype)
    key, value = jax.random.normal(jax.random.key(1), (2, clips, kv_heads, rows, dim), dtype)
    return query, key, value


@pytest.mark.parametrize(("tokens", "rows"), [(6, 3), (5, 8)])
@pytest.mark.parametrize("fused", [False, True])
def test_rows_that_are_not_counted_change_nothing(tokens, rows, fused):
    """Values, and gradients with respect to what is counted; the others have none."""
    inputs = make_heads(tokens, rows)
    counts = tuple(jnp.full(2, count - 1) for count in (tokens, rows))
    attend = attention.attend
    if fused:
        attend = functools.partial(attention.attend_fused, implementation="xla")

    def weigh(attend, *inputs):
        mixed = attend(*inputs)[:, :, : tokens - 1]
        return jnp.sum(mixed**2), mixed

    def run(attend, *inputs):
        run = jax.value_and_grad(functools.partial(weigh, attend), (0, 1, 2), has_aux=True)
        return jax.jit(run)(*inputs)

    (_, mixed), gradients = run(functools.partial(attend, counts=counts), *inputs)
    (_, expected), expected_gradients = run(attention.attend, *(x[:, :, :-1] for x in inputs))
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient[:, :, :-1], reference, atol=1e-5)
        np.testing.assert_array_equal(gradient[:, :, -1], 0)


@pytest.mark.parametrize(("tokens", "rows"), [(6, 6), (5, 6), (6, 5), (5, 5), (5, None)])
def test_tokens_and_context_are_padded_to_even_numbers_once(monkeypatch, tokens, rows):
    config = attention.AttentionConfig(heads=2, kv_heads=2, head_dim=8)
    x = jnp.ones((3, tokens, 4))
    context_kv = None if rows is None else (jnp.ones((2, 2, 2, rows, 8)),) * 2
    same = attention.pad_to_even(x, context_kv, [config])  # there is no cuDNN
    assert same[0] is x and same[1] is context_kv and same[2] is None
    monkeypatch.setattr(attention, "fits_cudnn", lambda *_: True)
    padded, padded_kv, counts = attention.pad_to_even(x, context_kv, [config])
    assert padded.shape == (3, 6, 4) and (rows is None or padded_kv[0].shape == (2, 2, 2, 6, 8))
    if (tokens, rows) == (6, 6):
        assert counts is None
    else:
        assert counts.tokens.tolist() == [tokens] * 3
        assert (counts.context is None) if rows is None else counts.context.tolist() == [rows] * 2


@pytest.mark.gpu
def test_the_fused_kernel_equals_the_plain_computation(gpu):
    """Values and gradients at the paper's size, in bfloat16 against float32."""
    inputs = make_heads(252, 252, heads=24, kv_heads=12, dim=64)
    half = [x.astype(jnp.bfloat16) for x in inputs]
    assert attention.fits_cudnn(jnp.bfloat16, 64, (24, 12), 1, gpu)
    counts = (jnp.full(2, 251),) * 2

    def weigh(is_fused, *inputs):
        mixed = attention.attend(*inputs, is_fused, counts).astype(jnp.float32)[:, :, :251]
        return jnp.mean(mixed**2), mixed

    def run(is_fused, *inputs):
        run = jax.value_and_grad(functools.partial(weigh, is_fused), (0, 1, 2), has_aux=True)
        return jax.jit(run)(*inputs)

    (_, fused), gradients = run(True, *half)
    (_, plain), expected = run(False, *inputs)
    np.testing.assert_allclose(fused, plain, atol=0.02)
    for gradient, reference in zip(gradients, expected, strict=True):
        scale = float(jnp.abs(reference).max())
        np.testing.assert_allclose(gradient.astype(jnp.float32), reference, atol=0.05 * scale)


@pytest.mark.gpu
def test_odd_tokens_without_gradients_need_no_padding(gpu):
    """As in sampling."""
    inputs = [x.astype(jnp.bfloat16) for x in make_heads(251, 251, dim=64)]
    fused, plain = (
        jax.jit(functools.partial(attention.attend_fused, implementation=name))(*inputs)
        for name in ("cudnn", "xla")
    )
    np.testing.assert_allclose(fused.astype(jnp.float32), plain.astype(jnp.float32), atol=0.02)
