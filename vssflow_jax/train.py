"""Trains a model: `python -m vssflow_jax.train --config=configs/joint.py --workdir=DIR`.

The same command resumes from the newest complete checkpoint in DIR. If the config names a
built-in corpus and there are no shards yet, it builds them first. SIGTERM or Ctrl-C saves a
checkpoint and exits with status 75. Several processes, one a host, make one run: docs/pod.md.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import jax
from absl import flags

from vssflow_jax.codecs.interface import hash_latents
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.conditions import AudioFormat
from vssflow_jax.config import command_line
from vssflow_jax.data import crop, shards
from vssflow_jax.generation import hooks
from vssflow_jax.training import (
    codec_setup,
    distributed,
    loop,
    preemption,
    resources,
    run_paths,
    setup,
    sharding,
    state,
)


def ensure_shards(config, workdir: Path) -> Path:
    """The folder of shards: the config's, or WORKDIR/shards, which is built if it is missing."""
    if config.data.shards:
        return hub.find_path(config.data.shards, hub.DATASET)
    folder = workdir / "shards"
    if (folder / shards.DATASET).exists():
        return folder
    from vssflow_jax.corpus import build
    from vssflow_jax.preparation.prepare import prepare

    print(f"no shards in {folder}: building the corpus {config.data.corpus!r} first", flush=True)
    data = config.data
    settings = build.CorpusSettings(
        clips=build.DEFAULT_CLIPS if data.corpus_clips is None else data.corpus_clips,
        audio_clips=data.corpus_audio_clips,
        seed=config.seed,
        voices=data.corpus_voices,
        sentences=data.corpus_sentences,
        audio_sentences=data.corpus_audio_sentences,
    )
    manifest = build.build_corpus(workdir / "corpus", settings)
    longest = max(data.duration, settings.audio_seconds if settings.audio_clips else 0.0)
    prepare(
        manifest,
        folder,
        max_seconds=longest,
        encoder_set=data.corpus_encoders,
        audio=AudioFormat(data.sample_rate, data.audio_channels),
    )
    return folder


def train(config, workdir: str | Path) -> None:
    """Trains to `config.train.steps`, from wherever the run in `workdir` stands.

    Raises:
      InputError: a config, shards or a folder that cannot be used; all but damaged records are
        found before the first step.
    """
    workdir = to_path(workdir)
    setup.check(config, workdir)
    if (names := setup.list_idle_fields(config)) and distributed.is_main_process():
        task = config.train.task
        print(f"note: {', '.join(names)}: no effect where train.task is {task!r}", flush=True)
    with setup.hold_folder(workdir):
        _train(config, workdir)


def _train(config, workdir: Path) -> None:
    start = time.perf_counter()
    jax.config.update("jax_default_matmul_precision", config.precision.matmul)
    setup.set_compilation_cache(config.train.compilation_cache or workdir / "compiled")
    mesh = sharding.make_mesh(dict(config.mesh))
    sharding.check_config(config, mesh)
    if config.train.evaluate:
        # Errors before the first step, not after the last.
        scoring = hooks.import_scoring("train.evaluate")
        if folder := find_recognizer(config):
            scoring.asr.load_whisper(str(folder), "evaluate.recognizer")
    with distributed.main_process_first("shards"):
        shards_folder = ensure_shards(config, workdir)
    if codec_setup.trains_codec_first(config, workdir):
        codec_config = codec_setup.first_stage_config(config, shards_folder)
        print(f"training a codec first: {codec_config.train.steps} steps", flush=True)
        train_task(codec_config, workdir / codec_setup.FIRST_STAGE, shards_folder, mesh)
    train_task(config, workdir, shards_folder, mesh)
    distributed.shutdown()
    if not distributed.is_main_process():
        return
    seconds = time.perf_counter() - start
    print(f"trained {config.train.steps} steps; {seconds:.0f} s in all", flush=True)
    if config.train.evaluate:
        preemption.exit_on_signals()
        evaluate_and_report(config, workdir)


def train_task(config, workdir: Path, shards_folder: Path, mesh) -> None:
    """Trains what `train.task` names, from wherever the run in `workdir` stands."""
    with distributed.main_process_first("codec"):
        dataset = setup.open_dataset(config, shards_folder)
        codec = codec_setup.ensure_codec(config, dataset.records, workdir, dataset.audio)
        setup.check_codec(dataset, hash_latents(codec))
    if not hub.is_name(config.data.shards):
        with config.unlocked():
            config.data.shards = str(dataset.folder)
    run = loop.Run(
        config,
        workdir,
        mesh,
        codec,
        setup.make_training_data(config, dataset, mesh),
        setup.run_identity(config, hash_latents(codec), dataset.hash),
        setup.TASKS[config.train.task],
    )
    if distributed.is_main_process():  # the config fits what the run has made so far
        write_description(run, dataset)
    hook, missed = make_hook(run, codec, dataset), None
    if distributed.is_main_process():
        missed = hook.find_missed(workdir, run.step, run.checkpoints.steps())
    run.train(hook, missed)
    if config.train.task == "codec":
        weights = distributed.gather_to_host(run.state.weights)
        if distributed.is_main_process():
            codec_setup.write_codec(config, workdir, codec, weights, dataset.records)


def write_description(run: loop.Run, dataset: setup.Dataset) -> None:
    """Writes config.json and statistics.json of a run, and prints its size."""
    write_text(run.workdir / "statistics.json", json.dumps(dataset.statistics, indent=1))
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.shards = run_paths.portable_path(run.workdir, run.config.data.shards)
    write_text(run.workdir / "config.json", config.to_json(indent=1))
    count = state.count_parameters(run.state.params)
    print(f"{count:,} parameters, {len(dataset.records)} training clips, {dict(run.mesh.shape)}")
    print(resources.parameter_table(run.state.params))
    print(crop.describe_lengths(dataset.records, run.data.spec.latent_frames))
    if config.data.batch_size > len(dataset.records):
        print(
            f"note: a batch has {config.data.batch_size} clips and the training split "
            f"{len(dataset.records)}: every batch repeats clips"
        )
    if run.step:
        print(f"resuming from step {run.step}")
    sys.stdout.flush()


def make_hook(run: loop.Run, codec, dataset: setup.Dataset) -> hooks.PeriodicHook:
    """The hook that generates samples and scores them while training."""
    tasks = (
        hooks.sampling_task(run.workdir, run.config, dataset.validation),
        hooks.scoring_task(run.workdir, run.config, dataset.folder, codec),
    )
    return hooks.PeriodicHook(run.config, codec, dataset.statistics, tasks)


def find_recognizer(config) -> Path | None:
    """The folder of the config's second recognizer; None where there is none."""
    folder = Path(config.evaluate.recognizer).expanduser()
    return folder if config.evaluate.recognizer and folder.is_dir() else None


def evaluate_and_report(config, workdir: Path) -> None:
    """Scores the run on its test split, if that has sound, and writes the report."""
    from vssflow_jax.generation.scoring import EvaluationOptions, evaluate
    from vssflow_jax.reports.run import make_commands, write_report

    if len(shards.open_split(config.data.shards, "test", with_wave=True)):
        options = EvaluationOptions(workdir=workdir, clips=config.train.evaluate_clips)
        if folder := find_recognizer(config):
            options = dataclasses.replace(options, open_recognizer=f"whisper:{folder}")
        evaluate(options)
    else:
        print(f"no test clips with sound in {config.data.shards}: nothing to score")
    print(f"report: {write_report(workdir)}")
    _, command = make_commands(workdir)[0]
    print(f"sample: {command}")


def define_flags() -> None:
    """The flags of the command."""
    command_line.define_config(None, "Recipe, a file in configs/.")
    command_line.define_path("workdir", None, "Folder of the run; all hosts share it.")
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
    config = command_line.require_config(flags.FLAGS.config)
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
