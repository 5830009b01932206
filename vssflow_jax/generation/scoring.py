"""A model scored on a split of its shards: its clips generated, measured, and written down."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.evaluation import evaluator, generated_folder, protocol
from vssflow_jax.evaluation.evaluator import BATCH, EMBEDDINGS, Scores, Yardstick
from vssflow_jax.evaluation.metrics import asr
from vssflow_jax.evaluation.metrics.suite import COLUMNS
from vssflow_jax.generation.generator import Generator

WATCHED = 8  # clips a task that are scored while training


@dataclasses.dataclass
class Found:
    """The clips of a task that can be scored, their waves, and who was left out and why."""

    clips: list = dataclasses.field(default_factory=list)
    waves: list = dataclasses.field(default_factory=list)
    skipped: list = dataclasses.field(default_factory=list)


def generate(generator: Generator, clips: Sequence[Mapping], task: str, **sampling) -> Found:
    """The clips that can be generated, their waves, and the skipped clips."""
    found = Found()
    for clip in clips:
        try:
            if task == "text":  # a text that cannot fit is found out here
                generator.without_video(clip)
            found.clips.append(clip)
        except (InputError, KeyError) as error:
            found.skipped.append({"id": clip["meta"]["id"], "reason": str(error)})
    if found.clips:
        found.waves += generator.batch(found.clips, task, batch_size=BATCH, **sampling)
    return found


def save_waves(folder: Path, clips: Sequence[Mapping], waves: Sequence[np.ndarray]) -> None:
    """A wav a clip, named by its id."""
    for clip, wave in zip(clips, waves, strict=True):
        media.write_wav(folder / f"{clip['meta']['id']}.wav", wave)


def describe(generator: Generator, seed: int, sampling) -> dict:
    """What a reader needs to get the same sound from the run again."""
    config = generator.config.to_json(sort_keys=True).encode()
    return {
        "checkpoint": generator.step,
        "config_hash": hashlib.sha256(config).hexdigest()[:16],
        "seed": seed,
        "solver": sampling.solver,
        "steps": sampling.steps,
        "guidance": [[list(names), scale] for names, scale in sampling.groups],
    }


def examples_csv(scored: Mapping[str, Scores]) -> str:
    """A line a clip: its scores, those of its floor and those of its ceiling."""
    out = io.StringIO()
    more = (f"{column}_{kind}" for kind in ("floor", "ceiling") for column in COLUMNS)
    writer = csv.DictWriter(out, ("task", "id", "text", *COLUMNS, *more))
    writer.writeheader()
    for task, scores in scored.items():
        writer.writerows({"task": task, **line} for line in scores.lines())
    return out.getvalue()


def table(metrics: Mapping[str, Mapping]) -> str:
    """The scores as text, a line a metric."""
    lines = [
        f"{'task':8}{'metric':24}{'score':>8}  {'95 % interval':17}{'codec':>8}{'truth':>8}",
    ]
    for task in EVALUATED_TASKS:
        scores = metrics.get(task, {})
        for name in protocol.METRICS:
            if name not in scores:
                continue
            low, high = scores.get(f"{name}_ci95", (np.nan, np.nan))
            ends = (scores.get(f"{name}_{kind}") for kind in ("floor", "ceiling"))
            ending = "".join(" " * 8 if end is None else f"{end:8.3f}" for end in ends)
            line = f"{task:8}{name:24}{scores[name]:8.3f}  {low:7.3f} to {high:7.3f}{ending}"
            lines.append(line.rstrip())
    return "\n".join(lines)


def scores_folder(workdir, generated, out) -> Path:
    """Where the scores go: `out`, else `eval` in the run's folder, else in that of the waves.

    Raises:
      InputError: the run is a model of the package, whose folder is not written to.
    """
    if not out and workdir and not Path(workdir).is_dir():
        raise InputError(f"--out: found nothing, expected a folder for the scores of {workdir}")
    return Path(out or Path(workdir or generated) / "eval")


def evaluate(
    workdir: str | Path | None = None,
    split: str = "test",
    generated: str | Path | None = None,
    clips: int = 64,
    seed: int = 0,
    solver: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    shards: str | Path | None = None,
    out: str | Path | None = None,
    recogniser: str = asr.DEFAULT,
    opinions: str = "",
    embedding: str = EMBEDDINGS[0],
) -> dict:
    """Scores a run, or a folder of waves, on a split; returns what it writes to metrics.json.

    Args:
      workdir: the run's folder; it says where the shards are and what the codec is.
      split: of the shards.
      generated: a folder of waves (metrics.submission); None: generates them here.
      clips: a task, at most.
      seed: of the noise and of nothing else.
      solver: default: the run's; so are `steps` and `guidance`.
      shards: where the clips are; None: where the run says.
      out: folder for what is written; None: `eval` in the run's folder, or in `generated`.
      recogniser: metrics.recognisers.load.
      opinions: metrics.opinion.load.
      embedding: under Fréchet distance, KL and inception score; one of yardstick.EMBEDDINGS.

    Raises:
      InputError: neither run nor shards with waves, or any of them not what it should be.
    """
    began = time.perf_counter()
    if workdir is None and (shards is None or generated is None):
        raise InputError("expected --workdir=DIR, or --shards=DATA with --generated=DIR")
    generator = None if workdir is None else Generator.from_workdir(workdir)
    folder = shards or generator.config.data.shards
    if not folder:
        raise InputError(f"--shards: found nothing, nor does {workdir} say where its clips are")
    folder, out = Path(folder), scores_folder(workdir, generated, out)
    sampling = {"seed": seed, "solver": solver, "steps": steps, "guidance": guidance}
    known: dict = {"split": split, "generated": str(generated or "by this run")}
    named: Mapping[str, Path] = {}
    if generated is not None:
        named = generated_folder.files(Path(generated))
        known["extra"] = generated_folder.extra(
            Path(generated), named, evaluator.ids(folder, split)
        )
    else:
        known |= describe(generator, seed, generator.sampling(solver, steps, guidance))
    codec = generator.codec if generator else None
    options = {"recogniser": recogniser, "opinions": opinions, "embedded": embedding}
    measure = Yardstick.make(folder, split, clips, codec, **options)
    known["dataset"] = measure.dataset
    scored: dict[str, Scores] = {}
    metrics: dict[str, dict] = {}
    tasks = {task: some for task, some in measure.clips.items() if some}
    if generated is None and measure.clips["speech"]:
        tasks["text"] = measure.clips["speech"]
    for task, some in tqdm(tasks.items(), desc="evaluate", unit="task"):
        if generated is None:
            found = generate(generator, some, task, **sampling)
        else:
            found = Found(*generated_folder.read_all(some, named))
        if generator is not None:
            save_waves(out / "generated" / task, found.clips, found.waves)
        scored[task] = measure.score(found.clips, found.waves, task)
        metrics[task] = scored[task].summary([*measure.silent.get(task, ()), *found.skipped])
    if measure.coded:
        every = [clip for some in measure.clips.values() for clip in some]
        save_waves(out / "floor", every, [measure.coded[clip["meta"]["id"]] for clip in every])
    ids = {task: [clip["meta"]["id"] for clip in s.clips] for task, s in scored.items()}
    written = protocol.describe(measure.panel, measure.fitted, ids, **known)
    metrics["run"] = {
        **known,
        **{key: written[key] for key in ("recogniser", "judges", "embedding", "versions")},
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_text(out / "examples.csv", examples_csv(scored))
    write_text(out / "protocol.json", json.dumps(written, indent=1))
    write_text(out / "metrics.json", json.dumps(metrics, indent=1))
    print(table(metrics))
    return metrics


@dataclasses.dataclass(frozen=True)
class Watch:
    """Scores of a few validation clips while a model trains; nothing is written."""

    measure: Yardstick

    @classmethod
    def make(cls, folder: Path, codec) -> Watch:
        """For the shards and the codec of a run."""
        return cls(Yardstick.make(folder, "valid", WATCHED, codec))

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Scores by `task/metric`, as they go into metrics.jsonl."""
        out = {}
        for task, clips in self.measure.clips.items():
            found = generate(generator, clips, task)
            scores = self.measure.score(found.clips, found.waves, task).summary([])
            out |= {f"{task}/{name}": scores[name] for name in protocol.METRICS if name in scores}
        return out
