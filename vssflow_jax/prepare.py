"""Raw media to shards: `python -m vssflow_jax.prepare --manifest=clips.csv --out=SHARDS`.

`--videos=FOLDER` takes a folder of ordinary videos instead of a manifest; `--check SHARDS`
looks whether shards are whole, and writes a page with pictures of them. Each shard holds a
fixed slice of the rows of one split. A run that was stopped goes on where it was, several at
once share the work, and a changed row, file or encoder redoes only its shards (see jobs.py).
`dataset.json` comes last: where it is, everything is whole.
"""

from __future__ import annotations

import pathlib
import shlex
import sys

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data import folder as folders
from vssflow_jax.preparation import examples
from vssflow_jax.preparation.prepare import LIMIT, SECONDS, prepare, read_source

# ---- shards -------------------------------------------------------------------------------


# ---- the whole ----------------------------------------------------------------------------


def define_flags() -> None:
    """The flags of this command."""
    flags.DEFINE_string("manifest", None, "Manifest of the clips (clips.csv).")
    flags.DEFINE_string("videos", None, "Folder of videos, instead of a manifest.")
    flags.DEFINE_string("out", None, "Folder for the shards.")
    flags.DEFINE_string("check", None, "Shards to check instead; the source adds pictures.")
    flags.DEFINE_integer("workers", None, "Processes; default: one a core.", lower_bound=0)
    flags.DEFINE_float("max_seconds", None, "Longest clip, seconds; default: the recipe's or 10.")
    flags.DEFINE_float("overlap", 0.0, "Seconds that windows of longer clips share.")
    flags.DEFINE_integer("clips_per_shard", 64, "Rows of the manifest a shard.", lower_bound=1)
    flags.DEFINE_string("encoders", "built-in", "Set of encoders.")
    flags.DEFINE_float("valid", folders.VALID_SHARE, "Share of --videos for validation.")
    flags.DEFINE_float("test", folders.TEST_SHARE, "Share of --videos for tests.")
    flags.DEFINE_float("limit", LIMIT, "Seconds for a clip before it is given up.", lower_bound=1)
    flags.DEFINE_string("beam", None, "Options of Apache Beam, which then does the work.")
    command_line.define_config(None, "Recipe that the shards are for.")


def run_check(folder: str, source: str | None) -> None:
    """Checks shards, prints what there is and what is wrong, and writes the page.

    Raises:
      InputError: problems were found.
    """
    from vssflow_jax.preparation import validation  # the page needs libraries that shards do not

    found = validation.check(folder)
    print(validation.summary(found))
    for problem in found.problems[: validation.NAMED]:
        print(f"  {problem}", file=sys.stderr)
    try:
        from vssflow_jax.reports import dataset
    except ModuleNotFoundError as error:
        print(f"note: no page without {error.name} (pip install 'vssflow_jax[eval]')")
    else:
        print(f"page: {dataset.write_page(found, read_source(source)[0] if source else ())}")
    if found.problems:
        raise InputError(
            f"{folder}: found {len(found.problems)} problems, expected none; the first: "
            f"{found.problems[0]}"
        )


def main() -> None:
    """Flags in, shards out."""
    given = flags.FLAGS
    source = given.manifest or given.videos
    if given.manifest is not None and given.videos is not None:
        raise InputError("found --manifest and --videos, expected one of them")
    if given.videos is not None and not pathlib.Path(given.videos).is_dir():
        raise InputError(f"--videos={given.videos}: no such folder, expected one with videos")
    if given.check is not None:
        run_check(given.check, source)
        return
    if source is None:
        raise InputError("expected one of --manifest=clips.csv and --videos=FOLDER")
    if given.out is None:
        raise InputError("found no --out, expected a folder for the shards")
    recipe = given.config.data.duration if given.config else SECONDS
    longest = recipe if given.max_seconds is None else given.max_seconds
    if longest < examples.SHORTEST:
        raise InputError(f"--max_seconds: found {longest:g}, expected at least {examples.SHORTEST}")
    prepare(
        source,
        given.out,
        workers=given.workers,
        max_seconds=longest,
        overlap=given.overlap,
        clips_per_shard=given.clips_per_shard,
        encoder_set=given.encoders,
        valid=given.valid,
        test=given.test,
        limit=given.limit,
        beam=None if given.beam is None else shlex.split(given.beam),
    )


if __name__ == "__main__":
    command_line.run(main, define_flags)
