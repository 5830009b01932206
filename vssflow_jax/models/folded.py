"""The network for sampling: the same function, with its constant parts computed once.

Between two solver steps only the latent and the time change. So consecutive linear maps are
folded into one, the conditions' share of the input and the keys and values of the cross-attention
are computed once a sample, the layers' weights are separate arrays (a scan would copy them at
every step), and the cross-attention of clips without context, exactly zero, is left out.

Legend as in models.dit; c latent channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.models import layers
from vssflow_jax.models.conditioner import Conditioner, ConditionerConfig
from vssflow_jax.models.dit import (
    Block,
    DiTConfig,
    add_guidance,
    guidance_heads,
    has_guidance_heads,
    span_token,
    stacked_context_kv,
)
from vssflow_jax.models.matmul import Linear
from vssflow_jax.models.vssflow import VSSFlow, mask_scales

COPIED = ("time", "added", "span", "scales", "guidance", "context")  # parts that stay as they are


class FoldedNetwork(nn.Module):
    """Velocity of the audio latent; `fold_params` makes its parameters from the model's."""

    conditioner_config: ConditionerConfig
    dit_config: DiTConfig

    def setup(self):
        config = self.dit_config
        dtype = jnp.dtype(config.dtype)
        self.conditioner = Conditioner(self.conditioner_config)
        self.time = layers.TimeToken(config.width, config.time_features, dtype)
        self.added = layers.Projection(config.width, config.width, dtype)
        if config.student:
            self.span = span_token(config)
            self.scales = layers.ScaleToken(config.width, dtype)
            self.guidance = guidance_heads(config)
        zeros = nn.initializers.zeros  # works for a route without concatenated conditions
        self.start = Linear((config.width,), dtype=dtype, kernel_init=zeros)
        self.embed = Linear((config.width,), dtype=dtype)
        self.unembed = Linear((config.latent_channels,), dtype=dtype)
        self.context = stacked_context_kv(config)
        self.blocks = [Block(config, name=f"block_{i}") for i in range(config.layers)]

    def condition(
        self,
        features: Mapping[str, jax.Array],
        keep: Mapping[str, jax.Array],
        length: int,
        num_unconditional: int = 0,
        scales: jax.Array | None = None,
    ):
        """Raw conditions -> (input share [B, L, D], context keys and values, added [B, D], scales).

        Of a student, the token of its guidance scales is part of `added`; scales of a flow model
        are None.

        Args:
          features: raw conditions.
          keep: 1 keeps a condition, 0 drops it; for all three see `Conditioner.project`.
          length: L.
          num_unconditional: how many of the first clips have a context of zeros; no keys and
            values are computed for them.
          scales: of a student, guidance scale of each condition, [B, N].
        """
        routed = self.conditioner(features, keep, length)
        context_kv = None
        if routed.context is not None:
            context_kv = self.context(routed.context[num_unconditional:])
        added = None if routed.added is None else self.added(routed.added)
        if self.dit_config.student:
            scales = mask_scales(scales, keep)
            token = self.scales(scales)
            added = token if added is None else added + token
        return self.start(routed.concat), context_kv, added, scales

    def velocity(
        self, x: jax.Array, t: jax.Array, conditioned, span: jax.Array | None = None
    ) -> jax.Array:
        """Velocity of the latent: [B, L, c] at times [B] -> float32 [B, L, c].

        A student's is the mean one over a span [B].
        """
        start, context_kv, added, scales = conditioned
        token = self.time(t)  # [B, D]
        if added is not None:
            token += added
        if self.dit_config.student:
            token += self.span(span)
        x = self.embed(x) + start  # [B, L, D]
        x = jnp.concatenate([token[:, None], x], axis=1)  # [B, T, D]
        for layer, block in enumerate(self.blocks):
            x, _ = block(x, jax.tree.map(lambda array, layer=layer: array[layer], context_kv))
        velocity = self.unembed(x[:, 1:])
        if has_guidance_heads(self):
            velocity = add_guidance(velocity, self.guidance(x[:, 1:]), scales)
        return velocity.astype(jnp.float32)


def folded_network(model: VSSFlow) -> FoldedNetwork:
    """The network that computes `model.velocity` from parameters of `fold_params`."""
    return FoldedNetwork(model.conditioner_config, model.dit_config)


def count_unconditional(model: VSSFlow, branches: Sequence[Sequence[str]]) -> int:
    """How many of the first guidance branches, lists of conditions, have a context of zeros.

    The last branch never counts.
    """
    config = model.conditioner_config
    attended = {*config.route.token, *config.route.cross}
    if config.learned_null_phonemes and any(conditions.BY_NAME[name].ids for name in attended):
        return 0  # the row of dropped phonemes is not zeros
    without = itertools.takewhile(lambda names: not attended & set(names), branches)
    return min(len(list(without)), len(branches) - 1)


def fold_params(model: VSSFlow, params: Mapping) -> dict:
    """Parameters of `model` -> those of its `FoldedNetwork`, on the default device.

    Kernels of the layers are cast to the type of the computation. On a CPU, if that is float32,
    the layers are views of the stacked arrays: no second copy of the weights is made.
    """
    config = model.dit_config
    dit, channels = params["dit"], config.latent_channels
    before, after = (dit[name]["conv"]["kernel"] for name in ("before", "after"))
    embed, unembed = dit["embed"]["kernel"], dit["unembed"]["kernel"]

    def inputs(part):  # (1 + W) E for some input channels
        return {"kernel": jnp.asarray(embed[part] + before[part] @ embed)}

    folded = {
        **{name: dit[name] for name in COPIED if name in dit},
        "conditioner": params["conditioner"],
        "embed": inputs(slice(0, channels)),
        "start": inputs(slice(channels, None)),
        "unembed": {"kernel": jnp.asarray(unembed[:, :channels] + unembed @ after[:, :channels])},
    }
    dtype, stacked = jnp.dtype(config.dtype), jax.tree.map(_sliceable, dit["blocks"])
    for layer in range(config.layers):
        folded[f"block_{layer}"] = jax.tree_util.tree_map_with_path(
            lambda path, leaf, layer=layer: _layer(path, leaf[layer], dtype), stacked
        )
    return jax.device_put(folded)


def _sliceable(leaf):
    """A NumPy view of an array on one CPU device; any other array unchanged."""
    if isinstance(leaf, jax.Array) and (len(leaf.devices()) > 1 or jax.default_backend() != "cpu"):
        return leaf
    return np.asarray(leaf)


def _layer(path, leaf, dtype) -> jax.Array:
    leaf = jax.device_put(leaf)
    return leaf.astype(dtype) if path[-1].key == "kernel" else leaf
