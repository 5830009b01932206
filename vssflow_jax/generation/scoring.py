"""Scores of a run, or of a folder of sound files, on a split of shards."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.data import shards
from vssflow_jax.evaluation import generated_folder, protocol
from vssflow_jax.evaluation.evaluator import (
    BATCH_SIZE,
    EMBEDDINGS,
    Evaluator,
    TaskScores,
    example_ids,
)
from vssflow_jax.evaluation.metrics import asr
from vssflow_jax.evaluation.metrics.suite import COLUMNS
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.sampling import SamplingOptions

NO_TRAINING = (
    "{folder}: found no training clips with sound, to which the models of onsets, kinds of event "
    "and voices are fitted: scores by them are absent"
)
PERIODIC_EXAMPLES = 8  # a task that are scored while training


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What `evaluate` scores, on what, and how.

    Attributes:
      workdir: the run's folder; it says where the shards are and has the codec.
      generated: a folder of sound files (evaluation.generated_folder); None: the run generates.
      shards: folder of the ground truth; None: the run's.
      out: folder for the scores; None: `eval` in the run's folder, or in `generated`.
      split: of the shards.
      clips: examples a task, at most.
      seed: of the noise alone.
      solver: None: the run's, as for `steps`, `grid` and `guidance`.
      steps: of the solver.
      grid: of its times.
      guidance: guidance scale.
      scales: of single conditions, in its place (`SamplingOptions`).
      joint: how speech is generated beside other sound, as `speech_level`, `sound_level` and
        `speech_audibility` (`SamplingOptions`); None: the run's.
      precision: of the network's computation; None: the run's.
      recognizer: a name that `asr.load` knows.
      open_recognizer: a second one, whose scores end in `_open`; None: none.
      mos: names that `mos.load` knows; "": none.
      embedding: one of `evaluator.EMBEDDINGS`.
      measures: some of `measures.NAMES`.
      videos: manifest of the shards, whose videos the measure `lse` reads; None: none.
    """

    workdir: str | Path | None = None
    generated: str | Path | None = None
    shards: str | Path | None = None
    out: str | Path | None = None
    split: str = "test"
    clips: int = 64
    seed: int = 0
    solver: str | None = None
    steps: int | None = None
    grid: str | None = None
    guidance: float | None = None
    scales: Mapping[str, float] | None = None
    joint: str | None = None
    speech_level: float | None = None
    sound_level: float | None = None
    speech_audibility: float | None = None
    precision: str | None = None
    recognizer: str = asr.DEFAULT
    open_recognizer: str | None = None
    mos: str = ""
    embedding: str = EMBEDDINGS[0]
    measures: Sequence[str] = ()
    videos: str | Path | None = None


class Waves(NamedTuple):
    """Examples of a task that can be scored, their waves, and those left out with reasons."""

    examples: Sequence[Mapping]
    waves: Sequence[np.ndarray]
    skipped: Sequence[Mapping]
    sample_rate: int


class RunSystem:
    """A run that is evaluated: generates the waves.

    Args:
      generator: of the run.
      options: of the evaluation: an `EvaluationOptions`, or others with a seed.
    """

    def __init__(self, generator: Generator, options):
        self.generator, self.seed = generator, options.seed
        self.options = SamplingOptions.select(options)

    def describe(self) -> dict:
        """What reproduces the waves, for metrics.json."""
        config = self.generator.config.to_json(sort_keys=True).encode()
        sampling = self.options.resolve(self.generator.config)
        warnings = {"warnings": list(sampling.warnings)} if sampling.warnings else {}
        return {
            "generated": "by this run",
            "checkpoint": self.generator.step,
            "config_hash": hashlib.sha256(config).hexdigest()[:16],
            "seed": self.seed,
            "precision": self.generator.dtype,
            **sampling.describe(),
            **self.options.resolve_joint(self.generator.config).describe(),
            **warnings,
        }

    def tasks(self, examples: Mapping[str, list]) -> dict[str, list]:
        """The examples by evaluated task: "text" is speech without video."""
        return dict(examples) | {"text": examples["speech"]}

    def waves(self, examples: Sequence[Mapping], task: str) -> Waves:
        """Generated waves of a task's examples."""
        return generate_waves(self.generator, examples, task, self.seed, self.options)


class FolderSystem:
    """A folder of sound files that is evaluated.

    Args:
      folder: of the files.
      ids: of all examples of the split.
      sample_rate: to read them at.
    """

    def __init__(self, folder: Path, ids: Sequence[str], sample_rate: int):
        self.folder, self.ids, self.sample_rate = folder, ids, sample_rate
        self.files = generated_folder.find_files(folder)

    def describe(self) -> dict:
        """Where the waves are from, for metrics.json."""
        extra = generated_folder.extra_files(self.folder, self.files, self.ids)
        return {"generated": str(self.folder), "extra": extra}

    def tasks(self, examples: Mapping[str, list]) -> dict[str, list]:
        """The examples by task."""
        return dict(examples)

    def waves(self, examples: Sequence[Mapping], task: str) -> Waves:
        """Waves read for a task's examples."""
        waves = generated_folder.read_waves(examples, self.files, self.sample_rate)
        return Waves(*waves, self.sample_rate)


def generate_waves(
    generator: Generator,
    examples: Sequence[Mapping],
    task: str,
    seed: int = 0,
    options: SamplingOptions | None = None,
) -> Waves:
    """Generates the waves of a task's examples; texts that do not fit are skipped."""
    kept, records, skipped = [], [], []
    for example in examples:
        try:
            records.append(generator.remove_video(example) if task == "text" else example)
            kept.append(example)
        except (InputError, KeyError) as error:
            skipped.append({"id": example["meta"]["id"], "reason": str(error)})
    waves = []
    if kept:
        waves = generator.generate_batch(records, seed=seed, options=options, batch_size=BATCH_SIZE)
    return Waves(kept, waves, skipped, generator.codec.sample_rate)


def evaluate(options: EvaluationOptions) -> dict:
    """Scores a run, or a folder of waves, on a split; returns what it writes to metrics.json.

    Raises:
      InputError: neither a run nor shards with waves, or one of them is not usable.
    """
    started = time.perf_counter()
    if options.workdir is None and (options.shards is None or options.generated is None):
        raise InputError("expected --workdir=DIR, or --shards=DATA with --generated=DIR")
    generator = None
    if options.workdir is not None:
        generator = Generator.from_workdir(options.workdir, precision=options.precision)
    folder = options.shards or generator.config.data.shards
    if not folder:
        raise InputError(
            f"--shards: found nothing, nor does {options.workdir} say where its clips are"
        )
    out = scores_folder(options)
    if options.generated is None:
        generator.check_shards(folder)
        system = RunSystem(generator, options)
    else:
        ids = example_ids(folder, options.split)
        audio = shards.read_audio_format(shards.load_dataset_info(folder))
        system = FolderSystem(to_path(options.generated), ids, audio.sample_rate)
    facts = {"split": options.split, **system.describe()}
    evaluator = Evaluator.from_shards(
        folder,
        options.split,
        options.clips,
        generator and generator.codec,
        recognizer=options.recognizer,
        open_recognizer=options.open_recognizer,
        mos_names=options.mos,
        embedding_name=options.embedding,
        measure_names=options.measures,
        videos=options.videos,
    )
    facts["dataset"] = evaluator.dataset
    if not evaluator.training_data["clips"]:
        facts["warnings"] = [*facts.get("warnings", ()), NO_TRAINING.format(folder=folder)]
    saved = None if generator is None else out
    scores, metrics = score_tasks(evaluator, system, saved)
    if evaluator.reconstructions:
        examples = [example for some in evaluator.examples.values() for example in some]
        waves = [evaluator.reconstructions[example["meta"]["id"]] for example in examples]
        save_waves(out / "floor", examples, waves, evaluator.audio.sample_rate)
    ids = {task: [e["meta"]["id"] for e in some.examples] for task, some in scores.items()}
    procedure = protocol.describe(evaluator.suite, evaluator.training_data, ids, facts)
    keys = (
        "recognizer", "open_recognizer", "reference_models", "embedding", "measures", "versions",
    )  # fmt: skip
    metrics["run"] = facts | {key: procedure[key] for key in keys if key in procedure}
    metrics["run"]["seconds"] = round(time.perf_counter() - started, 1)
    write_text(out / "examples.csv", examples_csv(scores))
    write_text(out / "protocol.json", json.dumps(procedure, indent=1))
    write_text(out / "metrics.json", json.dumps(metrics, indent=1))
    print(score_table({task: metrics[task] for task in EVALUATED_TASKS if task in metrics}))
    return metrics


def score_tasks(
    evaluator: Evaluator, system: RunSystem | FolderSystem, saved: Path | None
) -> tuple[dict[str, TaskScores], dict[str, dict]]:
    """Scores of each task's examples, and the tasks' objects in metrics.json.

    Args:
      evaluator: the evaluator.
      system: what is scored.
      saved: folder for the waves; None: they are not saved.
    """
    scores, metrics = {}, {}
    tasks = {task: some for task, some in system.tasks(evaluator.examples).items() if some}
    for task, examples in tqdm(tasks.items(), desc="evaluate", unit="task"):
        generated = system.waves(examples, task)
        if saved is not None:
            save_waves(saved / "generated" / task, *generated[:2], generated.sample_rate)
        scores[task] = evaluator.score(*generated[:2], task, generated.sample_rate)
        skipped = [*evaluator.without_sound.get(task, ()), *generated.skipped]
        metrics[task] = scores[task].summary(skipped)
    return scores, metrics


def scores_folder(options: EvaluationOptions) -> Path:
    """Where the scores go.

    Raises:
      InputError: the run is a bundled model, whose folder is not written to.
    """
    if not options.out and options.workdir and not to_path(options.workdir).is_dir():
        raise InputError(
            f"--out: found nothing, expected a folder for the scores of {options.workdir}"
        )
    return to_path(options.out or to_path(options.workdir or options.generated) / "eval")


def save_waves(
    folder: Path, examples: Sequence[Mapping], waves: Sequence[np.ndarray], sample_rate: int
) -> None:
    """Writes a wav an example, named by its id."""
    for example, wave in zip(examples, waves, strict=True):
        media.write_wav(folder / f"{example['meta']['id']}.wav", wave, sample_rate)


def examples_csv(scores: Mapping[str, TaskScores]) -> str:
    """A row an example: its scores, those of its floor and those of its ceiling."""
    out = io.StringIO()
    bounds = (f"{column}_{kind}" for kind in ("floor", "ceiling") for column in COLUMNS)
    writer = csv.DictWriter(out, ("task", "id", "text", *COLUMNS, *bounds))
    writer.writeheader()
    for task, some in scores.items():
        writer.writerows({"task": task, **row} for row in some.rows())
    return out.getvalue()


def score_table(scores: Mapping[str, Mapping]) -> str:
    """Scores by task, or by another name, as text, a line a metric."""
    width = max(map(len, scores), default=0) + 2
    lines = [
        f"{'':{width}}{'metric':26}{'score':>8}  {'95 % interval':17}{'codec':>8}{'truth':>8}",
    ]
    for label, some in scores.items():
        for name in (name for name in protocol.METRICS if name in some):
            low, high = some.get(f"{name}_ci95", (np.nan, np.nan))
            bounds = (some.get(f"{name}_{kind}") for kind in ("floor", "ceiling"))
            ending = "".join(" " * 8 if bound is None else f"{bound:8.3f}" for bound in bounds)
            line = f"{label:{width}}{name:26}{some[name]:8.3f}  {low:7.3f} to {high:7.3f}{ending}"
            lines.append(line.rstrip())
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class PeriodicEvaluation:
    """Scores of a few validation examples while a model trains; nothing is written."""

    evaluator: Evaluator

    @classmethod
    def from_shards(cls, folder: Path, codec) -> PeriodicEvaluation:
        """The evaluation on the shards of a run, with its codec."""
        return cls(Evaluator.from_shards(folder, "valid", PERIODIC_EXAMPLES, codec))

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Scores by `task/metric`, as metrics.jsonl has them."""
        out = {}
        for task, examples in self.evaluator.examples.items():
            generated = generate_waves(generator, examples, task)
            scores = self.evaluator.score(*generated[:2], task, generated.sample_rate).summary()
            out |= {f"{task}/{name}": scores[name] for name in protocol.METRICS if name in scores}
        return out
