"""Starting a run from the weights of another run, a conversion or a bundle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from vssflow_jax.common.errors import InputError
from vssflow_jax.models import duration_model
from vssflow_jax.models.dit import STUDENT_PARTS
from vssflow_jax.training import checkpoint
from vssflow_jax.training.state import TrainState


def find_first_weights(config) -> tuple[str, str]:
    """The field of the config that says with which weights a run begins, and its folder, or ""."""
    if config.train.task == "distill" and config.distill.init_from:
        return "distill.init_from", config.distill.init_from
    return "train.init_from", config.train.init_from


def init_from_weights(
    state: TrainState, folder: str, codec: str, field: str = "train.init_from"
) -> TrainState:
    """The first state with other weights.

    Args:
      state: the first state from the config's seed.
      folder: of the run, whose averaged weights are taken, or of a conversion or bundle. What it
        does not have of a duration model and of a student's own parts keeps its first weights.
      codec: hash of this run's codec, which must be that run's.
      field: of the config that names the folder.

    Raises:
      InputError: no weights there, of another shape, or made for another codec.
    """
    try:
        weights, step, identity = checkpoint.load_weights(folder)
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    if identity:  # published weights do not say what codec is theirs
        where = f"{field}={folder}: checkpoint {step}"
        checkpoint.check_identity(identity, {"codec": codec}, where)
    weights = _add_student_parts(_match_duration_model(weights, state.params), state.params)
    check_shapes(weights, state.params, f"{field}={folder}")
    params = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), weights, state.params)
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return state.replace(params=params, ema=ema)


def _match_duration_model(weights: dict, params: dict) -> dict:
    """`weights` with a duration model if `params` have one, and without one otherwise."""
    name = duration_model.PARAMS_KEY
    others = {key: part for key, part in weights.items() if key != name}
    return others | ({name: weights.get(name, params[name])} if name in params else {})


def _has_student_parts(weights: dict) -> bool:
    """Whether weights are those of a student."""
    return not weights.get("dit", {}).keys().isdisjoint(STUDENT_PARTS)


def _add_student_parts(weights: dict, params: dict) -> dict:
    """`weights`, where `params` are a student's, with what only a student has."""
    first = {name: params["dit"][name] for name in STUDENT_PARTS if name in params["dit"]}
    return weights | {"dit": first | weights["dit"]} if "dit" in weights else weights


def check_shapes(weights: dict, params: dict, place: str) -> None:
    """Raises an `InputError` for a student in a flow model, or the first wrong shape."""
    if _has_student_parts(weights) and not _has_student_parts(params):
        raise InputError(f"{place}: found a student, expected a flow model, such as its teacher")
    shapes, expected = (
        {path: array.shape for path, array in flatten_dict(tree, sep="/").items()}
        for tree in (weights, params)
    )
    for path in sorted(shapes.keys() | expected.keys()):
        if shapes.get(path) != expected.get(path):
            raise InputError(
                f"{place}: parameter {path}: found {shapes.get(path, 'none')}, "
                f"expected {expected.get(path, 'none')}"
            )
