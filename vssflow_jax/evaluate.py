"""Scores a run: `python -m vssflow_jax.evaluate --workdir=DIR [--generated=DIR2] --split=test`.

With `--shards=DATA --generated=DIR2 [--out=DIR3]` it scores a folder of sound files of any system.
It writes into `DIR/eval` (or --out) `metrics.json`, the scores of each task with codec floor,
ground truth ceiling and interval; `examples.csv`, a line a clip; `protocol.json`, how they were
measured.

With `--sentences=test [--speaker=voice.wav,voice2.wav] [--voices=hibari]` the run speaks sentences
from text alone in those voices; the scores go to `DIR/eval/sentences`.

Exit status 0: every clip was scored; 3: some were left out, with the reasons in metrics.json; 2: a
mistake in the flags or files.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.config import command_line

try:
    from vssflow_jax.evaluation.evaluator import EMBEDDINGS
    from vssflow_jax.evaluation.metrics import asr, measures, mos
    from vssflow_jax.generation.sampling import (
        GRID_HELP,
        JOINT_HELP,
        PRECISION_HELP,
        SCALES_HELP,
        SOUND_LEVEL_HELP,
        SPEECH_AUDIBILITY_HELP,
        SPEECH_LEVEL_HELP,
        SamplingOptions,
        parse_scales,
    )
    from vssflow_jax.generation.scoring import EvaluationOptions, evaluate
    from vssflow_jax.generation.sentence_scoring import SentenceOptions, evaluate_sentences
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    missing = f"found no {error.name}, expected the extra: pip install 'vssflow_jax[eval]'"
    print(f"error: {missing}", file=sys.stderr)
    sys.exit(2)

LEFT_OUT = 3  # exit status where some clips were not scored
MAX_LINES = 20  # of those that are printed
# Flags that only shards have, and only sentences.
OF_SHARDS = (
    "generated", "shards", "split", "embedding", "open_recognizer", "measures", "videos",
    "joint", "sound_level", "speech_audibility",
)  # fmt: skip
OF_SENTENCES = ("speaker", "voices")
# Flags of a run that generates, which files of --generated have no use for.
OF_SAMPLING = (
    "seed",
    "precision",
    *(
        field.name
        for field in dataclasses.fields(SamplingOptions)
        if hasattr(EvaluationOptions, field.name)
    ),
)


def left_out(metrics: Mapping[str, Mapping]) -> list[str]:
    """A line for each clip and file that was not scored."""
    lines = [
        f"{task} {clip['id']}: {clip['reason']}"
        for task in EVALUATED_TASKS
        for clip in metrics.get(task, {}).get("skipped", ())
    ]
    return lines + [f"{file['file']}: {file['reason']}" for file in metrics["run"].get("extra", ())]


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", None, "Folder of a trained run.")
    command_line.define_path(
        "generated",
        None,
        "Folder of sound files named by clip id; default: the run generates them.",
    )
    command_line.define_path("shards", None, "Prepared shards; default: the run's.")
    command_line.define_path("out", None, "Folder of the scores; default: WORKDIR/eval.")
    flags.DEFINE_string("split", "test", "Split of the shards.")
    flags.DEFINE_string("sentences", None, "Sentences to speak: test, or a file, one a line.")
    flags.DEFINE_list("speaker", [], "For --sentences: audio files with voices to speak in.")
    flags.DEFINE_string(
        "voices",
        None,
        "For --sentences: voices that speak them as ceilings: hibari, espeak or kokoro:FOLDER; "
        "--speaker may name some of them.",
    )
    flags.DEFINE_integer(
        "clips",
        None,
        f"Clips a task, at most (default: {EvaluationOptions.clips}), or sentences a voice "
        "(default: all).",
        lower_bound=1,
    )
    flags.DEFINE_integer("seed", 0, "Of the noise.")
    flags.DEFINE_string("solver", None, "Solver; default: the run's.")
    flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
    flags.DEFINE_string("grid", None, GRID_HELP)
    flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")
    flags.DEFINE_list("scales", [], SCALES_HELP)
    flags.DEFINE_string("joint", None, JOINT_HELP)
    flags.DEFINE_float("speech_level", None, SPEECH_LEVEL_HELP)
    flags.DEFINE_float("sound_level", None, SOUND_LEVEL_HELP)
    flags.DEFINE_float("speech_audibility", None, SPEECH_AUDIBILITY_HELP)
    flags.DEFINE_string("precision", None, PRECISION_HELP)
    flags.DEFINE_string("recognizer", asr.DEFAULT, asr.HELP)
    flags.DEFINE_string("open_recognizer", None, "A second one; its scores end in _open.")
    flags.DEFINE_string("mos", "", mos.HELP)
    flags.DEFINE_enum("embedding", EMBEDDINGS[0], EMBEDDINGS, "Audio embedding for the distances.")
    flags.DEFINE_list("measures", [], measures.HELP)
    command_line.define_path("videos", None, "Manifest of the shards, for --measures=lse.")


def score() -> dict:
    """Scores what the flags say; returns the contents of metrics.json."""
    is_shards = flags.FLAGS.sentences is None
    for name in OF_SENTENCES if is_shards else OF_SHARDS:
        if flags.FLAGS[name].present:
            words = ("without", "with") if is_shards else ("beside", "without")
            raise InputError(f"--{name}: found {words[0]} --sentences, expected {words[1]}")
    if flags.FLAGS.generated is not None:
        for name in OF_SAMPLING:
            if flags.FLAGS[name].present:
                raise InputError(f"--{name}: found beside --generated, expected without")
    if flags.FLAGS["videos"].present and "lse" not in flags.FLAGS.measures:
        raise InputError("--videos: found without --measures=lse, expected with it")
    options = EvaluationOptions if is_shards else SentenceOptions
    names = {field.name for field in dataclasses.fields(options)}
    values = {name: flags.FLAGS[name].value for name in names - {"speakers", "clips"}}
    values["scales"] = parse_scales(values["scales"])
    if flags.FLAGS.clips is not None:
        values["clips"] = flags.FLAGS.clips
    if is_shards:
        return evaluate(EvaluationOptions(**values))
    if flags.FLAGS.workdir is None:
        raise InputError("--workdir: found nothing, expected the folder of a trained run")
    return evaluate_sentences(SentenceOptions(**values, speakers=flags.FLAGS.speaker))


def main() -> int:
    """Flags in, scores out; says what was left out."""
    metrics = score()
    for warning in metrics["run"].get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    lines = left_out(metrics)
    for line in lines[:MAX_LINES]:
        print(f"left out: {line}", file=sys.stderr)
    if len(lines) > MAX_LINES:
        print(f"left out: {len(lines) - MAX_LINES} more, see metrics.json", file=sys.stderr)
    return LEFT_OUT if lines else 0


if __name__ == "__main__":
    command_line.run(main, define_flags)
