"""The duration model of a run: means of its training data, and the network of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vssflow_jax.models import duration_model
from vssflow_jax.text.durations import DurationModel
from vssflow_jax.training import checkpoint


def build_duration_model(config, params: Mapping, statistics: Mapping) -> DurationModel:
    """The duration model of a run's weights; the means alone where they have no network for it.

    Args:
      config: the run's.
      params: its weights.
      statistics: of its training data.
    """
    means, network = DurationModel.from_statistics(statistics), duration_model.build_network(config)
    if network is None or duration_model.PARAMS_KEY not in params:
        return means
    predict = duration_model.make_predictor(network, params[duration_model.PARAMS_KEY])
    return DurationModel(means, means.tokenizer, predict)


def load_duration_model(workdir: Path, statistics: Mapping) -> DurationModel:
    """The duration model that sampling from a run uses; the means alone without its weights."""
    trained = (workdir / checkpoint.FOLDER).is_dir() or (
        workdir / checkpoint.WEIGHTS_FILE
    ).is_file()
    if not trained or not (config := checkpoint.read_config(workdir)).model.duration_width:
        return DurationModel.from_statistics(statistics)
    return build_duration_model(config, checkpoint.load_weights(workdir)[0], statistics)
