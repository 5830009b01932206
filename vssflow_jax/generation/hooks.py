"""Hooks of a training run that generate or score a few validation examples."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import distributed, state
from vssflow_jax.training.hook_runner import Hook, Job, Results
from vssflow_jax.training.log import Sound

SAMPLES = 3  # examples that are generated while training


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeriodicTask:
    """What is done with the weights while a run trains.

    Attributes:
      every: steps; 0: never.
      run: the generator of the current weights -> what goes into the log.
    """

    every: int
    run: Callable[[Generator], Results]


class RunGenerator:
    """The generator of a run that is training, compiled once for all steps.

    Args:
      config: the run's config.
      codec: latent to waveform.
      statistics: of the training split.
    """

    def __init__(self, config, codec, statistics: Mapping):
        self._arguments = (codec, statistics)
        self._config, self._generator = config, None

    @contextlib.contextmanager
    def use(self, step: int, weights) -> Iterator[Generator]:
        """A block with the weights of a step; between blocks the generator holds none."""
        if self._generator is None:
            self._generator = Generator(self._config, weights, *self._arguments, step)
        else:
            self._generator.params, self._generator.step = weights, step
        try:
            yield self._generator
        finally:
            self._generator.release_weights()


def make_hook(config, codec, statistics: Mapping, tasks: Sequence[PeriodicTask]) -> Hook:
    """The hook that runs periodic tasks, all of a step with one copy of its weights.

    Its jobs are the main process's; the others hand over their parts of the weights.
    """
    run_generator = RunGenerator(config, codec, statistics)

    def run(due: Sequence[PeriodicTask], step: int, weights) -> Results:
        results: dict[str, float | Sound] = {}
        with run_generator.use(step, weights) as generator:
            for task in due:
                results |= task.run(generator)
        return results

    def hook(step: int, current: state.TrainState) -> Job | None:
        due = [task for task in tasks if task.every and step % task.every == 0]
        if not due:
            return None
        weights = distributed.gather_to_host(current.weights)
        return functools.partial(run, due, step, weights) if distributed.is_main_process() else None

    return hook


def sampling_task(workdir: Path, config, records: Sequence) -> PeriodicTask:
    """Generates a few validation examples every `sample_every` steps.

    Args:
      workdir: the run's folder, whose samples/ they go to, and its log.
      config: the run's config.
      records: of validation.
    """
    every = config.train.sample_every
    rows = [records[row] for row in range(min(SAMPLES, len(records)))] if every else []

    def write_samples(generator: Generator) -> dict[str, Sound]:
        sounds = {}
        for record, wave in zip(rows, generator.generate_batch(rows), strict=True):
            name, sample_rate = record["meta"]["id"], generator.codec.sample_rate
            path = workdir / "samples" / str(generator.step) / f"{name}.wav"
            media.write_wav(path, wave, sample_rate)
            sounds[f"samples/{name}"] = Sound(wave=wave, sample_rate=sample_rate)
        return sounds

    return PeriodicTask(every=every if rows else 0, run=write_samples)


def import_scoring(field: str) -> types.ModuleType:
    """The module `scoring`, which the config's `field` asks for.

    Raises:
      InputError: the packages of the extra `eval` are missing.
    """
    try:
        return importlib.import_module("vssflow_jax.generation.scoring")
    except ImportError as error:
        raise InputError(f'{field}: {error}; expected `pip install "vssflow_jax[eval]"`') from None


def scoring_task(config, folder: Path, codec) -> PeriodicTask:
    """Scores a few validation examples, if there are any, every `evaluate_every` steps.

    Args:
      config: the run's config.
      folder: of the shards.
      codec: of the run.

    Raises:
      InputError: the packages of the extra `eval` are missing.
    """
    every, evaluate = config.train.evaluate_every, lambda generator: {}
    if every:
        scoring = import_scoring("train.evaluate_every")
        main = distributed.is_main_process()
        if not len(shards.open_split(folder, "valid", with_wave=True)):
            every = 0
            if main:
                print(
                    f"no validation clips with sound in {folder}: train.evaluate_every scores none"
                )
        elif main:
            evaluate = scoring.PeriodicEvaluation.from_shards(folder, codec)
    return PeriodicTask(every=every, run=evaluate)
