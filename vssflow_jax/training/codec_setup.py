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

CODEC_EXAMPLES = 400  # training examples that a codec is fitted on
# Where in the run's folder the codec is that training encodes with, by train.task.
CODEC_FOLDERS = {"flow": "codec", "codec": "start"}


def ensure_codec(config, records, workdir: Path):
    """The run's codec: in its folder, the config's, that of the run it starts from, or a new one.

    A run that trains a codec starts from the one in WORKDIR/start and ends with WORKDIR/codec.

    Raises:
      InputError: the folder that the config names holds no codec.
    """
    folder, init_from = workdir / CODEC_FOLDERS[config.train.task], config.train.init_from
    source = config.codec.folder or (init_from and bundled.find_workdir(init_from) / "codec")
    if not (folder / "codec.json").exists() and source:
        save_codec(load_codec(source), folder)
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
    """The waveforms that a codec is fitted on, the same each time."""
    rows = np.random.default_rng(config.seed).permutation(len(records))[:CODEC_EXAMPLES]
    return (pipeline.read_wave(records[row]) for row in rows)


def write_codec(config, workdir: Path, start, params, records) -> None:
    """Writes the trained codec into WORKDIR/codec, its latents normalized."""
    codec = trained.normalize_latents(
        trained.init_from_pca(start, config.codec, params), read_waves(config, records)
    )
    save_codec(codec, workdir / "codec")
    print(f"codec: {workdir / 'codec'}, {hash_codec(codec)}", flush=True)
