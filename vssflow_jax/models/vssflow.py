"""The whole model: conditioner and velocity network, built from a config."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from vssflow_jax import conditions
from vssflow_jax.models.conditioner import Conditioner, ConditionerConfig
from vssflow_jax.models.dit import DiT, DiTConfig


class VSSFlow(nn.Module):
    """Velocity of the audio latent from raw conditions.

    Sampling applies `condition` once a sample and `velocity` at every solver step; training
    applies both by `__call__`.
    """

    conditioner_config: ConditionerConfig
    dit_config: DiTConfig

    def setup(self):
        self.conditioner = Conditioner(self.conditioner_config)
        self.dit = DiT(self.dit_config)

    def condition(
        self,
        features: Mapping[str, jax.Array],
        keep: Mapping[str, jax.Array],
        length: int,
        scales: jax.Array | None = None,
    ):
        """Raw conditions -> (concat [B, L, W], context keys and values, added, scales).

        Args:
          features: raw conditions.
          keep: 1 keeps a condition, 0 drops it; for all three see `Conditioner.project`.
          length: L.
          scales: of a student, guidance scale of each condition, [B, N]; None: 1.
        """
        routed = self.conditioner(features, keep, length)
        if scales is not None:
            scales = mask_scales(scales, keep)
        return routed.concat, self.dit.context_kv(routed.context), routed.added, scales

    def velocity(
        self, x: jax.Array, t: jax.Array, conditioned, span: jax.Array | None = None
    ) -> jax.Array:
        """Velocity of the latent: [B, L, C] at times [B] -> float32 [B, L, C].

        A student's is the mean one over a span [B]; None: 0.
        """
        concat, context_kv, added, scales = conditioned
        inputs = jnp.concatenate([x, concat.astype(x.dtype)], axis=-1)
        velocity = self.dit(inputs, t, context_kv, added, x.shape[-1], span, scales)
        return velocity.astype(jnp.float32)

    def __call__(self, x, t, features, keep, span=None, scales=None) -> jax.Array:
        """Velocity of x [B, L, C] at t [B] under `features`, dropped where `keep` is 0."""
        return self.velocity(x, t, self.condition(features, keep, x.shape[1], scales), span)


def mask_scales(scales: jax.Array, keep: Mapping[str, jax.Array]) -> jax.Array:
    """Guidance scales [B, N], 1 for absent conditions, on which guidance has no effect.

    Args:
      scales: in the order of `conditions.NAMES`.
      keep: [B] or [B, L] by name, 0 for an absent condition.
    """
    present = [jnp.max(keep[name].reshape(len(scales), -1), axis=1) for name in conditions.NAMES]
    return jnp.where(jnp.stack(present, axis=1) > 0, scales, 1.0)


def is_student(config) -> bool:
    """Whether the network of a run takes the span of a step and guidance scales."""
    return config.train.task == "distill"


def build_model(
    config,
    latent_channels: int,
    tensor_shards: int = 1,
    *,
    student: bool | None = None,
    dtype: str | None = None,
) -> VSSFlow:
    """The model of `config.model`.

    Args:
      config: of a run.
      latent_channels: of the codec.
      tensor_shards: devices over which the heads are split, the mesh axis `tensor`.
      student: whether it takes span and scales; None: as the run that the config is of.
      dtype: of the computation; None: `precision.compute`.
    """
    model = config.model
    dtype = config.precision.compute if dtype is None else dtype
    route = conditions.ROUTES[model.route]
    widths = {name: width for name, width in model.projected_widths.items() if width is not None}
    return VSSFlow(
        conditioner_config=ConditionerConfig(
            route=route,
            widths=tuple(sorted(widths.items())),
            learned_null_phonemes=model.learned_null_phonemes,
            time_aligned_sync=model.time_aligned_sync,
            dtype=dtype,
        ),
        dit_config=DiTConfig(
            channels=route.input_width(latent_channels, widths),
            latent_channels=latent_channels,
            context_width=route.context_width(widths),
            layers=model.layers,
            heads=model.heads,
            kv_heads=model.kv_heads,
            head_dim=model.head_dim,
            time_features=model.time_features,
            mlp_ratio=model.mlp_ratio,
            cross_attention_rope=model.cross_attention_rope,
            remat=model.remat,
            unroll=model.unroll,
            tensor_shards=tensor_shards,
            dtype=dtype,
            tpu_kernels=model.tpu_kernels,
            student=is_student(config) if student is None else student,
        ),
    )
