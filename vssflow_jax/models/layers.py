"""Layers of the velocity network, as in the diffusion transformer of Stable Audio.

Legend: B clips, L latent frames, T = L + 1 tokens (time token first), C channels, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from vssflow_jax.models.matmul import Linear, LinearParameters
from vssflow_jax.models.tpu_feed_forward import fits_swiglu, swiglu
from vssflow_jax.models.tpu_kernels import runs_on_tpus

NORM_EPSILON = 1e-5


class TimeToken(nn.Module):
    """Time to a token: fixed Fourier features, then Linear, SiLU, Linear.

    Attributes:
      width: D.
      features: Fourier features (half of them cosines, which come first).
      out_init: of the last kernel.
    """

    width: int
    features: int
    dtype: jnp.dtype = jnp.float32
    out_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:  # [B] -> [B, D]
        draw = nn.initializers.normal(1.0)
        frequency = self.param("frequency", draw, (self.features // 2,))
        frequency = jax.lax.stop_gradient(frequency)  # never trained, as published
        angle = 2 * jnp.pi * t[:, None] * frequency
        fourier = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)

        def dense(name, **options):
            return Linear((self.width,), use_bias=True, dtype=self.dtype, name=name, **options)

        return dense("out", kernel_init=self.out_init)(nn.silu(dense("in")(fourier)))


class ScaleToken(nn.Module):
    """Guidance scales of the conditions to a token: Linear, SiLU, Linear of w - 1.

    Zero before training.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, scales: jax.Array) -> jax.Array:  # [B, N] -> [B, D]
        def dense(name, **options):
            return Linear((self.width,), use_bias=True, dtype=self.dtype, name=name, **options)

        hidden = nn.silu(dense("in")(scales - 1))
        return dense("out", kernel_init=nn.initializers.zeros)(hidden)


class Projection(nn.Module):
    """Linear, SiLU, Linear without biases, so that zeros stay zeros."""

    hidden: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [.., F] -> [.., width]
        x = Linear((self.hidden,), dtype=self.dtype, name="in")(x)
        return Linear((self.width,), dtype=self.dtype, name="out")(nn.silu(x))


class Pointwise(nn.Module):
    """A residual convolution of width 1 without bias: x + conv(x)."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, L, C]
        zeros = nn.initializers.zeros  # the identity before training
        return x + Linear(x.shape[-1:], dtype=self.dtype, kernel_init=zeros, name="conv")(x)


class FeedForward(nn.Module):
    """SwiGLU: one Linear to value and gate (in that order), value * SiLU(gate), Linear.

    Attributes:
      mlp_ratio: hidden width over D.
      dtype: of the computation.
      tpu_kernels: on TPUs, where the size fits, compute it by kernels.
    """

    mlp_ratio: int
    dtype: jnp.dtype = jnp.float32
    tpu_kernels: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        width, hidden = x.shape[-1], self.mlp_ratio * x.shape[-1]

        def dense(features, name, kind=Linear):
            return kind((features,), use_bias=True, dtype=self.dtype, name=name)

        if self.tpu_kernels and runs_on_tpus(self.dtype) and fits_swiglu(*x.shape[1:], hidden):
            in_kernel, in_bias = dense(2 * hidden, "in", LinearParameters)(x)
            out_kernel, out_bias = dense(width, "out", LinearParameters)(
                jax.ShapeDtypeStruct((hidden,), self.dtype)
            )
            return swiglu(x, in_kernel, in_bias, out_kernel) + out_bias.astype(self.dtype)
        value, gate = jnp.split(dense(2 * hidden, "in")(x), 2, axis=-1)
        return dense(width, "out")(value * nn.silu(gate))
