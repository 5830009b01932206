"""The SwiGLU for TPUs: kernels that keep value and gate in fast memory.

The forward kernel writes the hidden channels, value * SiLU(gate), alone. The backward kernel
computes value and gate again and writes the hidden channels, for the gradient of the second matrix,
and the gradients of value and gate side by side, for that of the first. `layers.FeedForward` has
the reference.

Legend: B clips, T tokens, D width, F hidden width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from vssflow_jax.models.matmul import einsum
from vssflow_jax.models.tpu_kernels import LANES, MAX_TOKENS, call_kernel, dot, run_on_shards

BLOCK = 2 * LANES  # hidden channels of a program
RESIDENT = 13 * 2**20  # bytes of the tokens that stay in fast memory for all hidden channels
BATCH = jax.P(("data", "fsdp"))


def fits_swiglu(tokens: int, width: int, hidden: int) -> bool:
    """Whether the kernels take T, D and F of these sizes: widths in whole vectors."""
    return tokens <= MAX_TOKENS and width % LANES == 0 and hidden % BLOCK == 0


def _resident_clips(x: jax.Array) -> int:
    """Clips whose tokens stay in fast memory: as many as there is room for, a divisor of all."""
    clips, tokens, width = x.shape
    size = -(-tokens // 16) * 16 * width * x.dtype.itemsize
    return next((n for n in range(clips, 0, -1) if clips % n == 0 and n * size <= RESIDENT), 1)


def _value_and_gate(x, value_kernel, gate_kernel, value_bias, gate_bias):
    """float32 [T, BLOCK] each."""
    value = dot(x, value_kernel[...], 1, 0) + value_bias[...].astype(jnp.float32)
    return value, dot(x, gate_kernel[...], 1, 0) + gate_bias[...].astype(jnp.float32)


def _forward_kernel(x, value_kernel, gate_kernel, value_bias, gate_bias, hidden):
    def one_clip(clip, _):
        value, gate = _value_and_gate(x[clip], value_kernel, gate_kernel, value_bias, gate_bias)
        hidden[clip] = (value * gate * jax.nn.sigmoid(gate)).astype(hidden.dtype)

    jax.lax.fori_loop(0, x.shape[0], one_clip, None)


def _backward_kernel(
    x, slope, value_kernel, gate_kernel, out_kernel, value_bias, gate_bias,
    hidden, in_slope, bias_slope, gate_slope, gate_bias_slope,
):  # fmt: skip
    """Two programs a block: one computes all and writes what is the value's, one what the gate's.

    The last two references are scratch memory, in which the first leaves what is the gate's.
    """

    def one_clip(clip, sums):
        value, gate = _value_and_gate(x[clip], value_kernel, gate_kernel, value_bias, gate_bias)
        out_slope = dot(slope[clip], out_kernel[...], 1, 1)
        sigmoid = jax.nn.sigmoid(gate)
        silu = gate * sigmoid
        hidden[clip] = (value * silu).astype(hidden.dtype)
        by_value = out_slope * silu
        by_gate = out_slope * value * sigmoid * (1 + gate * (1 - sigmoid))
        in_slope[clip] = by_value.astype(in_slope.dtype)
        gate_slope[clip] = by_gate.astype(gate_slope.dtype)
        return tuple(
            total + part.sum(axis=0, keepdims=True)
            for total, part in zip(sums, (by_value, by_gate), strict=True)
        )

    @pl.when(pl.program_id(2) == 0)
    def _():
        zero = jnp.zeros((1, BLOCK), jnp.float32)
        sums = jax.lax.fori_loop(0, x.shape[0], one_clip, (zero, zero))
        bias_slope[0], gate_bias_slope[...] = sums

    @pl.when(pl.program_id(2) == 1)
    def _():
        in_slope[...] = gate_slope[...]
        bias_slope[0] = gate_bias_slope[...]


def _specs(x: jax.Array, hidden: int) -> dict[str, pl.BlockSpec]:
    """Blocks of the arrays: programs are (clips, hidden channels, half)."""
    clips, (_, tokens, width) = _resident_clips(x), x.shape
    blocks = hidden // BLOCK
    return {
        "tokens": pl.BlockSpec(
            (clips, tokens, width), lambda i, j, half: (i, 0, 0), pipeline_mode=pl.Buffered(1)
        ),
        "value_kernel": pl.BlockSpec((width, BLOCK), lambda i, j, half: (0, j)),
        "gate_kernel": pl.BlockSpec((width, BLOCK), lambda i, j, half: (0, blocks + j)),
        "out_kernel": pl.BlockSpec((BLOCK, width), lambda i, j, half: (j, 0)),
        "value_bias": pl.BlockSpec((1, BLOCK), lambda i, j, half: (0, j)),
        "gate_bias": pl.BlockSpec((1, BLOCK), lambda i, j, half: (0, blocks + j)),
        "hidden": pl.BlockSpec((clips, tokens, BLOCK), lambda i, j, half: (i, 0, j)),
        "in_slope": pl.BlockSpec(
            (clips, tokens, BLOCK), lambda i, j, half: (i, 0, half * blocks + j)
        ),
        "bias_slope": pl.BlockSpec((1, 1, BLOCK), lambda i, j, half: (i, 0, half * blocks + j)),
    }


def _run_forward(x, kernel, bias):
    hidden = kernel.shape[1] // 2
    specs = _specs(x, hidden)
    names = ("tokens", "value_kernel", "gate_kernel", "value_bias", "gate_bias")
    return call_kernel(
        _forward_kernel,
        (x, kernel, kernel, bias, bias),
        grid=(len(x) // _resident_clips(x), hidden // BLOCK, 1),
        in_specs=[specs[name] for name in names],
        out_shape=[jax.ShapeDtypeStruct((*x.shape[:2], hidden), x.dtype)],
        out_specs=[specs["hidden"]],
        flops=2 * x.size * kernel.shape[1],
        name="swiglu",
    )


def _run_backward(x, slope, in_kernel, out_kernel, bias):
    hidden, clips = len(out_kernel), _resident_clips(x)
    specs = _specs(x, hidden)
    inputs = ("tokens", "tokens", "value_kernel", "gate_kernel", "out_kernel",
              "value_bias", "gate_bias")  # fmt: skip
    shapes = {
        "hidden": (*x.shape[:2], hidden),
        "in_slope": (*x.shape[:2], 2 * hidden),
        "bias_slope": (len(x) // clips, 1, 2 * hidden),
    }
    dtypes = {"hidden": x.dtype, "in_slope": x.dtype, "bias_slope": jnp.float32}
    return call_kernel(
        _backward_kernel,
        (x, slope, in_kernel, in_kernel, out_kernel, bias, bias),
        grid=(len(x) // clips, hidden // BLOCK, 2),
        in_specs=[specs[name] for name in inputs],
        out_shape=[jax.ShapeDtypeStruct(shapes[name], dtypes[name]) for name in shapes],
        out_specs=[specs[name] for name in shapes],
        scratch_shapes=[
            pltpu.VMEM((clips, x.shape[1], BLOCK), x.dtype),
            pltpu.VMEM((1, BLOCK), jnp.float32),
        ],
        flops=6 * x.size * hidden,
        name="swiglu_backward",
    )


@jax.custom_vjp
def swiglu(
    x: jax.Array, in_kernel: jax.Array, in_bias: jax.Array, out_kernel: jax.Array
) -> jax.Array:
    """Value and gate, value * SiLU(gate), and the second matrix: [B, T, D] -> [B, T, D].

    Args:
      x: tokens.
      in_kernel: to value and gate side by side, float32 [D, 2 F].
      in_bias: [2 F].
      out_kernel: float32 [F, D].
    """
    inputs = (x, in_kernel.astype(x.dtype), in_bias[None])
    (hidden,) = run_on_shards(_run_forward, inputs, (BATCH, jax.P(), jax.P()), [BATCH])
    return einsum("xya,ab->xyb", hidden, out_kernel)


def _forward(*inputs):
    return swiglu(*inputs), inputs


def _backward(residuals, slope):
    x, in_kernel, in_bias, out_kernel = residuals
    kernels = in_kernel.astype(x.dtype), out_kernel.astype(x.dtype)
    hidden, in_slope, bias_slope = run_on_shards(
        _run_backward,
        (x, slope, *kernels, in_bias[None]),
        (BATCH, BATCH, jax.P(), jax.P(), jax.P()),
        [BATCH, BATCH, BATCH],
    )
    return (
        einsum("xyb,ab->xya", in_slope, kernels[0]),
        einsum("xya,xyb->ab", x, in_slope, in_kernel.dtype),
        bias_slope.sum(axis=(0, 1)).astype(in_bias.dtype),
        einsum("xya,xyb->ab", hidden, slope, out_kernel.dtype),
    )


swiglu.defvjp(_forward, _backward)
