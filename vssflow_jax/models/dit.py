"""The velocity network: a diffusion transformer over latent frames (VSSFlow, section 3.2).

Legend: B clips, L latent frames, T = L + 1 tokens, C input channels, D width, M context
rows, Dc context width.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from vssflow_jax.conditions import NAMES
from vssflow_jax.models import layers
from vssflow_jax.models.attention import (
    AttentionConfig,
    ContextKV,
    CrossAttention,
    RowCounts,
    SelfAttention,
    pad_to_even,
)
from vssflow_jax.models.matmul import PRODUCT, Linear

# What the backward pass keeps: everything; the layers' inputs; those and the products with weights.
REMAT = {
    "none": jax.checkpoint_policies.everything_saveable,
    "layer": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),
}
STUDENT_PARTS = ("span", "scales", "guidance")  # that a student has besides its teacher's


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """Size of the network; width D is heads * head_dim.

    Attributes:
      channels: C, latent and concatenated conditions; also the output's.
      latent_channels: c, the first of them: those of the audio latent.
      context_width: Dc; 0: no cross-attention, the second attention is a self-attention.
      layers: transformer blocks.
      heads: query heads.
      kv_heads: key/value heads of the second attention.
      head_dim: channels of a head; the first half is rotated.
      time_features: Fourier features of the time token.
      mlp_ratio: hidden width of the SwiGLU as a multiple of D.
      cross_attention_rope: give cross-attention keys positions (the official network gives none).
      remat: what is recomputed in the backward pass, a key of REMAT.
      unroll: layers in one iteration of the compiled loop; more is faster on CPUs, and slower
        to compile.
      tensor_shards: devices over which the heads are split (the mesh axis `tensor`).
      dtype: of the computation; parameters are float32.
      tpu_kernels: train on TPUs with the kernels of `tpu_attention` and `tpu_feed_forward`.
      student: the network also takes the span of a step and guidance scales.
    """

    channels: int
    latent_channels: int
    context_width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    time_features: int
    mlp_ratio: int = 4
    cross_attention_rope: bool = False
    remat: str = "none"
    unroll: int = 1
    tensor_shards: int = 1
    dtype: str = "float32"
    tpu_kernels: bool = False
    student: bool = False

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        if self.remat not in REMAT:
            raise ValueError(f"remat: found {self.remat!r}, expected one of {tuple(REMAT)}")

    @property
    def width(self) -> int:
        """D."""
        return self.heads * self.head_dim

    @property
    def attentions(self) -> tuple[AttentionConfig, AttentionConfig]:
        """A block's first and second attention."""
        first = AttentionConfig(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=self.head_dim,
            tensor_shards=self.tensor_shards,
            dtype=jnp.dtype(self.dtype),
            tpu_kernels=self.tpu_kernels,
        )
        return first, dataclasses.replace(first, kv_heads=self.kv_heads)


class Block(nn.Module):
    """Self-attention, second attention, feed-forward, each pre-norm and residual.

    The context may have fewer clips than x, B' < B: it then belongs to the last ones. The first
    are unconditional: their context would be zeros, whose attention is exactly zero.
    """

    config: DiTConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,  # [B, T, D]
        context_kv,  # 2 x [B', K, M, h], or None
        counts: RowCounts | None = None,
    ):
        config = self.config
        dtype = jnp.dtype(config.dtype)
        own, cross = config.attentions

        def norm(x, name):
            return nn.LayerNorm(epsilon=layers.NORM_EPSILON, dtype=dtype, name=name)(x)

        x += SelfAttention(own, name="attention")(norm(x, "norm1"), counts)
        if context_kv is None:
            second = SelfAttention(cross, name="cross")(norm(x, "norm2"), counts)
        else:
            num_unconditional = len(x) - len(context_kv[0])
            attended = norm(x[num_unconditional:], "norm2")
            second = CrossAttention(cross, name="cross")(attended, context_kv, counts)
            second = jnp.pad(second, ((num_unconditional, 0), (0, 0), (0, 0)))
        x += second
        kernels = config.tpu_kernels and config.tensor_shards == 1
        feed_forward = layers.FeedForward(config.mlp_ratio, dtype, kernels, name="feed_forward")
        x += feed_forward(norm(x, "norm3"))
        return x, None


def stacked_context_kv(config: DiTConfig) -> nn.Module:
    """The module of the keys and values of all layers, stacked."""
    return nn.vmap(
        ContextKV,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        axis_size=config.layers,
    )(config.attentions[1], config.cross_attention_rope)


def span_token(config: DiTConfig) -> nn.Module:
    """The module of a student's token of the span, zero before training."""
    return layers.TimeToken(
        config.width, config.time_features, jnp.dtype(config.dtype), nn.initializers.zeros
    )


def guidance_heads(config: DiTConfig) -> nn.Module:
    """The module of what a student adds for each condition's guidance, zero before training."""
    return Linear(
        (len(NAMES), config.latent_channels),
        dtype=jnp.dtype(config.dtype),
        kernel_init=nn.initializers.zeros,
    )


def has_guidance_heads(network: nn.Module) -> bool:
    """Whether a network has `guidance_heads`: a student's, but not of before 2026-11-27."""
    if network.is_initializing():
        return hasattr(network, "guidance")
    return network.has_variable("params", "guidance")


def add_guidance(velocity: jax.Array, heads: jax.Array, scales: jax.Array) -> jax.Array:
    """velocity + sum_n (w_n - 1) heads_n, as guidance is linear in its scales.

    Args:
      velocity: with scales of 1, [B, L, c].
      heads: of `guidance_heads`, [B, L, N, c].
      scales: w, [B, N].
    """
    return velocity + jnp.einsum("blnc,bn->blc", heads, (scales - 1).astype(heads.dtype))


class DiT(nn.Module):
    """Velocity of the latent at time t, given the concatenated and the attended conditions.

    A student's is the guided velocity, averaged over the span from t to a later time.
    """

    config: DiTConfig

    def setup(self):
        config = self.config
        dtype = jnp.dtype(config.dtype)
        self.time = layers.TimeToken(config.width, config.time_features, dtype)
        self.added = layers.Projection(config.width, config.width, dtype)
        if config.student:
            self.span = span_token(config)
            self.scales = layers.ScaleToken(config.width, dtype)
            self.guidance = guidance_heads(config)
        self.before = layers.Pointwise(dtype)
        self.embed = Linear((config.width,), dtype=dtype)
        self.unembed = Linear((config.channels,), dtype=dtype, kernel_init=nn.initializers.zeros)
        self.after = layers.Pointwise(dtype)
        self.context = stacked_context_kv(config)
        block = Block
        if config.remat != "none":
            block = nn.remat(Block, prevent_cse=False, policy=REMAT[config.remat])
        self.blocks = nn.scan(
            block,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast),
            length=config.layers,
            unroll=config.unroll,
        )(config)

    def context_kv(self, context: jax.Array | None):
        """Keys and values of all layers, once a sample: [B, M, Dc] -> 2 x [layers, B, K, M, h].

        None for None: a route without cross-attention.
        """
        return None if context is None else self.context(context)

    def __call__(
        self,
        x: jax.Array,
        t: jax.Array,
        context_kv,
        added: jax.Array | None = None,
        channels: int | None = None,
        span: jax.Array | None = None,
        scales: jax.Array | None = None,
    ):
        """Velocity of the first `channels`: [B, L, C] -> [B, L, channels].

        Args:
          x: noisy latent, then the concatenated conditions, on channels.
          t: times in [0, 1], [B].
          context_kv: from `DiT.context_kv`, or None.
          added: [B, F] condition that is projected and added to the time token, or None.
          channels: how many of the output's channels are computed; None: all C.
          span: of a student, from t to the end of the step, [B]; None: 0.
          scales: of a student, guidance scale of each condition, [B, N]; None: 1.
        """
        token = self.time(t)  # [B, D]
        if added is not None:
            token += self.added(added)
        if self.config.student:
            token += self.span(jnp.zeros_like(t) if span is None else span)
            scales = jnp.ones((len(t), len(NAMES))) if scales is None else scales
            token += self.scales(scales)
        x = self.embed(self.before(x))  # [B, L, D]
        x = jnp.concatenate([token[:, None], x], axis=1)  # [B, T, D]
        tokens = x.shape[1]
        x, context_kv, counts = pad_to_even(x, context_kv, self.config.attentions)
        x, _ = self.blocks(x, context_kv, counts)
        frames = x[:, 1:tokens]
        velocity = self._output(frames, channels)
        if has_guidance_heads(self):
            velocity = add_guidance(velocity, self.guidance(frames), scales)
        return velocity

    def _output(self, x: jax.Array, channels: int | None) -> jax.Array:  # [B, L, D]
        """x U (1 + A), computing only the first columns of U (1 + A) = U + U A."""
        if channels is None or self.is_initializing():
            return self.after(self.unembed(x))[..., :channels]
        params = self.variables["params"]
        unembed, after = params["unembed"]["kernel"], params["after"]["conv"]["kernel"]
        folded = unembed[:, :channels] + unembed @ after[:, :channels]  # [D, channels]
        return x @ folded.astype(x.dtype)
