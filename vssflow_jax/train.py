"""Trains a model: `python -m vssflow_jax.train --config=configs/joint.py --workdir=DIR`.

The same command goes on from the newest whole checkpoint in DIR. With a built-in corpus in
the config and no shards there, it builds them first. SIGTERM or Ctrl-C saves and ends with
status 75. Several processes, one a host, make one run: docs/pod.md.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from vssflow_jax import bundled, conditions
from vssflow_jax.codecs.interface import hash_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.config import command_line
from vssflow_jax.config import validation as fields
from vssflow_jax.data import mix, pipeline, shards
from vssflow_jax.generation.hooks import evaluate_periodically, write_samples
from vssflow_jax.training import (
    checkpoint,
    codec_step,
    distributed,
    loop,
    preemption,
    sharding,
    state,
)
from vssflow_jax.training.codec_setup import FITTED_FIELDS, ensure_codec, write_codec

SCHEDULING = ("remat", "unroll")  # fields of config.model that change no number
TASKS = {"flow": loop.flow_task, "codec": codec_step.codec_task}


def ensure_shards(config, workdir: Path) -> Path:
    """The folder of shards: the one that the config names, or WORKDIR/shards, built if need be.

    Raises:
      InputError: no shards, and no corpus to make them from.
    """
    if config.data.shards:
        return Path(config.data.shards)
    if not config.data.corpus:
        raise InputError("data.shards: found nothing, expected a folder that prepare has written")
    folder = workdir / "shards"
    if (folder / shards.DATASET).exists():
        return folder
    from vssflow_jax.corpus import build
    from vssflow_jax.preparation.prepare import prepare

    print(f"no shards in {folder}: building the corpus {config.data.corpus!r} first", flush=True)
    count = build.DEFAULT_CLIPS if config.data.corpus_clips is None else config.data.corpus_clips
    settings = build.CorpusSettings(clips=count, seed=config.seed)
    manifest = build.build_corpus(workdir / "corpus", settings)
    prepare(manifest, folder, max_seconds=config.data.duration)
    return folder


def check(config, workdir: Path) -> None:
    """Raises an InputError for what can be known to be wrong before anything is made."""
    fields.check(config)
    if config.train.task == "codec":
        codec_step.check_config(config)
    start = config.train.init_from
    if start and not bundled.find_workdir(start).is_dir():
        raise InputError(
            f"train.init_from: found {start!r}, expected the folder of a run or a model"
        )
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir}: found a file, expected a folder")


def model_identity(config) -> dict:
    """What the checkpoints of this run's network must have been made with."""
    if config.train.task == "codec":
        return {k: v for k, v in config.codec.to_dict().items() if k not in FITTED_FIELDS}
    return {k: v for k, v in config.model.to_dict().items() if k not in SCHEDULING}


def training_clips(config, folder: Path, tasks: Sequence[str]) -> shards.Split:
    """The training split's clips with sound, of some tasks (none: of all).

    Raises:
      InputError: there are none.
    """
    records = shards.open_split(folder, "train", with_wave=True, tasks=tasks, replace_corrupt=True)
    if not len(records):
        raise InputError(
            f"{folder}: found no training clips with sound of the tasks "
            f"{tuple(tasks) or conditions.TASKS}, expected some"
        )
    return records


def mixer(config, folder: Path, records, rates) -> mix.Mixer | None:
    """What makes joint clips of speech and sound clips; None where the config has it off."""
    if not config.data.mix.ratio:
        return None
    speech, sound = (training_clips(config, folder, (task,)) for task in ("speech", "sound"))
    by_time = config.model.time_aligned_sync
    return mix.make_mixer(config.data.mix, records, speech, sound, rates, by_time)


def train(config, workdir: str | Path) -> None:
    """Trains to `config.train.steps`, from wherever the run in `workdir` stands."""
    workdir, began = Path(workdir), time.perf_counter()
    check(config, workdir)
    checkpoint.check_no_conversion(workdir)
    jax.config.update("jax_default_matmul_precision", config.precision.matmul)
    keep_compiled(config.train.compilation_cache or workdir / "compiled")
    mesh = sharding.make_mesh(dict(config.mesh))
    sharding.check_config(config, mesh)
    with distributed.main_process_first("shards and codec"):
        folder = ensure_shards(config, workdir)
        records = training_clips(config, folder, config.data.tasks)
        codec = ensure_codec(config, records, workdir)
    info = shards.load_dataset_info(folder)
    rates = {name: feature["rate"] for name, feature in info["features"].items()}
    statistics = {**info["statistics"], "rates": rates}
    with config.unlocked():
        config.data.shards = str(folder)
    spec = pipeline.BatchSpec.from_duration(config.data.duration, rates)
    rows = sharding.local_rows(config.data.batch_size, mesh)
    batches = pipeline.iterate_training_batches(
        records,
        spec,
        batch_size=config.data.batch_size,
        seed=config.seed,
        mixer=mixer(config, folder, records, rates),
        workers=config.data.workers,
        rows=rows,
    )
    identity = {
        "codec": hash_codec(codec),
        "dataset": info["hash"],
        "model": model_identity(config),
        "batch_size": config.data.batch_size,
    }
    trains = TASKS[config.train.task]
    run = loop.Run(config, workdir, mesh, codec, batches, spec, identity, len(records), trains)
    if (
        distributed.is_main_process()
    ):  # only now is it known that the config fits what the run has made so far
        write_text(workdir / "statistics.json", json.dumps(statistics, indent=1))
        write_text(workdir / "config.json", config.to_json(indent=1))
        count = state.count_parameters(run.state.params)
        print(f"{count:,} parameters, {len(records)} training clips, {dict(mesh.shape)}")
        if run.done:
            print(f"going on from step {run.done}")
        sys.stdout.flush()
    valid = shards.open_split(
        folder, "valid", with_wave=True, tasks=config.data.tasks, replace_corrupt=True
    )
    validation = functools.partial(
        pipeline.iterate_validation_batches,
        valid,
        spec,
        batch_size=config.data.batch_size,
        max_examples=config.train.validate_clips,
        rows=rows,
    )
    sample = write_samples(workdir, config, codec, statistics, valid)
    score = evaluate_periodically(config, folder, codec, statistics)
    run.train(
        lambda step, current: sample(step, current) or score(step, current),
        validation if len(valid) else None,
    )
    weights = (
        distributed.gather_to_host(run.state.weights) if config.train.task == "codec" else None
    )
    distributed.shutdown()
    if not distributed.is_main_process():
        return
    if weights is not None:
        write_codec(config, workdir, codec, weights, records)
    print(
        f"trained {config.train.steps} steps; {time.perf_counter() - began:.0f} s in all",
        flush=True,
    )
    if config.train.evaluate:
        preemption.exit_on_signals()
        finish(config, workdir)


def keep_compiled(folder: str | Path) -> None:
    """Keeps compiled programs in a folder for later starts, unless JAX's own variable names one."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).resolve()))


def finish(config, workdir: Path) -> None:
    """Scores the run on its test split and writes the report."""
    from vssflow_jax.generation.scoring import EvaluationOptions, evaluate
    from vssflow_jax.reports.run import write_report

    evaluate(EvaluationOptions(workdir=workdir, clips=config.train.evaluate_clips))
    print(f"report: {write_report(workdir)}")
    print(
        "sample: python -m vssflow_jax.sample "
        f"--workdir={workdir} --video=in.mp4 --text='place red by k two soon' --out=out.mp4"
    )


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_config(None, "Recipe, a file in configs/.")
    flags.DEFINE_string("workdir", None, "Folder of the run; all hosts share it.")
    flags.DEFINE_string(
        "coordinator_address", None, "Of several processes: HOST:PORT of the first, or auto."
    )
    flags.DEFINE_integer("num_processes", None, "How many processes there are.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
    flags.DEFINE_integer(
        "heartbeat_seconds", 100, "Silence after which a process counts as dead.", lower_bound=1
    )


def main() -> None:
    """Flags in, a trained run out."""
    if flags.FLAGS.config is None or flags.FLAGS.workdir is None:
        raise InputError("expected --config=FILE and --workdir=DIR")
    preemption.exit_on_signals()
    config = command_line.loaded(flags.FLAGS.config)
    distributed.connect(
        flags.FLAGS.coordinator_address,
        flags.FLAGS.num_processes,
        flags.FLAGS.process_id,
        flags.FLAGS.heartbeat_seconds,
    )
    with distributed.crash_guard():
        train(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    command_line.run(main, define_flags)
