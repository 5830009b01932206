"""Hooks of a training run that generate or score a few validation examples."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import distributed, loop, state

SAMPLES = 3  # examples that are generated while training


def write_samples(workdir: Path, config, codec, statistics, records) -> loop.Hook:
    """A hook that generates a few validation examples every `sample_every` steps."""
    every = config.train.sample_every
    rows = [records[row] for row in range(min(SAMPLES, len(records)))] if every else []

    def hook(step: int, current: state.TrainState) -> None:
        if not rows or step % every:
            return
        weights = distributed.gather_to_host(current.weights)
        if not distributed.is_main_process():
            return
        generator = Generator(config, weights, codec, statistics, step)
        for record, wave in zip(rows, generator.generate_batch(rows), strict=True):
            path = workdir / "samples" / str(step) / f"{record['meta']['id']}.wav"
            media.write_wav(path, wave, codec.sample_rate)

    return hook


def import_scoring(field: str) -> types.ModuleType:
    """The module `scoring`, which the config's `field` asks for.

    Raises:
      InputError: the packages of the extra `eval` are missing.
    """
    try:
        return importlib.import_module("vssflow_jax.generation.scoring")
    except ImportError as error:
        raise InputError(f'{field}: {error}; expected `pip install "vssflow_jax[eval]"`') from None


def evaluate_periodically(config, folder: Path, codec, statistics) -> loop.Hook:
    """A hook that scores a few validation examples, if there are any, every `evaluate_every` steps.

    Raises:
      InputError: the packages of the extra `eval` are missing.
    """
    every = config.train.evaluate_every
    if not every:
        return lambda step, current: None
    scoring = import_scoring("train.evaluate_every")
    if not len(shards.open_split(folder, "valid", with_wave=True)):
        if distributed.is_main_process():
            print(f"no validation clips with sound in {folder}: train.evaluate_every scores none")
        return lambda step, current: None
    evaluation = None
    if distributed.is_main_process():
        evaluation = scoring.PeriodicEvaluation.from_shards(folder, codec)

    def hook(step: int, current: state.TrainState) -> dict[str, float] | None:
        if step % every:
            return None
        weights = distributed.gather_to_host(current.weights)
        return evaluation and evaluation(Generator(config, weights, codec, statistics, step))

    return hook
