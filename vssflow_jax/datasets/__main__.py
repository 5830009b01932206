"""Makes a manifest of a published data set that is on your disk.

    python -m vssflow_jax.datasets grid --root=/data/GRID --out=clips.csv
    python -m vssflow_jax.datasets vggsound --root=/data/VGGSound --out=clips.csv --append

Data sets: vggsound, audioset, grid, lrs2, lrs3, chem, v2c, vctk, ljspeech, libritts, greatesthits,
avspeech. Nothing is downloaded. The module of each (`vssflow_jax/datasets/grid.py`) says where it
comes from, its license, the folders it is looked for in, and how many clips to expect. What is
missing is listed in clips.missing.csv. The ids of the clips begin with the data set's name;
`--append` keeps the rows of other data sets in the manifest.
"""

from __future__ import annotations

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.datasets import build, registry

OPERAND = f"the name of a data set: {', '.join(registry.DATASETS)}"


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_path("root", None, "Folder of the data set.")
    command_line.define_path("out", None, "Manifest to write (clips.csv).")
    command_line.define_path("lists", None, "Folder of the data set's lists; default: --root.")
    flags.DEFINE_string("split", "", "Of sets with several; grid: overlapped or unseen.")
    command_line.define_path(
        "transcripts", None, "Folder with a text file for each clip (avspeech)."
    )
    flags.DEFINE_bool("append", False, "Keep the rows of other data sets in --out.")


def main(name: str) -> None:
    """Writes the manifest of the data set `name`."""
    values = flags.FLAGS
    dataset = registry.find_dataset(name)
    for flag, meaning in (("root", "the data set's folder"), ("out", "a manifest to write")):
        if not values[flag].value:
            raise InputError(f"--{flag}: found nothing, expected {meaning}")
    options = build.DatasetOptions(
        root=values.root,
        out=values.out,
        lists=values.lists,
        split=values.split,
        transcripts=values.transcripts,
        append=values.append,
    )
    print("\n".join(build.build_manifest(dataset, options)))
    print(f"next: python -m vssflow_jax.prepare --manifest={values.out} --out=SHARDS")


if __name__ == "__main__":
    command_line.run(main, define_flags, OPERAND)
