"""Samplings of one trained model: `python -m benchmarks.claims.sampling --workdir=RUN …`.

    python -m benchmarks.claims.sampling --workdir=miniav --shards=SHARDS

Phoneme times with and without lips, guidance scales, and solvers; nothing is trained. The
scores go into the file `--results`. `--parts` chooses some.
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

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run, or a model of the package.")
SHARDS = flags.DEFINE_string("shards", None, "Prepared shards; default: the run's.")
CLIPS = flags.DEFINE_integer("clips", 32, "Test clips a task.")
PARTS = flags.DEFINE_list("parts", ["times", "guidance", "solvers"], "What is sampled.")
OUT = flags.DEFINE_string("results", str(results.FILE), "File for the scores.")

SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
SINGLE = {"speaker": 3.0, "phonemes": 3.0, "clip": 3.0, "lips": 3.0, "sync": 3.0}
POINTS = (  # solvers and steps whose sound is scored: 6, 12 and 24 evaluations
    ("euler", 12), ("euler", 6), ("euler", 24), ("midpoint", 6), ("heun", 6), ("rk4", 3),
)  # fmt: skip
Records = Sequence[Mapping]
Found = dict[str, dict[str, TaskScores]]  # setting -> task -> scores


# ---- when phonemes sound ------------------------------------------------------------------


def aligned(record: Mapping, durations) -> list:
    """The true times."""
    return record["meta"]["alignment"]


def from_start(record: Mapping, durations) -> list:
    """Predicted from the true start on."""
    return alignment.predict_alignment(record["meta"], durations, record.get("speaker"))


def within(record: Mapping, durations) -> list:
    """Predicted durations, scaled to the true interval of the utterance."""
    times = record["meta"]["alignment"]
    symbols = [symbol for *_, symbol in times]
    own = alignment.select_voice(durations, record.get("speaker"))
    return alignment.place_phonemes(symbols, times[0][0], times[-1][1], own)


def stretched(record: Mapping, durations) -> list:
    """All of one length, spread over the true interval of the utterance."""
    times = record["meta"]["alignment"]
    edges = np.linspace(times[0][0], times[-1][1], len(times) + 1).tolist()
    symbols = [symbol for *_, symbol in times]
    return [alignment.Interval(*row) for row in zip(edges[:-1], edges[1:], symbols, strict=True)]


TIMES = {
    "true times": aligned,
    "predicted from the true start": from_start,
    "predicted within the true interval": within,
    "evenly stretched over the true interval": stretched,
}
BLIND = ("true times", "predicted from the true start", "evenly stretched over the true interval")


def retimed(record: Mapping, times: Callable, durations, lips: bool) -> dict:
    """The record with phonemes at other times, with or without its lips."""
    kept = {name: array for name, array in record.items() if lips or name != "lips"}
    spoken = [alignment.Interval(*row) for row in times(record, durations)]
    length = conditions.num_latent_frames(record["meta"]["duration"])
    return {**kept, "phonemes": phonemes_to_frames(spoken, length)}


def times(generator: Generator, evaluator: Evaluator) -> dict:
    """Word errors and their like of speech clips, by phoneme times and lips."""
    durations, clips = generator.durations, evaluator.examples["speech"]
    found: Found = {}
    for name, lips in [*((name, True) for name in TIMES), *((name, False) for name in BLIND)]:
        records = [retimed(clip, TIMES[name], durations, lips) for clip in clips]
        scores = evaluator.score(clips, generator.generate_batch(records), "speech")
        found[f"{name}{'' if lips else ', no lips'}"] = {"speech": scores}
    return compare_settings(found)


# ---- guidance -----------------------------------------------------------------------------


def guidance_settings(config) -> dict[str, tuple[float, dict[str, float]]]:
    """The run's own scales, common scales, and scales of single conditions."""
    base = config.sample.guidance
    out = {"the run's": (base, dict(config.sample.scales))}
    out |= {f"all {scale:g}": (scale, {}) for scale in SCALES}
    return out | {f"{name} {scale:g}, others {base:g}": (base, {name: scale})
                  for name, scale in SINGLE.items()}  # fmt: skip


def guidance(generator: Generator, evaluator: Evaluator) -> dict:
    """Scores of joint clips by guidance scale."""
    scores = {}
    for name, (scale, single) in guidance_settings(generator.config).items():
        scales = {**dict.fromkeys(conditions.NAMES), **single}
        options = SamplingOptions(guidance=scale, scales=scales)
        batch = functools.partial(generator.generate_batch, options=options)
        scores[name] = score_joint(batch, evaluator)
    return compare_settings(scores)


# ---- solvers ------------------------------------------------------------------------------


def solvers(generator: Generator, evaluator: Evaluator) -> dict:
    """Errors to a fine solution by solver and evaluations, and scores of a few points."""
    found = {}
    for solver, steps in POINTS:
        options = SamplingOptions(solver=solver, steps=steps)
        batch = functools.partial(generator.generate_batch, options=options)
        found[f"{solver}, {steps} steps"] = score_joint(batch, evaluator)
    one = [some[0] for some in evaluator.examples.values() if some]
    return {"curve": curve.curve(generator, one), "points": compare_settings(found)}


# ---- the whole ----------------------------------------------------------------------------


def score_joint(
    batch: Callable[[Records], list[np.ndarray]], evaluator: Evaluator
) -> dict[str, TaskScores]:
    """Scores of the clips that have speech and an event, so that one sampling tells of both."""
    clips = evaluator.examples["joint"]
    return {"joint": evaluator.score(clips, batch(clips), "joint")}


def compare_settings(found: Found) -> dict:
    """Scores by setting and task, each compared with the first setting."""
    first = next(iter(found.values()))
    return {
        name: {
            task: flow_losses.over_clips(scores, None if scores is first[task] else first[task])
            for task, scores in by_task.items()
        }
        for name, by_task in found.items()
    }


PART = {"times": times, "guidance": guidance, "solvers": solvers}


def main() -> None:
    """Flags in, scores out."""
    unknown = [name for name in PARTS.value if name not in PART]
    if unknown or WORKDIR.value is None:
        raise InputError(f"expected --workdir=RUN, and --parts of {list(PART)}; found {unknown}")
    folder = bundled.find_workdir(WORKDIR.value)
    generator = Generator.from_workdir(folder)
    data = SHARDS.value or generator.config.data.shards
    evaluator = Evaluator.from_shards(data, flow_losses.SPLIT, CLIPS.value, generator.codec)
    for name in PARTS.value:
        began = time.perf_counter()
        found = PART[name](generator, evaluator)
        about = {
            "model": model(folder, generator),
            "sampler": generator.config.sample.to_dict(),
            "dataset": evaluator.dataset,
            "clips": CLIPS.value,
            "cores": process_pool.cores(),
            "seconds": round(time.perf_counter() - began, 1),
            "date": f"{datetime.date.today()}",
            "versions": protocol.versions(),
        }
        results.update(Path(OUT.value), name, {"about": about, "settings": found})
        print(f"{name}: {about['seconds']} s", flush=True)


def model(folder: Path, generator: Generator) -> dict:
    """What model it was: step and, of an export, the hash of its weights."""
    weights = folder / checkpoint.WEIGHTS_FILE
    known = {"step": generator.step, "folder": folder.name}
    if weights.exists():
        known["weights"] = hash_file(weights)
    return known


if __name__ == "__main__":
    command_line.run(main)
