"""The strict map of names between official state dicts and our parameters.

The map is a table: official name, our path, and how the array is turned. Linear weights
are [out, in] there and [in, out] here; layers are separate there and stacked here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.arrays import ArrayLike, check, flatten, listed, nest
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
FROZEN = ("image_encoder.", "vae.", "vocoder.")  # published models inside official checkpoints


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

    def names(self, layers: int) -> list[str]:
        """Official names that this row stands for."""
        return [self.official.format(layer=layer) for layer in range(layers if self.stacked else 1)]


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


def collect(
    rows: Iterable[Entry],
    layers: int,
    state: Mapping[str, ArrayLike],
    like: Mapping | None = None,
) -> dict:
    """Parameters by the rows of a map, every tensor of `state` used exactly once.

    Args:
      rows: of the map.
      layers: what `{layer}` counts to.
      state: official tensors; they are read one at a time.
      like: our parameters' shapes, which the tensors must fit; None: whatever they have.

    Raises:
      InputError: lists missing and unknown names; names tensors of another shape or type, or
        with a number in it that is not finite.
    """
    rows = list(rows)
    if like is None:
        expected = {name: None for row in rows for name in row.names(layers)}
    else:
        expected = official_shapes(rows, layers, flatten(like))
    check(state, expected, "state dict")
    return nest({"/".join(row.path): _gathered(row, layers, state) for row in rows})


def official_shapes(
    rows: Iterable[Entry], layers: int, flat: Mapping[str, ArrayLike]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the official tensors that go with our arrays (or their shapes) by path."""
    shapes = {}
    for row in rows:
        ours = flat["/".join(row.path)].shape
        stand_in = np.broadcast_to(np.float32(0), ours[1:] if row.stacked else ours)
        shapes |= dict.fromkeys(row.names(layers), row.theirs(stand_in).shape)
    return shapes


def _gathered(row: Entry, layers: int, state: Mapping[str, ArrayLike]) -> np.ndarray:
    """Our array of a row; layers are read one at a time into their place."""
    if not row.stacked:
        return np.ascontiguousarray(row.ours(_finite(row.official, state)))
    for layer, name in enumerate(row.names(layers)):
        array = row.ours(_finite(name, state))
        if not layer:
            out = np.empty((layers, *array.shape), array.dtype)
        out[layer] = array
    return out


def _finite(name: str, state: Mapping[str, ArrayLike]) -> np.ndarray:
    array = np.asarray(state[name])
    if not np.isfinite(array).all():
        raise InputError(f"state dict: tensor {name} has NaN or infinity in it")
    return array


def parameter_shapes(model: VSSFlow) -> dict:
    """Shapes of a model's parameters; nothing is computed."""
    route, length = model.conditioner_config.route, conditions.LATENT_RATE
    features = {}
    for condition in (conditions.BY_NAME[name] for name in route.used):
        frames = conditions.frames(condition.name, 1.0)
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
    return collect(entries(model), model.dit_config.layers, state, parameter_shapes(model))


def to_official(model: VSSFlow, params: Mapping) -> dict[str, np.ndarray]:
    """The official state dict of our parameters, as views; the inverse of `from_official`.

    Raises:
      InputError: parameters that the model's map does not hold, or the other way round.
    """
    rows, flat, state = entries(model), flatten(params), {}
    paths = {"/".join(row.path): row for row in rows}
    if set(paths) != set(flat):
        raise InputError(
            f"parameters: missing {listed(sorted(set(paths) - set(flat)))}, "
            f"without an official name {listed(sorted(set(flat) - set(paths)))}"
        )
    for path, row in paths.items():
        value = np.asarray(flat[path])
        for name, array in zip(
            row.names(model.dit_config.layers), value if row.stacked else [value], strict=True
        ):
            state[name] = row.theirs(array)
    return state
