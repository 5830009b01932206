"""What a run is set up from: checks of its config, its data set, its identity."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax

from vssflow_jax import bundled, conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import is_remote, resolve
from vssflow_jax.common.locks import Locks
from vssflow_jax.config import fields, validation
from vssflow_jax.data import crop, mix, pipeline, shards
from vssflow_jax.training import checkpoint, codec_step, distill_step, distributed, sharding
from vssflow_jax.training.flow_step import flow_task
from vssflow_jax.training.init_from import find_first_weights
from vssflow_jax.training.loop import TrainingData

LOCKS = ".train.lock"
TASKS = {
    "flow": flow_task,
    "codec": codec_step.codec_task,
    "distill": distill_step.distill_task,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """An open folder of shards.

    Attributes:
      folder: of the shards.
      hash: of the data set.
      records: the training examples.
      validation: the validation examples; there may be none.
      rates: frames a second by condition; None: one vector an example.
      widths: channels by condition.
      audio: format of the waves.
      statistics: what generation needs to know of the data, for the run's statistics.json.
      latents: what dataset.json says of the stored latents that are read; None: waveforms are.
    """

    folder: Path
    hash: str
    records: shards.Split
    validation: shards.Split
    rates: Mapping[str, float | None]
    widths: Mapping[str, int]
    audio: conditions.AudioFormat
    statistics: Mapping
    latents: Mapping | None = None


def check(config, workdir: Path) -> None:
    """Raises an InputError for what can be known to be wrong before anything is made."""
    validation.check(config)
    if config.train.task == "codec":
        codec_step.check_config(config)
    if config.data.latents and config.data.mix.ratio:
        raise InputError(
            f"data.mix.ratio: found {config.data.mix.ratio}, expected 0 where data.latents is "
            "True, since mixtures are made of waveforms"
        )
    if config.data.latents and config.codec.train_steps:
        raise InputError(
            f"codec.train_steps: found {config.codec.train_steps}, expected 0 where data.latents "
            "is True, since the latents are those of a codec that exists"
        )
    if config.train.task == "codec" or config.codec.train_steps:
        codec_step.check_codec(config)
    field, folder = find_first_weights(config)
    is_start = not checkpoint.has_steps(workdir)  # a run that resumes needs that folder no more
    if folder and is_start and not bundled.find_workdir(folder).is_dir():
        raise InputError(f"{field}: found {folder!r}, expected the folder of a run or a model")
    if config.train.task == "distill":
        distill_step.check_config(config)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir={workdir}: found a file, expected a folder")
    checkpoint.check_no_conversion(workdir)
    if config.data.shards:
        shards.load_dataset_info(config.data.shards)
    elif is_remote(workdir):
        raise InputError(
            f"data.shards: found nothing, expected a folder that prepare has written: in "
            f"{workdir} no corpus is built"
        )
    elif not config.data.corpus:
        raise InputError("data.shards: found nothing, expected a folder that prepare has written")


def list_idle_fields(config) -> list[str]:
    """The fields of a student that are set in a config that trains none: they have no effect."""
    if config.train.task == "distill":
        return []
    student = [field for field in fields.FIELDS if field.name.startswith("distill.")]
    return [field.name for field in student if fields.value_of(config, field.name) != field.default]


@contextlib.contextmanager
def hold_folder(workdir: Path) -> Iterator[None]:
    """A block in which no other training can start in `workdir`. The main process holds it for all.

    Raises:
      InputError: another training holds it. One that was killed does not.
    """
    if not distributed.is_main_process():
        yield
        return
    with Locks(workdir / LOCKS) as locks:
        if not locks.take("train"):
            raise InputError(
                f"--workdir={workdir}: found a training that is running in this folder, expected "
                "none; wait for its end or choose another folder"
            )
        yield


def set_compilation_cache(folder: str | Path) -> None:
    """Keeps compiled programs in a folder for later starts, unless JAX's own variable names one."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(resolve(folder)))


def open_training_split(config, folder: Path, tasks: Sequence[str]) -> shards.Split:
    """The training examples that have sound, of some tasks (none: of all), as often as in an epoch.

    Raises:
      InputError: there are none.
    """
    records = shards.open_split(
        folder,
        "train",
        with_wave=True,
        tasks=tasks,
        repeats=dict(config.data.repeats),
        replace_corrupt=True,
        with_latents=config.data.latents,
    )
    if not len(records):
        raise InputError(
            f"{folder}: found no training clips with sound of the tasks "
            f"{tuple(tasks) or conditions.TASKS}, expected some"
        )
    return records


def open_dataset(config, folder: Path) -> Dataset:
    """Opens the shards of a run.

    Raises:
      InputError: no training examples there, or sound of another format than the config's.
    """
    info = shards.load_dataset_info(folder)
    if config.data.latents:
        check_latents(info, folder, config.data.duration)
    audio = shards.read_audio_format(info)
    expected = conditions.AudioFormat(config.data.sample_rate, config.data.audio_channels)
    if audio != expected:
        raise InputError(
            f"{folder}: found sound of {audio}, expected {expected} (data.sample_rate, "
            "data.audio_channels)"
        )
    rates = {name: feature["rate"] for name, feature in info["features"].items()}
    widths = {name: feature["width"] for name, feature in info["features"].items()}
    return Dataset(
        folder=folder,
        hash=info["hash"],
        records=open_training_split(config, folder, config.data.tasks),
        validation=shards.open_split(
            folder,
            "valid",
            with_wave=True,
            tasks=config.data.tasks,
            replace_corrupt=True,
            with_latents=config.data.latents,
        ),
        rates=rates,
        widths=widths,
        audio=audio,
        statistics={**info["statistics"], "rates": rates, "widths": widths},
        latents=info[shards.LATENTS] if config.data.latents else None,
    )


def check_latents(info: Mapping, folder: Path, duration: float) -> None:
    """Raises an InputError unless latents of examples of `duration` seconds are stored."""
    command = f"python -m vssflow_jax.prepare --out={folder} --latents=CODEC"
    latents = info.get(shards.LATENTS)
    if latents is None:
        raise InputError(f"data.latents: found none in {folder}, expected them by `{command}`")
    frames = conditions.num_latent_frames(duration)
    if latents["frames"] != frames:
        raise InputError(
            f"data.duration: found {frames} latent frames, expected {latents['frames']}, the "
            f"length of the latents in {folder}, since crops are cut from waveforms "
            "(data.latents=False)"
        )


def check_codec(dataset: Dataset, codec_hash: str) -> None:
    """Raises an InputError for stored latents of another codec than the run's."""
    if dataset.latents and dataset.latents["codec"] != codec_hash:
        raise InputError(
            f"data.latents: found latents of the codec {dataset.latents['codec']} in "
            f"{dataset.folder}, expected the run's, {codec_hash} (codec.folder)"
        )


def make_mixer(config, dataset: Dataset) -> mix.Mixer | None:
    """Makes joint examples from speech and sound examples; None where the config has it off."""
    if not config.data.mix.ratio:
        return None
    speech, sound = (
        open_training_split(config, dataset.folder, (task,)) for task in ("speech", "sound")
    )
    by_time = config.model.time_aligned_sync
    return mix.make_mixer(config.data.mix, dataset.records, speech, sound, dataset.rates, by_time)


def make_training_data(config, dataset: Dataset, mesh) -> TrainingData:
    """The batches that this process reads."""
    spec = pipeline.BatchSpec.from_duration(
        config.data.duration, dataset.rates, dataset.widths, dataset.audio
    )
    if dataset.latents:
        spec = dataclasses.replace(spec, latent_channels=dataset.latents["channels"])
    rows = sharding.local_rows(config.data.batch_size, mesh)
    validation_batches = functools.partial(
        pipeline.iterate_validation_batches,
        dataset.validation,
        spec,
        batch_size=config.data.batch_size,
        max_examples=config.train.validate_clips,
        rows=rows,
    )
    return TrainingData(
        batches=pipeline.iterate_training_batches(
            dataset.records,
            spec,
            batch_size=config.data.batch_size,
            seed=config.seed,
            mixer=make_mixer(config, dataset),
            cropper=crop.RandomCropper(
                latent_frames=spec.latent_frames, rates=dataset.rates, seed=config.seed
            ),
            workers=config.data.workers,
            rows=rows,
        ),
        spec=spec,
        num_examples=dataset.records.num_different,
        validation=validation_batches if len(dataset.validation) else None,
    )


def run_identity(config, codec_hash: str, dataset_hash: str) -> dict:
    """What the checkpoints of this run must have been made with."""
    return {"codec": codec_hash, "dataset": dataset_hash, "config": fields.fixed_fields(config)}
