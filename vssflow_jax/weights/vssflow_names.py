"""The map of names between official checkpoints of the network and our parameters."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.common.safetensors_io import ArrayLike
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow
from vssflow_jax.weights.mapping import (
    ParamEntry,
    export_params,
    import_params,
    linear_entries,
    norm_entries,
)
from vssflow_jax.weights.transforms import POINTWISE, from_heads, to_heads

CONDITION_NAMES = {
    "clip": "cond_proj",
    "speaker": "ref_proj",
    "sync": "synch_proj",
    "lips": "lip_proj",
}
EMBEDDING_NAMES = {"phonemes": "phone_embedding"}
FROZEN = ("image_encoder.", "vae.", "vocoder.")  # published models inside official checkpoints


def dit_entries(config: DiTConfig, added: bool = False) -> Iterator[ParamEntry]:
    """The map of the velocity network alone; `added`: the speaker is added to the time token."""
    yield from _outer_entries(added)
    block, heads, kv_heads = "vaflow.transformer_blocks.{layer}", config.heads, config.kv_heads
    for norm in ("norm1", "norm2", "norm3"):
        yield from norm_entries(f"{block}.{norm}", f"dit/blocks/{norm}")
    for official, ours in (("q", "query"), ("k", "key"), ("v", "value")):
        path = f"dit/blocks/attention/{ours}/kernel"
        yield ParamEntry(f"{block}.attn1.to_{official}.weight", path, to_heads(heads))
    path = "dit/blocks/attention/out/kernel"
    yield ParamEntry(f"{block}.attn1.to_out.0.weight", path, from_heads(heads))
    path = "dit/blocks/cross/query/kernel"
    yield ParamEntry(f"{block}.attn2.to_q.weight", path, to_heads(heads))
    module = "context" if config.context_width else "blocks/cross"
    for official, ours in (("k", "key"), ("v", "value")):
        path = f"dit/{module}/{ours}/kernel"
        yield ParamEntry(f"{block}.attn2.to_{official}.weight", path, to_heads(kv_heads))
    path = "dit/blocks/cross/out/kernel"
    yield ParamEntry(f"{block}.attn2.to_out.0.weight", path, from_heads(heads))
    for official, ours in (("net.0.proj", "in"), ("net.2", "out")):
        yield from linear_entries(f"{block}.ff.{official}", f"dit/blocks/feed_forward/{ours}")


def _outer_entries(added: bool) -> Iterator[ParamEntry]:
    """The map of what is before and after the transformer blocks."""
    yield ParamEntry("vaflow.time_proj.weight", "dit/time/frequency")
    for official, ours in (("0", "in"), ("2", "out")):
        yield from linear_entries(f"vaflow.timestep_proj.{official}", f"dit/time/{ours}")
        if added:
            name = f"vaflow.global_proj.{official}"
            yield from linear_entries(name, f"dit/added/{ours}", bias=False)
    yield ParamEntry("vaflow.preprocess_conv.weight", "dit/before/conv/kernel", POINTWISE)
    yield ParamEntry("vaflow.postprocess_conv.weight", "dit/after/conv/kernel", POINTWISE)
    yield from linear_entries("vaflow.proj_in", "dit/embed", bias=False)
    yield from linear_entries("vaflow.proj_out", "dit/unembed", bias=False)


def model_entries(model: VSSFlow) -> list[ParamEntry]:
    """The whole map for a model's route and size."""
    route = model.conditioner_config.route
    entries = list(dit_entries(model.dit_config, bool(route.added)))
    for name in route.used:
        path = f"conditioner/{name}"
        if name in EMBEDDING_NAMES:
            entries.append(ParamEntry(f"{EMBEDDING_NAMES[name]}.weight", f"{path}/embedding"))
            continue
        for official, ours in (("0", "in"), ("2", "out")):
            name_there = f"{CONDITION_NAMES[name]}.{official}"
            entries += linear_entries(name_there, f"{path}/{ours}", bias=False)
    return entries


@functools.cache
def parameter_shapes(model: VSSFlow) -> dict:
    """Shapes of a model's parameters; nothing is computed."""
    route, length = model.conditioner_config.route, conditions.LATENT_RATE
    features = {}
    for condition in (conditions.BY_NAME[name] for name in route.used):
        frames = conditions.num_frames(condition.name, 1.0)
        shape = () if condition.alignment == conditions.TOKEN else (frames,)
        features[condition.name] = (
            jnp.zeros((1, *shape), jnp.int32)
            if condition.ids
            else jnp.zeros((1, *shape, condition.width))
        )
    widths = dict(model.conditioner_config.widths)
    latent = model.dit_config.channels - route.input_width(0, widths)
    keep = {name: jnp.ones(1) for name in route.used}
    inputs = jnp.zeros((1, length, latent)), jnp.zeros(1), features, keep
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]


def from_official(model: VSSFlow, state: Mapping[str, ArrayLike]) -> dict:
    """Our parameters from an official state dict; see `import_params` for its errors.

    Official checkpoints may contain the published encoders, autoencoder and vocoder, too; those
    are left out.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith(FROZEN)}
    return import_params(
        model_entries(model), model.dit_config.layers, state, parameter_shapes(model)
    )


def to_official(model: VSSFlow, params: Mapping) -> dict[str, np.ndarray]:
    """The official state dict of our parameters, as views; the inverse of `from_official`.

    Raises:
      InputError: parameters that the model's map does not have, or the other way round.
    """
    return export_params(model_entries(model), model.dit_config.layers, params)
