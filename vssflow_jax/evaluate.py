"""Scores a run: `python -m vssflow_jax.evaluate --workdir=DIR [--generated=DIR2] --split=test`.

Writes `DIR/eval/metrics.json` (a score a task, each with its codec floor and bootstrap
interval) and `DIR/eval/examples.csv` (a line a clip).
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from vssflow_jax import errors, media
from vssflow_jax.audio.codec import there_and_back
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import wave_of
from vssflow_jax.errors import InputError
from vssflow_jax.files import write_text
from vssflow_jax.generate import Generator
from vssflow_jax.metrics import judges

TASKS = ("speech", "sound", "joint", "text")
FITTED = {"joint": 200, "sound": 80, "speech": 80}  # training clips that the judges learn from
THROUGH_CODEC = 0.3  # share of them that they hear through the codec as well
BATCH = 16
PACKAGES = ("vssflow_jax", "jax", "flax", "numpy", "scikit-learn", "pocketsphinx", "librosa")


@dataclasses.dataclass
class Found:
    """The clips of a task that can be scored, their waves, and who was left out and why."""

    clips: list = dataclasses.field(default_factory=list)
    waves: list = dataclasses.field(default_factory=list)
    skipped: list = dataclasses.field(default_factory=list)


def through_codec(codec, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waveforms encoded and decoded: what the best model with this codec could give."""
    out = []
    longest = max((len(wave) for wave in waves), default=0)
    for first in range(0, len(waves), BATCH):
        some = waves[first : first + BATCH]
        padded = np.zeros((BATCH, longest), np.float32)
        for row, wave in zip(padded, some, strict=False):
            row[: len(wave)] = wave
        decoded = np.asarray(there_and_back(codec, padded))
        out += [row[: len(wave)] for row, wave in zip(decoded, some, strict=False)]
    return out


def by_task(records, wanted: Mapping[str, int], seed: int | None = None) -> dict[str, list]:
    """Clips of each task, as many as wanted: the first, or with a `seed` any."""
    found: dict[str, list] = {task: [] for task in wanted}
    rows = (
        range(len(records))
        if seed is None
        else np.random.default_rng(seed).permutation(len(records))
    )
    for row in rows:
        if all(len(found[task]) >= count for task, count in wanted.items()):
            break
        record = records[row]
        task = record["meta"]["task"]
        if task in found and len(found[task]) < wanted[task]:
            found[task].append(record)
    return found


def fit_judges(folder: Path, codec) -> judges.Judges:
    """Judges that learned from the train split, some of it through the codec."""
    records = by_task(shards.open_split(folder, "train", with_wave=True), FITTED, seed=0)
    chosen = [record for task in FITTED for record in records[task]]
    order = np.random.default_rng(0).permutation(len(chosen))
    chosen = [chosen[row] for row in order]
    waves = [wave_of(record) for record in chosen]
    coded = chosen[: round(THROUGH_CODEC * len(chosen))]
    return judges.Judges.fit(chosen + coded, waves + through_codec(codec, waves[: len(coded)]))


def read_manifest(folder: Path) -> dict[str, str]:
    """File names by clip id of a folder that `sample --shards` wrote.

    Raises InputError for no manifest or one without the columns id and audio.
    """
    path = folder / "manifest.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"]: row["audio"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected what `sample --shards` writes") from None
    except NotADirectoryError:
        raise InputError(f"--generated={folder}: found a file, expected a folder") from None
    except KeyError as error:
        raise InputError(f"{path}: expected the columns id and audio, {error} is missing") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: found no text, expected a table with id and audio") from None


def read_generated(folder: Path, clips: Sequence[Mapping], files: Mapping[str, str]) -> Found:
    """The clips whose waves are there, those waves, and the skipped clips."""
    found = Found()
    for clip in clips:
        name = clip["meta"]["id"]
        try:
            if name not in files:
                raise InputError(f"not in {folder / 'manifest.csv'}")
            wave = media.read_audio(folder / files[name])
        except InputError as error:
            found.skipped.append({"id": name, "reason": str(error)})
        else:
            found.clips.append(clip)
            found.waves.append(wave)
    return found


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


def task_scores(rows: Sequence[Mapping], floor: Sequence[Mapping], skipped: list) -> dict:
    """The object of one task in metrics.json."""
    floors = {name: value.mean() for name, value in judges.summary(floor).items()}
    scores: dict = {"clips": len(rows), "skipped": skipped}
    for name, value in judges.summary(rows).items():
        scores[name] = value.mean()
        scores[f"{name}_ci95"] = list(value.interval())
        if name in floors:
            scores[f"{name}_floor"] = floors[name]
    return scores


def describe(generator: Generator, split: str, seed: int, sampling, source: str) -> dict:
    """The object "run": what a reader needs to get the same numbers again."""
    config = generator.config.to_json(sort_keys=True).encode()
    return {
        "checkpoint": generator.step,
        "config_hash": hashlib.sha256(config).hexdigest()[:16],
        "generated": source,
        "split": split,
        "seed": seed,
        "solver": sampling.solver,
        "steps": sampling.steps,
        "guidance": [[list(names), scale] for names, scale in sampling.groups],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def examples_csv(scored: Mapping[str, tuple]) -> str:
    """A line a clip: its scores, and those of its floor."""
    out = io.StringIO()
    columns = ("task", "id", "text", *judges.COLUMNS, *(f"{c}_floor" for c in judges.COLUMNS))
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    for task, (clips, rows, floors) in scored.items():
        for clip, row, floor in zip(clips, rows, floors, strict=True):
            meta = clip["meta"]
            named = {f"{key}_floor": value for key, value in floor.items()}
            writer.writerow(
                {"task": task, "id": meta["id"], "text": meta.get("text", ""), **row, **named}
            )
    return out.getvalue()


def table(metrics: Mapping[str, Mapping]) -> str:
    """The scores as text, a line a metric."""
    lines = [f"{'task':8}{'metric':24}{'score':>8}  {'95 % interval':17}{'floor':>8}"]
    for task in TASKS:
        for name in (n for n in metrics.get(task, {}) if f"{n}_ci95" in metrics[task]):
            scores = metrics[task]
            low, high = scores[f"{name}_ci95"]
            floor = scores.get(f"{name}_floor")
            ending = "" if floor is None else f"{floor:8.3f}"
            lines.append(f"{task:8}{name:24}{scores[name]:8.3f}  {low:7.3f} to {high:7.3f}{ending}")
    return "\n".join(lines)


def evaluate(
    workdir: str | Path,
    split: str = "test",
    generated: str | Path | None = None,
    clips: int = 64,
    seed: int = 0,
    solver: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> dict:
    """Scores a run on a split; returns what it writes to metrics.json.

    Args:
      workdir: the run's folder; it says where the shards are.
      split: of the shards.
      generated: a folder of waves with a manifest.csv; None: generates them here.
      clips: a task, at most.
      seed: of the noise and of nothing else.
      solver: default: the run's; so are `steps` and `guidance`.
    """
    began = time.perf_counter()
    workdir = Path(workdir)
    generator = Generator.from_workdir(workdir)
    used = generator.sampling(solver, steps, guidance)
    files = None if generated is None else read_manifest(Path(generated))
    folder = Path(generator.config.data.shards)
    wanted = dict.fromkeys(TASKS[:3], clips)
    records = by_task(shards.open_split(folder, split, with_wave=True), wanted)
    if files is None:
        records["text"] = records["speech"]
    fitted = fit_judges(folder, generator.codec)
    sampling = {"seed": seed, "solver": solver, "steps": steps, "guidance": guidance}
    scored, skipped, floors = {}, {}, {}
    for task in tqdm([task for task in records if records[task]], desc="evaluate", unit="task"):
        if files is None:
            found = generate(generator, records[task], task, **sampling)
        else:
            found = read_generated(Path(generated), records[task], files)
        save_waves(workdir / "eval" / "generated" / task, found.clips, found.waves)
        if task != "text":
            floors |= score_floor(workdir, generator.codec, fitted, records[task])
        rows = fitted.scores(found.clips, found.waves, timed=task != "text")
        scored[task] = (found.clips, rows, [floors[clip["meta"]["id"]] for clip in found.clips])
        skipped[task] = found.skipped
    metrics = {task: task_scores(*scored[task][1:], skipped[task]) for task in scored}
    source = "by this run" if generated is None else str(generated)
    metrics["run"] = {
        **describe(generator, split, seed, used, source),
        "judges": {
            "clips": fitted.clips,
            "onset_threshold": fitted.onsets.threshold if fitted.onsets else None,
        },
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_text(workdir / "eval" / "examples.csv", examples_csv(scored))
    write_text(workdir / "eval" / "metrics.json", json.dumps(metrics, indent=1))
    print(table(metrics))
    return metrics


def score_floor(workdir: Path, codec, fitted: judges.Judges, clips: Sequence[Mapping]) -> dict:
    """Scores by id of ground truth through the codec, whose waves are saved too."""
    again = through_codec(codec, [wave_of(clip) for clip in clips])
    save_waves(workdir / "eval" / "floor", clips, again)
    rows = fitted.scores(clips, again)
    return {clip["meta"]["id"]: row for clip, row in zip(clips, rows, strict=True)}


def save_waves(folder: Path, records: Sequence[Mapping], waves: Sequence[np.ndarray]) -> None:
    """A wav a clip, named by its id."""
    for record, wave in zip(records, waves, strict=True):
        media.write_wav(folder / f"{record['meta']['id']}.wav", wave)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string(
        "generated", None, "Folder that `sample --shards` wrote; default: generate."
    )
    flags.DEFINE_string("split", "test", "Split of the run's shards.")
    flags.DEFINE_integer("clips", 64, "Clips a task, at most.")
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    flags.DEFINE_string("solver", None, "Solver; default: the run's.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")


def main() -> None:
    """Flags in, scores out."""
    given = flags.FLAGS
    if given.workdir is None:
        raise InputError("expected --workdir=DIR")
    names = ("split", "generated", "clips", "seed", "solver", "steps", "guidance")
    evaluate(given.workdir, **{name: given[name].value for name in names})


if __name__ == "__main__":
    define_flags()
    errors.run(main)
