"""The strict map of names between official state dicts and our parameters.

The map is a table: official name, our path, and how the array is turned. Linear weights
are [out, in] there and [in, out] here; layers are separate there and stacked here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from vssflow_jax.errors import InputError
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow

CONDITION_NAMES = {
    "clip": "cond_proj",
    "speaker": "ref_proj",
    "sync": "synch_proj",
    "lips": "lip_proj",
}
EMBEDDING_NAMES = {"phonemes": "phone_embedding"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the map.

    Attributes:
      official: state-dict name; `{layer}` stands for the block's number.
      path: our path below `params`.
      ours: official array -> our array.
      theirs: our array -> official array.
    """

    official: str
    path: tuple[str, ...]
    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]

    @property
    def stacked(self) -> bool:
        """Whether our array holds all layers."""
        return "{layer}" in self.official


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


def entries(model: VSSFlow) -> list[Entry]:
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


def collect(rows: Iterable[Entry], layers: int, state: Mapping[str, np.ndarray]) -> dict:
    """Parameters by the rows of a map, every tensor of `state` used exactly once.

    Raises:
      InputError: lists missing and unknown names.
    """
    params, expected = {}, set()
    for row in rows:
        names = [row.official.format(layer=layer) for layer in range(layers if row.stacked else 1)]
        expected.update(names)
        arrays = [row.ours(np.asarray(state[name])) for name in names if name in state]
        if len(arrays) == len(names):
            _put(params, row.path, np.stack(arrays) if row.stacked else arrays[0])
    missing, unknown = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unknown:
        raise InputError(f"state dict: missing tensors {missing}, unknown tensors {unknown}")
    return params


def from_official(model: VSSFlow, state: Mapping[str, np.ndarray]) -> dict:
    """Our parameters from an official state dict; see `collect`."""
    return collect(entries(model), model.dit_config.layers, state)


def to_official(model: VSSFlow, params: Mapping) -> dict[str, np.ndarray]:
    """The official state dict of our parameters; the inverse of `from_official`."""
    state = {}
    for entry in entries(model):
        value = params
        for key in entry.path:
            value = value[key]
        value = np.asarray(value)
        if entry.stacked:
            for layer, array in enumerate(value):
                state[entry.official.format(layer=layer)] = entry.theirs(array)
        else:
            state[entry.official] = entry.theirs(value)
    return state


def _put(tree: dict, path: tuple[str, ...], value) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
