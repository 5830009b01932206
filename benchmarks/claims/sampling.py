"""Samplings of one trained model: `python -m benchmarks.claims.sampling --workdir=RUN …`.

    python -m benchmarks.claims.sampling --workdir=miniav --shards=SHARDS

It compares phoneme times with and without lips, guidance scales, and solvers, without training.
The scores go into the file `--results`. `--parts` selects some of them.
"""

from __future__ import annotations

import datetime
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.claims import curve, flow_losses, results
from vssflow_jax import bundled, conditions
from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.config import command_line
from vssflow_jax.evaluation import protocol
from vssflow_jax.evaluation.evaluator import Evaluator, TaskScores
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.text import alignment
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.training import checkpoint

SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
SINGLE = {"speaker": 3.0, "phonemes": 3.0, "clip": 3.0, "lips": 3.0, "sync": 3.0}
POINTS = (  # solvers and steps whose sound is scored: 6, 12 and 24 evaluations
    ("euler", 12), ("euler", 6), ("euler", 24), ("midpoint", 6), ("heun", 6), ("rk4", 3),
)  # fmt: skip
Records = Sequence[Mapping]
SettingScores = dict[str, dict[str, TaskScores]]  # setting -> task -> scores


# ---- phoneme times ------------------------------------------------------------------------


def true_times(record: Mapping, durations) -> list:
    """The true times."""
    return record["meta"]["alignment"]


def predict_from_start(record: Mapping, durations) -> list:
    """Times predicted from the true start on."""
    return alignment.predict_alignment(record["meta"], durations, record.get("speaker"))


def predict_within(record: Mapping, durations) -> list:
    """Predicted durations, scaled to the true interval of the utterance."""
    times = record["meta"]["alignment"]
    symbols = [symbol for *_, symbol in times]
    own = alignment.select_voice(durations, record.get("speaker"))
    return alignment.place_phonemes(symbols, times[0][0], times[-1][1], own)


def stretch_evenly(record: Mapping, durations) -> list:
    """Phonemes of equal length over the true interval of the utterance."""
    times = record["meta"]["alignment"]
    edges = np.linspace(times[0][0], times[-1][1], len(times) + 1).tolist()
    symbols = [symbol for *_, symbol in times]
    return [alignment.Interval(*row) for row in zip(edges[:-1], edges[1:], symbols, strict=True)]


TIMES = {
    "true times": true_times,
    "predicted from the true start": predict_from_start,
    "predicted within the true interval": predict_within,
    "evenly stretched over the true interval": stretch_evenly,
}
WITHOUT_LIPS = (
    "true times",
    "predicted from the true start",
    "evenly stretched over the true interval",
)


def retime_phonemes(record: Mapping, times: Callable, durations, lips: bool) -> dict:
    """The record with phonemes at other times, with or without its lips."""
    kept = {name: array for name, array in record.items() if lips or name != "lips"}
    intervals = [alignment.Interval(*row) for row in times(record, durations)]
    length = conditions.num_latent_frames(record["meta"]["duration"])
    return {**kept, "phonemes": phonemes_to_frames(intervals, length)}


def measure_times(generator: Generator, evaluator: Evaluator) -> dict:
    """Scores of speech clips by phoneme times and lips."""
    durations, examples = generator.durations, evaluator.examples["speech"]
    scores: SettingScores = {}
    for name, lips in [
        *((name, True) for name in TIMES),
        *((name, False) for name in WITHOUT_LIPS),
    ]:
        records = [retime_phonemes(example, TIMES[name], durations, lips) for example in examples]
        waves = generator.generate_batch(records)
        setting = name if lips else f"{name}, no lips"
        scores[setting] = {"speech": evaluator.score(examples, waves, "speech")}
    return compare_settings(scores)


# ---- guidance -----------------------------------------------------------------------------


def guidance_settings(config) -> dict[str, tuple[float, dict[str, float]]]:
    """The run's own scales, common scales, and scales of single conditions."""
    base = config.sample.guidance
    out = {"the run's": (base, dict(config.sample.scales))}
    out |= {f"all {scale:g}": (scale, {}) for scale in SCALES}
    return out | {f"{name} {scale:g}, others {base:g}": (base, {name: scale})
                  for name, scale in SINGLE.items()}  # fmt: skip


def measure_guidance(generator: Generator, evaluator: Evaluator) -> dict:
    """Scores of joint clips by guidance scale."""
    scores = {}
    for name, (scale, single) in guidance_settings(generator.config).items():
        scales = {**dict.fromkeys(conditions.NAMES), **single}
        options = SamplingOptions(guidance=scale, scales=scales)
        batch = functools.partial(generator.generate_batch, options=options)
        scores[name] = score_joint(batch, evaluator)
    return compare_settings(scores)


# ---- solvers ------------------------------------------------------------------------------


def measure_solvers(generator: Generator, evaluator: Evaluator) -> dict:
    """Errors against a fine solution by solver and evaluations, and scores of a few points."""
    scores = {}
    for solver, steps in POINTS:
        options = SamplingOptions(solver=solver, steps=steps)
        batch = functools.partial(generator.generate_batch, options=options)
        scores[f"{solver}, {steps} steps"] = score_joint(batch, evaluator)
    examples = [some[0] for some in evaluator.examples.values() if some]
    errors = curve.measure_curve(generator, examples)
    return {"curve": errors, "points": compare_settings(scores)}


# ---- the command --------------------------------------------------------------------------


def score_joint(
    batch: Callable[[Records], list[np.ndarray]], evaluator: Evaluator
) -> dict[str, TaskScores]:
    """Scores of the joint examples, which have speech and events."""
    examples = evaluator.examples["joint"]
    return {"joint": evaluator.score(examples, batch(examples), "joint")}


def compare_settings(scores: SettingScores) -> dict:
    """Scores by setting and task, each compared with the first setting."""
    first = next(iter(scores.values()))
    return {
        name: {
            task: flow_losses.compare_scores(some, None if some is first[task] else first[task])
            for task, some in by_task.items()
        }
        for name, by_task in scores.items()
    }


PARTS = {"times": measure_times, "guidance": measure_guidance, "solvers": measure_solvers}


def main() -> None:
    """Flags in, scores out."""
    unknown = [name for name in flags.FLAGS.parts if name not in PARTS]
    if unknown or flags.FLAGS.workdir is None:
        raise InputError(f"expected --workdir=RUN, and --parts of {list(PARTS)}; found {unknown}")
    folder = bundled.find_workdir(flags.FLAGS.workdir)
    generator = Generator.from_workdir(folder)
    data = flags.FLAGS.shards or generator.config.data.shards
    evaluator = Evaluator.from_shards(data, flow_losses.SPLIT, flags.FLAGS.clips, generator.codec)
    for name in flags.FLAGS.parts:
        started = time.perf_counter()
        values = PARTS[name](generator, evaluator)
        about = {
            "model": describe_model(folder, generator),
            "sampler": generator.config.sample.to_dict(),
            "dataset": evaluator.dataset,
            "clips": flags.FLAGS.clips,
            "cores": process_pool.count_cores(),
            "seconds": round(time.perf_counter() - started, 1),
            "date": f"{datetime.date.today()}",
            "versions": protocol.versions(),
        }
        results.update_results(
            Path(flags.FLAGS.results), name, {"about": about, "settings": values}
        )
        print(f"{name}: {about['seconds']} s", flush=True)


def describe_model(folder: Path, generator: Generator) -> dict:
    """The sampled model: step, folder and, of an export, the hash of its weights."""
    weights = folder / checkpoint.WEIGHTS_FILE
    facts = {"step": generator.step, "folder": folder.name}
    if weights.exists():
        facts["weights"] = hash_file(weights)
    return facts


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of a run, or the name of a bundled model.")
    flags.DEFINE_string("shards", None, "Prepared shards; default: the run's.")
    flags.DEFINE_integer("clips", 32, "Test clips a task.")
    flags.DEFINE_list("parts", ["times", "guidance", "solvers"], "Comparisons.")
    flags.DEFINE_string("results", str(results.FILE), "File for the scores.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
