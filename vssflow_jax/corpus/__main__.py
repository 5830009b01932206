"""Writes MiniAV, the built-in corpus.

python -m vssflow_jax.corpus --out=DIR [--clips=N --seed=0]
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.corpus import build


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("out", None, "Folder for videos and manifest.")
    flags.DEFINE_integer("clips", build.DEFAULT_CLIPS, "Clips in total; the three tasks alternate.")
    flags.DEFINE_integer("seed", 0, "Another seed gives other clips.", lower_bound=0)
    flags.DEFINE_integer("workers", None, "Processes; default: all cores.", lower_bound=1)


def main() -> None:
    """Writes the corpus that the flags ask for."""
    values = flags.FLAGS
    if not values.out:
        raise InputError("--out: found nothing, expected a folder for the corpus")
    manifest = build.build_corpus(values.out, values.clips, values.seed, values.workers)
    print(f"next: python -m vssflow_jax.prepare --manifest={manifest} --out=SHARDS")


if __name__ == "__main__":
    command_line.run(main, define_flags)
