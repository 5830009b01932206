"""The effect of each condition on the velocity, over the time of a clip.

Method: leave one condition out and compare velocities, averaged over flow times.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.codecs.interface import audio_format
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing, to_path
from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.data import pipeline
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.synthesis import draw_noise
from vssflow_jax.reports import plots
from vssflow_jax.reports.examples import read_records

TIMES = (0.25, 0.5, 0.75)  # flow times t: 0 is noise, 1 is data


def measure_attribution(
    generator: Generator, record: Mapping, seed: int = 0
) -> dict[str, np.ndarray]:
    """How much the velocity changes when one condition is left out.

    At points x_t = (1 - t) x_0 + t x_1 between noise and the clip's own latent: for each latent
    frame the root mean square of v(all conditions) - v(all but one) over channels and TIMES.

    Args:
      generator: of the run.
      record: of an example with sound, no longer than those that the run was trained on.
      seed: of the noise.

    Returns:
      float32 [L] by condition, of those that the route uses and the record has.
    """
    statistics = generator.statistics
    spec = pipeline.BatchSpec.from_duration(
        record["meta"]["duration"],
        statistics["rates"],
        statistics.get("widths"),
        audio_format(generator.codec),
    )
    example = pipeline.make_example(record, spec)
    used = conditions.ROUTES[generator.config.model.route].used
    names = [name for name in used if record.get(name) is not None]
    branches = len(names) + 1
    latent = generator.codec.encode(jnp.asarray(example["wave"])[None])[0]  # 1 L C
    noise = draw_noise(record["meta"]["id"], seed, *latent.shape[1:])[None]
    features = {
        name: jnp.repeat(jnp.asarray(array)[None], branches, 0)
        for name, array in example["features"].items()
    }
    present = {
        name: np.float32([flag and name != left_out for left_out in (None, *names)])
        for name, flag in example["present"].items()
    }

    @jax.jit
    def velocities(params, features, present, latent, noise):  # -> [times, branches, L, C]
        def apply(*arguments, **options):
            return generator.synthesizer.model.apply({"params": params}, *arguments, **options)

        conditioned = apply(features, present, latent.shape[1], method="condition")
        points = [jnp.repeat((1 - t) * noise + t * latent, branches, 0) for t in TIMES]
        return jnp.stack(
            [
                apply(x, jnp.full(branches, t), conditioned, method="velocity")
                for t, x in zip(TIMES, points, strict=True)
            ]
        )

    velocity = np.asarray(velocities(generator.params, features, present, latent, noise))
    change = np.sqrt(np.square(velocity[:, 1:] - velocity[:, :1]).mean((0, -1)))  # conditions L
    return dict(zip(names, change.astype(np.float32), strict=True))


def write_maps(folder: Path, record: Mapping, maps: Mapping[str, np.ndarray]) -> Path:
    """Writes the maps and their plot into a folder; returns the plot's path."""
    meta = record["meta"]
    write_arrays(folder / f"{meta['id']}.safetensors", dict(maps))
    onsets = meta.get("annotation", {}).get("onsets", ())
    image = plots.plot_attribution(maps, meta["duration"], meta.get("alignment") or (), onsets)
    path = folder / f"{meta['id']}.png"
    with replacing(path) as partial:
        partial.write_bytes(image)
    return path


def write_attribution(workdir: str, name: str, split: str, shards: str, out: str) -> Path:
    """Writes maps and plot of a clip of the run's shards; returns the plot's path.

    Args:
      workdir: folder of a trained run.
      name: id of the clip.
      split: of the shards.
      shards: folder of shards; empty: the run's.
      out: folder to write to; empty: RUN/eval/attribution.

    Raises:
      InputError: no such clip with sound.
    """
    generator = Generator.from_workdir(workdir)
    shards = shards or generator.config.data.shards
    record = read_records(to_path(shards), split, {name}).get(name)
    if record is None:
        raise InputError(f"--clip: found no clip {name!r} with sound in {shards}, {split}")
    folder = to_path(out or to_path(workdir) / "eval" / "attribution")
    return write_maps(folder, record, measure_attribution(generator, record))
