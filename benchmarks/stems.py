"""How apart stems are: `python -m benchmarks.stems --workdir=miniav --shards=DIR`.

Of joint test clips speech alone and the other sounds alone are made, as `sample --stems` does,
with the words at their true times, and scored like the whole (docs/evaluation.md). Speech alone
should have the words and no event in time; the other sounds the events and no words.
"""

from __future__ import annotations

from absl import flags

from benchmarks.claims.tables import markdown
from vssflow_jax.bundled import locate
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.evaluation.evaluator import Evaluator
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.request import STEMS, stem

WORKDIR = flags.DEFINE_string("workdir", "miniav", "Folder of a run, or a model of the package.")
SHARDS = flags.DEFINE_string("shards", None, "Prepared shards of MiniAV.")
CLIPS = flags.DEFINE_integer("clips", 64, "Joint test clips.")
SCORES = ("wer", "onset_f1")


def main() -> None:
    """Prints the table."""
    if SHARDS.value is None:
        raise InputError("expected --shards=DIR")
    generator = Generator.from_workdir(locate(WORKDIR.value))
    evaluator = Evaluator.from_shards(SHARDS.value, "test", CLIPS.value, generator.codec)
    records = evaluator.examples["joint"]
    parts = {"whole": records}
    parts |= {name: [stem(record, kept) for record in records] for name, kept in STEMS.items()}
    found = {
        name: evaluator.score(records, generator.batch(some), "joint").summary()
        for name, some in parts.items()
    }
    numbers = {name: [scores[key] for key in SCORES] for name, scores in found.items()}
    numbers["truth through the codec"] = [found["whole"][f"{key}_floor"] for key in SCORES]
    lines = [[name, *(f"{number:.3f}" for number in some)] for name, some in numbers.items()]
    print(markdown(["made", "word errors", "onset F1"], lines))


if __name__ == "__main__":
    command_line.run(main)
