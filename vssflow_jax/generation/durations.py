"""How long phonemes last, as a model's weights and its training data's statistics say."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.models import duration_model
from vssflow_jax.text import phonemes
from vssflow_jax.text.durations import DurationFunction, DurationModel
from vssflow_jax.training import checkpoint

PADDED = 64  # symbols of which a text's length is made a multiple, for few compilations


def pace(config, params: Mapping, statistics: Mapping) -> DurationModel:
    """The table of the statistics, with the network that is among the weights, if there is one.

    Args:
      config: the run's.
      params: its weights.
      statistics: of the training data, as `Pace.of` takes them.
    """
    table, network = DurationModel.from_statistics(statistics), duration_model.build_network(config)
    if network is None or duration_model.PARAMS_KEY not in params:
        return table
    return DurationModel(
        table, table.tokenizer, learned(network, params[duration_model.PARAMS_KEY])
    )


def of_run(workdir: Path, statistics: Mapping) -> DurationModel:
    """The pace that sampling from a run has; the table alone where its weights are not there."""
    there = (workdir / checkpoint.FOLDER).is_dir() or (workdir / checkpoint.CONVERTED).is_file()
    if not there or not (config := checkpoint.read_config(workdir)).model.duration_width:
        return DurationModel.from_statistics(statistics)
    return pace(config, checkpoint.load_weights(workdir)[0], statistics)


def learned(network: duration_model.DurationNetwork, params) -> DurationFunction:
    """The function of symbols and voice [256] or None to seconds of each symbol."""

    def seconds(symbols: Sequence[str], voice: np.ndarray | None) -> list[float]:
        ids = phonemes.symbols_to_ids(symbols)
        count = -(-len(ids) // PADDED) * PADDED
        known = voice is not None
        heard = voice if known else np.zeros(conditions.BY_NAME["speaker"].width)
        padded = np.pad(ids, (0, count - len(ids)))
        heard, present = np.asarray(heard, np.float32), np.full(1, known, np.float32)
        frames = _frames(network, params, padded[None], heard[None], present)
        return (np.asarray(frames)[0, : len(ids)] / conditions.LATENT_RATE).tolist()

    return seconds


@functools.partial(jax.jit, static_argnums=0)
def _frames(network, params, ids, voice, present) -> jax.Array:
    """Frames of each symbol, [1, n]."""
    return jnp.exp(network.apply({"params": params}, ids, voice, present))
