"""A run as a model to hand on: `python -m vssflow_jax.export --workdir=RUN --out=DIR`.

DIR has the averaged weights in half precision (`weights.safetensors`), `config.json`,
`statistics.json`, `codec/`, hashes (`export.json`), scores (`metrics.json`) and a card
(`README.md`). It is sampled like a run's folder, and trained on from by `train.init_from`.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.generation.export import DTYPES, export


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run.")
    flags.DEFINE_string("out", None, "Folder to write; new or empty.")
    flags.DEFINE_string("name", None, "What the model is called; default: the folder's name.")
    flags.DEFINE_enum("dtype", "float16", DTYPES, "Type of the weights in the file.")


def main() -> None:
    """Flags in, a folder out."""
    if flags.FLAGS.workdir is None or flags.FLAGS.out is None:
        raise InputError("expected --workdir=RUN and --out=DIR")
    print(export(flags.FLAGS.workdir, flags.FLAGS.out, flags.FLAGS.name or "", flags.FLAGS.dtype))


if __name__ == "__main__":
    command_line.run(main, define_flags)
