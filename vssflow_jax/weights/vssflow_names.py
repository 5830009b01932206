"""The map of names between official checkpoints of the network and our parameters.

Linear weights are [out, in] there and [in, out] here; layers are separate there and stacked
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.common.safetensors_io import ArrayLike
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow
from vssflow_jax.weights.mapping import Entry, export_params, import_params

CONDITION_NAMES = {
    "clip": "cond_proj",
    "speaker": "ref_proj",
    "sync": "synch_proj",
    "lips": "lip_proj",
}
EMBEDDING_NAMES = {"phonemes": "phone_embedding"}
FROZEN = ("image_encoder.", "vae.", "vocoder.")  # published models inside official checkpoints


def _same(official: str, path: str) -> Entry:
    return Entry(official, tuple(path.split("/")), lambda a: a, lambda a: a)


def _linear(official: str, path: str) -> Entry:
    return Entry(official, tuple(path.split("/")), np.transpose, np.transpose)


def _conv(official: str, path: str) -> Entry:
    return Entry(official, tuple(path.split("/")), lambda a: a[..., 0].T, lambda a: a.T[..., None])


def _to_heads(official: str, path: str, heads: int) -> Entry:
    """[heads * h, in] -> [in, heads, h]."""
    return Entry(
        official,
        tuple(path.split("/")),
        lambda a: a.T.reshape(a.shape[1], heads, -1),
        lambda a: a.reshape(a.shape[0], -1).T,
    )


def _from_heads(official: str, path: str, heads: int) -> Entry:
    """[out, heads * h] -> [heads, h, out]."""
    return Entry(
        official,
        tuple(path.split("/")),
        lambda a: a.T.reshape(heads, -1, a.shape[0]),
        lambda a: a.reshape(-1, a.shape[-1]).T,
    )


def dit_entries(config: DiTConfig, added: bool = False) -> Iterator[Entry]:
    """The map of the velocity network alone; `added`: the speaker is added to the time token."""
    heads, kv_heads = config.heads, config.kv_heads
    yield _same("vaflow.time_proj.weight", "dit/time/frequency")
    for official, ours in (("0", "in"), ("2", "out")):
        yield _linear(f"vaflow.timestep_proj.{official}.weight", f"dit/time/{ours}/kernel")
        yield _same(f"vaflow.timestep_proj.{official}.bias", f"dit/time/{ours}/bias")
        if added:
            yield _linear(f"vaflow.global_proj.{official}.weight", f"dit/added/{ours}/kernel")
    yield _conv("vaflow.preprocess_conv.weight", "dit/before/conv/kernel")
    yield _conv("vaflow.postprocess_conv.weight", "dit/after/conv/kernel")
    yield _linear("vaflow.proj_in.weight", "dit/embed/kernel")
    yield _linear("vaflow.proj_out.weight", "dit/unembed/kernel")
    block = "vaflow.transformer_blocks.{layer}"
    for norm in ("norm1", "norm2", "norm3"):
        yield _same(f"{block}.{norm}.weight", f"dit/blocks/{norm}/scale")
        yield _same(f"{block}.{norm}.bias", f"dit/blocks/{norm}/bias")
    for official, ours in (("q", "query"), ("k", "key"), ("v", "value")):
        yield _to_heads(
            f"{block}.attn1.to_{official}.weight", f"dit/blocks/attention/{ours}/kernel", heads
        )
    yield _from_heads(f"{block}.attn1.to_out.0.weight", "dit/blocks/attention/out/kernel", heads)
    yield _to_heads(f"{block}.attn2.to_q.weight", "dit/blocks/cross/query/kernel", heads)
    keys = "context" if config.context_width else "blocks/cross"
    for official, ours in (("k", "key"), ("v", "value")):
        yield _to_heads(
            f"{block}.attn2.to_{official}.weight", f"dit/{keys}/{ours}/kernel", kv_heads
        )
    yield _from_heads(f"{block}.attn2.to_out.0.weight", "dit/blocks/cross/out/kernel", heads)
    for official, ours in (("net.0.proj", "in"), ("net.2", "out")):
        yield _linear(f"{block}.ff.{official}.weight", f"dit/blocks/feed_forward/{ours}/kernel")
        yield _same(f"{block}.ff.{official}.bias", f"dit/blocks/feed_forward/{ours}/bias")


def model_entries(model: VSSFlow) -> list[Entry]:
    """The whole map for a model's route and size."""
    route = model.conditioner_config.route
    out = list(dit_entries(model.dit_config, bool(route.added)))
    for name in route.used:
        base = f"conditioner/{name}"
        if name in EMBEDDING_NAMES:
            out.append(_same(f"{EMBEDDING_NAMES[name]}.weight", f"{base}/embedding"))
            continue
        for official, ours in (("0", "in"), ("2", "out")):
            out.append(
                _linear(f"{CONDITION_NAMES[name]}.{official}.weight", f"{base}/{ours}/kernel")
            )
    return out


def parameter_shapes(model: VSSFlow) -> dict:
    """Shapes of a model's parameters; nothing is computed."""
    route, length = model.conditioner_config.route, conditions.LATENT_RATE
    features = {}
    for condition in (conditions.BY_NAME[name] for name in route.used):
        frames = conditions.num_frames(condition.name, 1.0)
        shape = () if condition.align == conditions.TOKEN else (frames,)
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
    """Our parameters from an official state dict; see `collect`.

    The published encoders, autoencoder and vocoder that it may carry along are left out.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith(FROZEN)}
    return import_params(
        model_entries(model), model.dit_config.layers, state, parameter_shapes(model)
    )


def to_official(model: VSSFlow, params: Mapping) -> dict[str, np.ndarray]:
    """The official state dict of our parameters, as views; the inverse of `from_official`.

    Raises:
      InputError: parameters that the model's map does not hold, or the other way round.
    """
    return export_params(model_entries(model), model.dit_config.layers, params)
