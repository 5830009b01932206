"""Exports a run as a model: `python -m vssflow_jax.export --workdir=RUN --out=DIR`.

DIR gets the averaged weights in half precision (`weights.safetensors`), `config.json`,
`statistics.json`, `codec/`, hashes (`export.json`), scores (`metrics.json`) and a card
(`README.md`). Commands take it like a run's folder, and a training can start from it
(`train.init_from`). `--push=ORG/NAME` also uploads DIR to the Hugging Face hub, from where
`--workdir=ORG/NAME@REVISION` takes it; HF_TOKEN says who uploads.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.generation.export import DTYPES, export_run


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("workdir", None, "Folder of a trained run.")
    command_line.define_path("out", None, "Folder to write; new or empty.")
    flags.DEFINE_string("name", None, "Name of the model; default: the folder's name.")
    flags.DEFINE_string("push", None, "ORG/NAME on the Hugging Face hub to upload to as well.")
    flags.DEFINE_enum("dtype", "float16", DTYPES, "Type of the weights in the file.")


def main() -> None:
    """Flags in, a folder out."""
    if flags.FLAGS.workdir is None or flags.FLAGS.out is None:
        raise InputError("expected --workdir=RUN and --out=DIR")
    push, out = flags.FLAGS.push, flags.FLAGS.out
    if push is not None:
        hub.check_push(push)
    summary = export_run(flags.FLAGS.workdir, out, flags.FLAGS.name or "", flags.FLAGS.dtype)
    print(summary)
    if push is not None:
        print(f"pushed: {hub.push_folder(out, push, summary.partition(': ')[2])}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
