"""The codec of a run: named by its config, fitted on its shards, or trained by the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vssflow_jax import bundled
from vssflow_jax.codecs import trained
from vssflow_jax.codecs.interface import hash_codec, load_codec, save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.data import pipeline

CODEC_EXAMPLES = 400  # training clips that the embedded codec is fitted on


# Fields of config.codec that a fitted codec has; the others are of a trained codec's networks.
FITTED_FIELDS = ("folder", "channels", "whitening", "iterations")


FIRST_CODEC_FOLDER = {"flow": "codec", "codec": "start"}  # in the run's folder, that training takes


def ensure_codec(config, records, workdir: Path):
    """The run's codec: in its folder, the config's, that of the run it starts from, or a new one.

    A run that trains a codec starts from one in WORKDIR/start: WORKDIR/codec will be its own.

    Raises:
      InputError: the folder that the config names holds no codec.
    """
    folder, start = workdir / FIRST_CODEC_FOLDER[config.train.task], config.train.init_from
    given = config.codec.folder or (start and bundled.find_workdir(start) / "codec")
    if not (folder / "codec.json").exists() and given:
        save_codec(load_codec(given), folder)
    if not (folder / "codec.json").exists():
        waves = read_waves(config, records)
        codec = fit_pca(
            waves,
            channels=config.codec.channels,
            whitening=config.codec.whitening,
            iterations=config.codec.iterations,
        )
        save_codec(codec, folder)
    return load_codec(folder)


def read_waves(config, records) -> Iterator[np.ndarray]:
    """The sound of training clips that a codec is fitted on, the same each time."""
    rows = np.random.default_rng(config.seed).permutation(len(records))[:CODEC_EXAMPLES]
    return (pipeline.read_wave(records[row]) for row in rows)


def write_codec(config, workdir: Path, start, params, records) -> None:
    """Writes the trained codec into WORKDIR/codec, its latents centred and scaled."""
    codec = trained.normalize_latents(
        trained.init_from_pca(start, config.codec, params), read_waves(config, records)
    )
    save_codec(codec, workdir / "codec")
    print(f"codec: {workdir / 'codec'}, {hash_codec(codec)}", flush=True)
