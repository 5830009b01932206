"""Raw media to shards: `python -m vssflow_jax.prepare --manifest=clips.csv --out=SHARDS`.

`--latents=CODEC` stores the codec's latents beside the shards, of a manifest or already in --out.
`--videos=FOLDER` takes a folder of ordinary videos instead of a manifest; `--check=SHARDS`
validates shards and writes a page with pictures of them. Each shard holds a fixed slice of the
rows of one split. A stopped run resumes, several runs in one folder share the work, and a changed
row, file or encoder redoes only its shards (preparation/shard_jobs.py). `dataset.json` is written
last: if it exists, all shards are complete.
"""

from __future__ import annotations

import pathlib
import shlex
import sys

from absl import flags

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import AudioFormat
from vssflow_jax.config import command_line, default_config
from vssflow_jax.preparation.examples import MIN_SECONDS
from vssflow_jax.preparation.latents import write_latents
from vssflow_jax.preparation.prepare import PrepareOptions, prepare, read_source
from vssflow_jax.text.normalize import POLICIES

OF_FOLDER = ("valid", "test")  # flags that --videos alone has a use for
OF_SOURCE = (  # flags that clips are prepared by
    *OF_FOLDER, "workers", "max_seconds", "overlap", "clips_per_shard", "text_policy", "encoders",
    "limit", "audio_track", "sample_rate", "audio_channels", "beam", "config",
)  # fmt: skip


def define_flags() -> None:
    """The flags of this command."""
    defaults = PrepareOptions()
    command_line.define_path("manifest", None, "Manifest of the clips (clips.csv).")
    command_line.define_path("videos", None, "Folder of videos, instead of a manifest.")
    command_line.define_path("out", None, "Folder for the shards.")
    command_line.define_path("check", None, "Shards to validate instead; the source adds pictures.")
    flags.DEFINE_integer("workers", None, "Processes; default: one a core.", lower_bound=0)
    flags.DEFINE_float("max_seconds", None, "Longest clip, seconds; default: the recipe's or 10.")
    flags.DEFINE_float("overlap", defaults.overlap, "Seconds that windows of longer clips share.")
    flags.DEFINE_integer(
        "clips_per_shard", defaults.clips_per_shard, "Rows of the manifest a shard.", lower_bound=1
    )
    flags.DEFINE_enum(
        "text_policy", defaults.text_policy, POLICIES, "For characters that cannot be read."
    )
    flags.DEFINE_string("encoders", defaults.encoder_set, "Set of encoders.")
    flags.DEFINE_float("valid", defaults.valid, "Share of --videos for validation.")
    flags.DEFINE_float("test", defaults.test, "Share of --videos for tests.")
    flags.DEFINE_float(
        "limit", defaults.time_limit, "Seconds for a clip before it is given up.", lower_bound=1
    )
    flags.DEFINE_integer(
        "audio_track",
        None,
        "Audio track of files with several, from 1; default: each file's default one.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "sample_rate", None, "Samples a second to store; default: the recipe's or 16000."
    )
    flags.DEFINE_integer(
        "audio_channels", None, "Audio channels to store, 1 or 2; default: the recipe's or 1."
    )
    command_line.define_path(
        "latents", None, "Folder of a codec whose latents are stored too, or added to --out."
    )
    flags.DEFINE_string("beam", None, "Options of Apache Beam, which then does the work.")
    command_line.define_config(None, "Recipe that the shards are for.")


def validate(folder: str, source: str | None) -> None:
    """Validates shards, prints what they hold and each problem, and writes the page.

    Raises:
      InputError: there are problems.
    """
    from vssflow_jax.preparation import validation  # the page needs libraries that shards do not

    report = validation.validate_shards(folder)
    print(validation.format_summary(report))
    for problem in report.problems[: validation.MAX_LISTED]:
        print(f"  {problem}", file=sys.stderr)
    try:
        from vssflow_jax.reports import dataset
    except ModuleNotFoundError as error:
        print(f"note: no page without {error.name} (pip install 'vssflow_jax[eval]')")
    else:
        print(f"page: {dataset.write_page(report, read_source(source)[0] if source else ())}")
    if report.problems:
        raise InputError(
            f"{folder}: found {len(report.problems)} problems, expected none; the first: "
            f"{report.problems[0]}"
        )


def check_flags() -> None:
    """Raises an InputError for flags that have no effect beside the others."""
    values = flags.FLAGS
    if values.manifest is not None and values.videos is not None:
        raise InputError("found --manifest and --videos, expected one of them")
    if values.check is not None:
        unused, where = ("out", "latents", *OF_SOURCE), "beside --check"
    elif values.manifest is None and values.videos is None:
        unused, where = OF_SOURCE, "without --manifest or --videos"
    else:
        unused, where = (OF_FOLDER, "beside --manifest") if values.manifest else ((), "")
    for name in unused:
        if values[name].present:
            other = "with" if where.startswith("without") else "without"
            raise InputError(f"--{name}: found {where}, expected {other}")


def main() -> None:
    """Prepares or validates shards as the flags say."""
    values = flags.FLAGS
    source = values.manifest or values.videos
    check_flags()
    if values.videos is not None and not pathlib.Path(values.videos).is_dir():
        raise InputError(f"--videos={values.videos}: no such folder, expected one with videos")
    if values.check is not None:
        validate(values.check, source)
        return
    if source is None and values.latents is None:
        raise InputError("expected one of --manifest=clips.csv and --videos=FOLDER")
    if values.out is None:
        raise InputError("found no --out, expected a folder for the shards")
    if source is not None:
        prepare_shards(source)
    if values.latents is not None:
        write_latents(values.out, values.latents)


def prepare_shards(source: str) -> None:
    """Prepares the shards of a manifest or a folder as the flags say."""
    values = flags.FLAGS
    data = values.config.data if values.config else default_config().data
    max_seconds = data.duration if values.max_seconds is None else values.max_seconds
    if max_seconds < MIN_SECONDS:
        raise InputError(f"--max_seconds: found {max_seconds:g}, expected at least {MIN_SECONDS}")
    options = PrepareOptions(
        workers=values.workers,
        max_seconds=max_seconds,
        overlap=values.overlap,
        clips_per_shard=values.clips_per_shard,
        encoder_set=values.encoders,
        text_policy=values.text_policy,
        valid=values.valid,
        test=values.test,
        time_limit=values.limit,
        audio_track=values.audio_track,
        audio=AudioFormat(
            data.sample_rate if values.sample_rate is None else values.sample_rate,
            data.audio_channels if values.audio_channels is None else values.audio_channels,
        ),
        beam=None if values.beam is None else shlex.split(values.beam),
    )
    prepare(source, values.out, options)


if __name__ == "__main__":
    command_line.run(main, define_flags)
