"""The codec of a run: named by its config, fitted on its shards, or trained by the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vssflow_jax import bundled
from vssflow_jax.codecs import trained
from vssflow_jax.codecs.interface import (
    audio_format,
    check_rate,
    hash_codec,
    load_codec,
    save_codec,
)
from vssflow_jax.codecs.pca import PcaCodec, fit_pca
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import MONO_16K, AudioFormat
from vssflow_jax.config import load_recipe
from vssflow_jax.data import pipeline
from vssflow_jax.training import codec_step

CODEC_EXAMPLES = 400  # training examples that a codec is fitted on
# Where in the run's folder the codec is that training encodes with, by train.task.
CODEC_FOLDERS = {"flow": "codec", "codec": "start", "distill": "codec"}
FIRST_STAGE = "codec_training"  # folder in that of a run that trains its codec first


def ensure_codec(config, records, workdir: Path, audio: AudioFormat = MONO_16K):
    """The run's codec: in its folder, the config's, that of the run it starts from, or a new one.

    A run that trains a codec starts from the one in WORKDIR/start and ends with WORKDIR/codec.

    Args:
      config: the run's.
      records: of training.
      workdir: the run's folder.
      audio: format of the records' waves.

    Raises:
      InputError: the folder that the config names holds no codec, or one of another kind, of
        another latent rate or for sound of another format.
    """
    folder, source = workdir / CODEC_FOLDERS[config.train.task], codec_source(config)
    if not source and config.codec.train_steps:
        source = workdir / FIRST_STAGE / "codec"
    if not (folder / "codec.json").exists() and source:
        codec = load_codec(source)
        check_codec(config, codec, audio, str(source))
        save_codec(codec, folder)
    if not (folder / "codec.json").exists():
        check_fitted(config, audio)
        waves = read_waves(config, records)
        codec = fit_pca(
            waves,
            channels=config.codec.channels,
            whitening=config.codec.whitening,
            iterations=config.codec.iterations,
        )
        save_codec(codec, folder)
    codec = load_codec(folder)
    check_codec(config, codec, audio, str(folder))
    return codec


def check_codec(config, codec, audio: AudioFormat, place: str) -> None:
    """Raises an InputError for a codec that the run cannot use."""
    if config.train.task == "flow" and config.codec.name not in ("", codec.kind):
        raise InputError(
            f"codec.name: found {config.codec.name!r}, expected {codec.kind!r} as in {place}"
        )
    check_rate(codec, place)
    if audio_format(codec) != audio:
        raise InputError(
            f"{place}: found a codec for {audio_format(codec)}, expected one for the shards' "
            f"{audio} (prepare --sample_rate, --audio_channels)"
        )


def check_fitted(config, audio: AudioFormat) -> None:
    """Raises an InputError where a codec would have to be fitted that cannot be."""
    if config.train.task == "flow" and config.codec.name not in ("", PcaCodec.kind):
        raise InputError(
            f"codec.folder: found nothing, expected the folder of a codec {config.codec.name!r}"
        )
    if audio != MONO_16K:
        raise InputError(
            f"data.shards: found sound of {audio}, expected {MONO_16K} for a fitted codec; "
            "codec.folder names another"
        )


def codec_source(config) -> str | Path:
    """The folder of the codec that a config names, itself or by the run it starts from, or ""."""
    init_from = config.train.init_from
    return config.codec.folder or (init_from and bundled.find_workdir(init_from) / "codec")


def trains_codec_first(config, workdir: Path) -> bool:
    """Whether the run in `workdir` still has to train the codec that it encodes with."""
    folders = (workdir / "codec", workdir / FIRST_STAGE / "codec")
    there = any((folder / "codec.json").exists() for folder in folders)
    return bool(config.codec.train_steps) and not there and not codec_source(config)


def first_stage_config(config, shards_folder: Path):
    """The config of the run that trains the codec of another run, on the same shards.

    Its codec, data, seed, devices and precision are those of that run, all else the recipe's.
    """
    stage = load_recipe("codec")
    stage.update(seed=config.seed, codec=config.codec, mesh=config.mesh, precision=config.precision)
    stage.codec.train_steps = 0
    stage.data.update(
        shards=str(shards_folder),
        duration=config.data.duration,
        tasks=config.data.tasks,
        workers=config.data.workers,
        max_corrupt_fraction=config.data.max_corrupt_fraction,
    )
    stage.train.steps = config.codec.train_steps
    return stage


def read_waves(config, records) -> Iterator[np.ndarray]:
    """The waveforms that a codec is fitted on, the same each time."""
    rows = np.random.default_rng(config.seed).permutation(len(records))[:CODEC_EXAMPLES]
    return (pipeline.read_wave(records[row]) for row in rows)


def write_codec(config, workdir: Path, start, params, records) -> None:
    """Writes the trained codec into WORKDIR/codec, the latents of a new encoder normalized."""
    codec = codec_step.assemble_codec(config, start, params)
    if isinstance(start, PcaCodec):
        codec = trained.normalize_latents(codec, read_waves(config, records))
    save_codec(codec, workdir / "codec")
    print(f"codec: {workdir / 'codec'}, {hash_codec(codec)}", flush=True)
