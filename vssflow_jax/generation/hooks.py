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
from vssflow_jax.training import checkpoint, distributed, state
from vssflow_jax.training.hook_runner import Job, Results, StepJob
from vssflow_jax.training.log import Sound, read_metrics

SAMPLES = 3  # examples that are generated while training


@dataclasses.dataclass(frozen=True, kw_only=True)
class PeriodicTask:
    """What is done with the weights while a run trains.

    Attributes:
      every: steps; 0: never.
      run: the generator of the current weights -> what goes into the log.
      is_done: whether the results of a step are there.
    """

    every: int
    run: Callable[[Generator], Results]
    is_done: Callable[[int], bool]

    def is_due(self, step: int) -> bool:
        """Whether it is to be done with the weights of a step."""
        return self.every > 0 and step % self.every == 0

    def last_due(self, step: int) -> int:
        """The newest step, up to this one, at which it was due; 0: there is none."""
        return step - step % self.every if self.every else 0


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


class PeriodicHook:
    """The hook that runs periodic tasks, all of a step with one copy of its weights.

    Its jobs are the main process's; the others hand over their parts of the weights.

    Args:
      config: the run's config.
      codec: latent to waveform.
      statistics: of the training split.
      tasks: what is done.
    """

    def __init__(self, config, codec, statistics: Mapping, tasks: Sequence[PeriodicTask]):
        self._generator, self._tasks = RunGenerator(config, codec, statistics), tasks

    def __call__(self, step: int, current: state.TrainState) -> Job | None:
        """The job of a step; None: nothing is due, or another process does it."""
        due = [task for task in self._tasks if task.is_due(step)]
        if not due:
            return None
        weights = distributed.gather_to_host(current.weights)
        is_main = distributed.is_main_process()
        return functools.partial(self._run, due, step, weights) if is_main else None

    def find_missed(self, workdir: Path, step: int, saved_steps: Sequence[int]) -> StepJob | None:
        """The newest job that was due before a run resumes, and left no results.

        Its weights are those of the checkpoint of its step; a line on stdout says where there is
        none.

        Args:
          workdir: the run's folder.
          step: from which it resumes.
          saved_steps: of its checkpoints.
        """
        for due_step in sorted({task.last_due(step) for task in self._tasks} - {0}, reverse=True):
            due = [task for task in self._tasks if task.is_due(due_step)]
            missed = [task for task in due if not task.is_done(due_step)]
            if not missed:
                continue
            if due_step not in saved_steps:
                print(
                    f"note: no samples or scores of step {due_step}: no checkpoint has its weights"
                )
                continue
            weights, *_ = checkpoint.load_weights(workdir, due_step)
            lines = [line for line in read_metrics(workdir) if line["step"] <= due_step]
            return StepJob(
                step=due_step,
                seconds=max((line.get("seconds", 0.0) for line in lines), default=0.0),
                job=functools.partial(self._run, missed, due_step, weights),
            )
        return None

    def _run(self, due: Sequence[PeriodicTask], step: int, weights) -> Results:
        results: dict[str, float | Sound] = {}
        with self._generator.use(step, weights) as generator:
            for task in due:
                results |= task.run(generator)
        return results


def sampling_task(workdir: Path, config, records: Sequence) -> PeriodicTask:
    """Generates a few validation examples every `sample_every` steps.

    Args:
      workdir: the run's folder, whose samples/ they go to, and its log.
      config: the run's config.
      records: of validation.
    """
    every = config.train.sample_every
    rows = [records[row] for row in range(min(SAMPLES, len(records)))] if every else []

    def find_path(step: int, record: Mapping) -> Path:
        return workdir / "samples" / str(step) / f"{record['meta']['id']}.wav"

    def is_done(step: int) -> bool:
        return all(find_path(step, record).exists() for record in rows)

    def write_samples(generator: Generator) -> dict[str, Sound]:
        sounds = {}
        for record, wave in zip(rows, generator.generate_batch(rows), strict=True):
            name, sample_rate = record["meta"]["id"], generator.codec.sample_rate
            media.write_wav(find_path(generator.step, record), wave, sample_rate)
            sounds[f"samples/{name}"] = Sound(wave=wave, sample_rate=sample_rate)
        return sounds

    return PeriodicTask(every=every if rows else 0, run=write_samples, is_done=is_done)


def import_scoring(field: str) -> types.ModuleType:
    """The module `scoring`, which the config's `field` asks for.

    Raises:
      InputError: the packages of the extra `eval` are missing.
    """
    try:
        return importlib.import_module("vssflow_jax.generation.scoring")
    except ImportError as error:
        raise InputError(f'{field}: {error}; expected `pip install "vssflow_jax[eval]"`') from None


def scoring_task(workdir: Path, config, folder: Path, codec) -> PeriodicTask:
    """Scores a few validation examples, if there are any, every `evaluate_every` steps.

    Args:
      workdir: the run's folder, whose log has the scores.
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

    def is_done(step: int) -> bool:
        lines = [line for line in read_metrics(workdir) if line["step"] == step]
        return any("loss" not in line for line in lines)

    return PeriodicTask(every=every, run=evaluate, is_done=is_done)
