"""How well stems are separated: `python -m benchmarks.stems --workdir=miniav --shards=DIR`.

For joint test clips it generates speech alone and the other sounds alone, as `sample --stems`
does, with the words at their true times, and scores them like the mix (docs/evaluation.md). The
speech stem should have the words and no events, the sound stem the events and no words.
"""

from __future__ import annotations

from absl import flags

from benchmarks.claims.tables import format_markdown
from vssflow_jax import bundled
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.evaluation.evaluator import Evaluator
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.stems import STEMS, select_stem

SCORES = ("wer", "onset_f1")


def main() -> None:
    """Prints the table."""
    if flags.FLAGS.shards is None:
        raise InputError("expected --shards=DIR")
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    evaluator = Evaluator.from_shards(
        flags.FLAGS.shards, "test", flags.FLAGS.clips, generator.codec
    )
    if not evaluator.training_data["clips"]:
        raise InputError(f"{flags.FLAGS.shards}: found no training clips, expected some for onsets")
    records = evaluator.examples["joint"]
    parts = {"mix": records}
    parts |= {name: [select_stem(r, names) for r in records] for name, names in STEMS.items()}
    summaries = {
        name: evaluator.score(records, generator.generate_batch(part), "joint").summary()
        for name, part in parts.items()
    }
    rows = {name: [scores[key] for key in SCORES] for name, scores in summaries.items()}
    rows["truth through the codec"] = [summaries["mix"][f"{key}_floor"] for key in SCORES]
    lines = [[name, *(f"{number:.3f}" for number in row)] for name, row in rows.items()]
    print(format_markdown(["stem", "word errors", "onset F1"], lines))


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    flags.DEFINE_string("shards", None, "Prepared shards of MiniAV.")
    flags.DEFINE_integer("clips", 64, "Joint test clips.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
