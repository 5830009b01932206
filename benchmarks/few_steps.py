"""Quality against evaluations: `python -m benchmarks.few_steps --workdir=RUN --shards=DIR …`.

    python -m benchmarks.few_steps --workdir=runs/miniav --student=runs/student --shards=SHARDS \
        --results=few_steps.json --picture=few_steps.png

Scores the test clips of each task (docs/evaluation.md) as the model samples them on each time grid
with 1 to 50 Euler steps, with each variant of guidance, with the guidance scale of one condition
changed, and as a student samples them. Scores of finished rows stay in `--results`: the same
command goes on where it stopped, and `--rows` selects rows by the start of their names.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from absl import flags

from benchmarks.claims.sampling import describe_model
from benchmarks.claims.tables import format_markdown
from vssflow_jax import bundled, conditions
from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing, write_text
from vssflow_jax.config import command_line
from vssflow_jax.evaluation import protocol
from vssflow_jax.evaluation.evaluator import Evaluator
from vssflow_jax.flow import grids
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.generation.scoring import generate_waves
from vssflow_jax.reports import plots

STEPS = (1, 2, 4, 5, 6, 7, 8, 12, 16, 25, 50)
STUDENT_STEPS = (1, 2, 4, 8, 25)
STUDENT_GRIDS = ("uniform", "sway")
SYSTEMS = {False: "teacher", True: "student"}
REFERENCE = "teacher uniform 25"
VARIANTS = {  # of guidance
    "guided to 0.5": {"guidance_stop": 0.5},
    "guided from 0.5": {"guidance_start": 0.5},
    "APG": {"apg_eta": 0.5, "apg_momentum": -0.3},
    "APG of scale 4": {"apg_eta": 0.5, "apg_momentum": -0.3, "guidance": 4.0},
    "unguided": {"guidance": 1.0, "scales": dict.fromkeys(conditions.NAMES, 1.0)},
}
VARIANT_STEPS = (4, 8, 25)
# Task and score that the scale of a condition moves. Onsets of sound alone are all found at any.
EFFECTS = {"sync": ("joint", "onset_f1"), "phonemes": ("speech", "wer")}
SMALLER_IS_BETTER = ("wer", "onset_mae_ms", "mcd", "kl", "frechet")  # and what starts so
Scales = tuple[float, float]
PICTURE_SCORES = {"speech": "wer", "sound": "onset_f1", "joint": "wer", "text": "wer"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A system that is scored.

    Attributes:
      student: whether the student samples; else the model.
      options: of its sampling.
      tasks: that are scored; empty: all.
    """

    student: bool
    options: SamplingOptions
    tasks: tuple[str, ...] = ()


def list_rows(
    has_student: bool, effect: Scales, scales: Mapping[str, float | None]
) -> Iterator[tuple[str, Row]]:
    """The names and settings of all rows, the reference first.

    Args:
      has_student: there is one.
      effect: low and high guidance scale of a single condition.
      scales: the model's own of each condition.
    """
    rows = dict(list_grids(False, grids.GRIDS, STEPS))
    yield REFERENCE, rows.pop(REFERENCE)
    yield from rows.items()
    for name, variant in VARIANTS.items():
        for steps in VARIANT_STEPS:
            options = SamplingOptions(grid="uniform", steps=steps, **variant)
            yield f"teacher {name} {steps}", Row(student=False, options=options)
    if has_student:
        yield from list_grids(True, STUDENT_GRIDS, STUDENT_STEPS)
    yield from list_effects(has_student, effect, scales)


def list_grids(
    student: bool, names: Sequence[str], steps: Sequence[int]
) -> Iterator[tuple[str, Row]]:
    """Rows of one system on each grid; of those with equal times the first.

    Args:
      student: whether the student samples.
      names: of the grids.
      steps: of each.
    """
    listed = set()
    for grid, count in itertools.product(names, steps):
        if grid == "epss" and count not in grids.EPSS:
            continue
        times = _rounded_times(grid, count)
        if times not in listed:
            listed.add(times)
            row = Row(student=student, options=SamplingOptions(grid=grid, steps=count))
            yield f"{SYSTEMS[student]} {grid} {count}", row


def list_effects(
    has_student: bool, effect: Scales, scales: Mapping[str, float | None]
) -> Iterator[tuple[str, Row]]:
    """Rows with a low and a high guidance scale of one condition; arguments as of `list_rows`.

    The student's other scales are those of the model, so that both differ in one scale alone.
    """
    for name, (task, _) in EFFECTS.items():
        for student in (False, True)[: 1 + has_student]:
            for scale in effect:
                setting = {"steps": 4} if student else {"grid": "uniform", "steps": 25}
                options = SamplingOptions(**setting, scales={**scales, name: scale})
                row = Row(student=student, options=options, tasks=(task,))
                yield f"{SYSTEMS[student]} {name}={scale:g}", row


def _rounded_times(grid: str, steps: int) -> grids.Times:
    """The times of a grid without rounding errors, to compare."""
    return tuple(round(time, 6) for time in grids.GRIDS[grid](steps))


def select_row(name: str, starts: Sequence[str]) -> bool:
    """Whether a row's name starts with one of `starts`: with "uniform 1", not "uniform 12"."""
    return any(re.match(rf"{re.escape(start)}(?!\d)", name) for start in starts)


def score_row(generator: Generator, evaluator: Evaluator, row: Row) -> dict:
    """The scores of a row by task, its evaluations, and the seconds that it generated."""
    sampling = row.options.resolve(generator.config)
    examples = {task: some for task, some in evaluator.examples.items() if some}
    if "speech" in examples:
        examples["text"] = examples["speech"]
    scores, seconds = {}, 0.0
    for task, some in examples.items():
        if row.tasks and task not in row.tasks:
            continue
        start = time.perf_counter()
        generated = generate_waves(generator, some, task, options=row.options)
        seconds += time.perf_counter() - start
        scores[task] = evaluator.score(generated.examples, generated.waves, task).summary()
    return {
        "scores": scores,
        "steps": sampling.steps,
        "passes": sampling.steps * len(sampling.branches),
        "seconds": round(seconds, 1),
        "sampling": sampling.describe(),
        "warnings": list(sampling.warnings),
    }


# ---- what the rows say --------------------------------------------------------------------


def measure_loss(scores: Mapping, reference: Mapping, name: str) -> float:
    """How much worse than the reference a score is, over the half of its 95 % interval there.

    At most 1 is within the interval, at most 2 within twice its width; 0 is no worse.
    """
    low, high = reference[f"{name}_ci95"]
    change = scores[name] - reference[name]
    is_smaller_better = name.startswith(SMALLER_IS_BETTER)
    worse = change if is_smaller_better else -change
    half = high - reference[name] if is_smaller_better else reference[name] - low
    return 0.0 if worse <= 0 else worse / half if half > 0 else float("inf")


def format_rows(rows: Mapping[str, Mapping], task: str) -> str:
    """A Markdown table of a task: scores by row, in bold outside of the reference's interval."""
    reference = rows[REFERENCE]["scores"].get(task, {})
    names = [name for name in protocol.METRICS if f"{name}_ci95" in reference]
    lines = []
    for row, values in rows.items():
        scores = values["scores"].get(task)
        if scores is None:
            continue
        cells = []
        for name in names:
            outside = measure_loss(scores, reference, name) > 1
            text = f"{scores[name]:.3f}"
            cells.append(f"**{text}**" if outside else text)
        lines.append([row, str(values["passes"]), f"{values['seconds']:.0f}", *cells])
    return format_markdown([task, "network passes", "s, all tasks", *names], lines)


def describe_effects(rows: Mapping[str, Mapping], effect: Scales) -> dict[str, dict[str, float]]:
    """By condition, how a score changes from the low to the high scale, for teacher and student."""
    out = {}
    for name, (task, score) in EFFECTS.items():
        for system in SYSTEMS.values():
            ends = [rows.get(f"{system} {name}={scale:g}") for scale in effect]
            if None not in ends:
                first, last = (end["scores"][task][score] for end in ends)
                out.setdefault(f"{task}/{score} of {name}", {})[system] = last - first
    return out


def draw_picture(rows: Mapping[str, Mapping], path: Path) -> None:
    """A curve of one score for each task's grids and student, as PNG files beside `path`."""
    for task, score in PICTURE_SCORES.items():
        series: dict[str, list[tuple[float, float]]] = {}
        for name, values in rows.items():
            label = name.rpartition(" ")[0]
            curve = label.partition(" ")[2] in grids.GRIDS
            value = values["scores"].get(task, {}).get(score)
            if curve and value is not None and value > 0:  # the axes are logarithmic
                series.setdefault(label, []).append((values["steps"], value))
        if series:
            image = plots.plot_lines(
                {label: sorted(points) for label, points in series.items()},
                ("Euler steps", f"{task}: {score}"),
                plots.LIGHT,
            )
            with replacing(path.with_stem(f"{path.stem}_{task}")) as partial:
                partial.write_bytes(image)


# ---- the command --------------------------------------------------------------------------


def read_effect() -> Scales:
    """The scales of --effect."""
    try:
        low, high = map(float, flags.FLAGS.effect)
    except ValueError:
        raise InputError(f"--effect: found {flags.FLAGS.effect}, expected two numbers") from None
    return low, high


def merge_about(before: Mapping, about: Mapping, path: Path) -> dict:
    """What the rows of a file and further ones are of; a student may join its teacher's rows.

    Args:
      before: of the rows in the file.
      about: of further ones.
      path: of the file.

    Raises:
      InputError: they differ.
    """
    models = {**about["models"], **before["models"]}
    expected = {**about, "models": {**models, **about["models"]}}
    known = {name: before.get(name) for name in about} | {"models": models}
    if known != expected:
        raise InputError(f"--results={path}: found rows of {known}, expected {expected}")
    return {**before, **expected}


def is_finished(rows: Mapping[str, Mapping], name: str, row: Row) -> bool:
    """Whether results have a row with its tasks, which are others in files of older versions."""
    return name in rows and rows[name]["scores"].keys() >= {*row.tasks}


def run_rows(
    generators: Mapping[bool, Generator], evaluator: Evaluator, path: Path, selected: Sequence[str]
) -> dict[str, dict]:
    """Scores the rows that the results do not have yet, and saves after each."""
    about = {
        "dataset": evaluator.dataset,
        "clips": flags.FLAGS.clips,
        "models": {
            SYSTEMS[student]: describe_model(
                bundled.find_workdir(flags.FLAGS["student" if student else "workdir"].value), each
            )
            for student, each in generators.items()
        },
        "precision": generators[False].dtype,
        **SamplingOptions().resolve_joint(generators[False].config).describe(),
    }
    results = json.loads(path.read_text()) if path.exists() else {"about": about, "rows": {}}
    results["about"] = merge_about(results["about"], about, path) | {
        "cores": process_pool.count_cores(),
        "date": f"{datetime.date.today()}",
        "versions": protocol.versions(),
    }
    scales = dict(generators[False].config.sample.scales)
    for name, row in list_rows(True in generators, read_effect(), scales):
        wanted = name == REFERENCE or select_row(name, selected)
        if wanted and not is_finished(results["rows"], name, row):
            results["rows"][name] = score_row(generators[row.student], evaluator, row)
            write_text(path, json.dumps(results, indent=1) + "\n")
            print(f"{name}: {results['rows'][name]['seconds']} s", flush=True)
    return results["rows"]


def main() -> None:
    """Flags in, tables out."""
    if flags.FLAGS.shards is None:
        raise InputError("expected --shards=DIR")
    precision = flags.FLAGS.precision
    generators = {False: Generator.from_workdir(flags.FLAGS.workdir, precision=precision)}
    if flags.FLAGS.student:
        generators[True] = Generator.from_workdir(flags.FLAGS.student, precision=precision)
    evaluator = Evaluator.from_shards(
        flags.FLAGS.shards,
        "test",
        flags.FLAGS.clips,
        generators[False].codec,
        recognizer=flags.FLAGS.recognizer,
        mos_names=flags.FLAGS.mos,
    )
    rows = run_rows(generators, evaluator, Path(flags.FLAGS.results), flags.FLAGS.rows)
    for task in rows[REFERENCE]["scores"]:
        print(format_rows(rows, task), end="\n\n")
    for name, systems in describe_effects(rows, read_effect()).items():
        changes = ", ".join(f"{system} {change:+.3f}" for system, change in systems.items())
        print(f"effect on {name}: {changes}")
    if flags.FLAGS.picture:
        draw_picture(rows, Path(flags.FLAGS.picture))


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    command_line.define_path("student", None, "Folder of its student.")
    command_line.define_path("shards", None, "Prepared shards.")
    flags.DEFINE_integer("clips", 32, "Test clips a task.", lower_bound=1)
    flags.DEFINE_list("rows", [""], "Rows to score, by the start of their names; default: all.")
    flags.DEFINE_list("effect", ["1", "3"], "Low and high guidance scale of a single condition.")
    flags.DEFINE_string("recognizer", "pocketsphinx", "Recognizer of words, as for evaluate.")
    flags.DEFINE_string("mos", "", "Predicted mean opinion scores, as for evaluate.")
    flags.DEFINE_string("precision", None, "Of the networks: float32, bfloat16 or auto.")
    flags.DEFINE_string("results", "few_steps.json", "File of the scores.")
    command_line.define_path("picture", None, "PNG; the task's name is added to its name.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
