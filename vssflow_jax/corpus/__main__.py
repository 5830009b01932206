"""Writes MiniAV, the embedded corpus.

python -m vssflow_jax.corpus --out=DIR [--clips=N --seed=0]
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common import errors
from vssflow_jax.config import command_line
from vssflow_jax.corpus import build


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("out", None, "folder for videos and manifest")
    flags.DEFINE_integer("clips", build.CLIPS, "clips in all; the three tasks take turns")
    flags.DEFINE_integer("seed", 0, "another seed gives other clips", lower_bound=0)
    flags.DEFINE_integer("workers", None, "processes; all cores if not given", lower_bound=1)


def main() -> None:
    """Flags in, corpus out."""
    if not flags.FLAGS.out:
        raise errors.InputError("--out: found nothing, expected a folder for the corpus")
    manifest = build.build(
        flags.FLAGS.out, flags.FLAGS.clips, flags.FLAGS.seed, flags.FLAGS.workers
    )
    print(f"next: python -m vssflow_jax.prepare --manifest={manifest} --out=SHARDS")


if __name__ == "__main__":
    command_line.run(main, define_flags)
