"""Scores a run: `python -m vssflow_jax.evaluate --workdir=DIR [--generated=DIR2] --split=test`.

Or any system's folder of waves: `--shards=DATA --generated=DIR2 [--out=DIR3]`. Writes into
`DIR/eval` (or --out) `metrics.json`, a score a task with codec floor, ground truth ceiling and
interval; `examples.csv`, a line a clip; `protocol.json`, how it was done. Exit status 0: every
clip was scored; 3: something was left out, each with its reason in metrics.json; 2: a mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from absl import flags

from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.config import command_line
from vssflow_jax.evaluation.evaluator import EMBEDDINGS
from vssflow_jax.evaluation.metrics import asr
from vssflow_jax.generation.scoring import evaluate

LEFT_OUT = 3  # exit status where some clips were not scored
SHOWN = 20  # of those that are printed


# ---- waves --------------------------------------------------------------------------------


# ---- what is written ----------------------------------------------------------------------


def left_out(metrics: Mapping[str, Mapping]) -> list[str]:
    """Sentences about the clips and the files that were not scored."""
    lines = [
        f"{task} {clip['id']}: {clip['reason']}"
        for task in EVALUATED_TASKS
        for clip in metrics.get(task, {}).get("skipped", ())
    ]
    return lines + [f"{file['file']}: {file['reason']}" for file in metrics["run"].get("extra", ())]


# ---- the whole ----------------------------------------------------------------------------


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string("generated", None, "Folder of waves named by clip id; default: generate.")
    flags.DEFINE_string("shards", None, "Prepared shards; default: the run's.")
    flags.DEFINE_string("out", None, "Folder of the scores; default: WORKDIR/eval.")
    flags.DEFINE_string("split", "test", "Split of the shards.")
    flags.DEFINE_integer("clips", 64, "Clips a task, at most.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    flags.DEFINE_string("solver", None, "Solver; default: the run's.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")
    flags.DEFINE_string(
        "recogniser", asr.DEFAULT, "pocketsphinx, faster-whisper:MODEL or whisper:MODEL."
    )
    flags.DEFINE_string("opinions", "", "Predicted opinion scores: dnsmos, utmos, or both.")
    flags.DEFINE_enum("embedding", EMBEDDINGS[0], EMBEDDINGS, "Of sound, under distances.")


ARGUMENTS = (
    "workdir", "generated", "shards", "out", "split", "clips", "seed", "solver", "steps",
    "guidance", "recogniser", "opinions", "embedding",
)  # fmt: skip


def main() -> int:
    """Flags in, scores out; says what was left out."""
    metrics = evaluate(**{name: flags.FLAGS[name].value for name in ARGUMENTS})
    lines = left_out(metrics)
    for line in lines[:SHOWN]:
        print(f"left out: {line}", file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"left out: {len(lines) - SHOWN} more, see metrics.json", file=sys.stderr)
    return LEFT_OUT if lines else 0


if __name__ == "__main__":
    command_line.run(main, define_flags)
