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
        self, features: Mapping[str, jax.Array], keep: Mapping[str, jax.Array], length: int
    ):
        """Raw conditions -> (concat [B, L, W], context keys and values, added) for `velocity`."""
        routed = self.conditioner(features, keep, length)
        return routed.concat, self.dit.context_kv(routed.context), routed.added

    def velocity(self, x: jax.Array, t: jax.Array, conditioned) -> jax.Array:
        """Velocity of the latent: [B, L, C] at times [B] -> float32 [B, L, C]."""
        concat, context_kv, added = conditioned
        inputs = jnp.concatenate([x, concat.astype(x.dtype)], axis=-1)
        return self.dit(inputs, t, context_kv, added, x.shape[-1]).astype(jnp.float32)

    def __call__(self, x, t, features, keep) -> jax.Array:
        """Velocity of x [B, L, C] at t [B] under `features`, dropped where `keep` is 0."""
        return self.velocity(x, t, self.condition(features, keep, x.shape[1]))


def build_model(config, latent_channels: int, tensor_shards: int = 1) -> VSSFlow:
    """The model of `config.model`.

    Args:
      config: of a run.
      latent_channels: of the codec.
      tensor_shards: devices over which the heads are split, the mesh axis `tensor`.
    """
    model = config.model
    route = conditions.ROUTES[model.route]
    widths = {name: width for name, width in model.projected_widths.items() if width is not None}
    return VSSFlow(
        conditioner_config=ConditionerConfig(
            route=route,
            widths=tuple(sorted(widths.items())),
            learned_null_phonemes=model.learned_null_phonemes,
            time_aligned_sync=model.time_aligned_sync,
            dtype=config.precision.compute,
        ),
        dit_config=DiTConfig(
            channels=route.input_width(latent_channels, widths),
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
            dtype=config.precision.compute,
        ),
    )
