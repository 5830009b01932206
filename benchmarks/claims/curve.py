"""Error of each solver against a fine solution of the same equation, by velocity evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from vssflow_jax.data import pipeline
from vssflow_jax.flow import guidance, solvers, windows
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.sampling import SamplingOptions
from vssflow_jax.generation.synthesis import draw_noise
from vssflow_jax.models import folded
from vssflow_jax.models.windowed import windowed_velocity

EVALUATIONS = (4, 8, 16, 32)
FINE = ("rk4", 32)  # the reference solution


def measure_curve(generator: Generator, records: Sequence[Mapping]) -> dict:
    """Relative errors of the guided latent, |x - x_fine| / |x_fine|, mean over clips.

    Args:
      generator: of the run.
      records: clips with sound, no longer than the run was trained on.

    Returns:
      solver -> [[evaluations, error], ..]; and `fine`, the reference with its own error,
      estimated by solving with half as many steps.
    """
    velocity, noise = prepare_velocity(generator, records)
    with jax.disable_jit():  # solvers run in Python and call one compiled velocity
        fine = solvers.solve(velocity, noise, *FINE)
        out = {}
        for solver, tableau in solvers.TABLEAUX.items():
            out[solver] = []
            for count in EVALUATIONS:
                steps, rest = divmod(count, len(tableau.times))
                if not rest:
                    x = solvers.solve(velocity, noise, solver, steps)
                    out[solver].append([count, relative_error(x, fine)])
        solution = solvers.dopri5(velocity, noise)
        out["dopri5"] = [[int(solution.evaluations), relative_error(solution.x, fine)]]
        half = relative_error(solvers.solve(velocity, noise, FINE[0], FINE[1] // 2), fine)
    return {"errors": out, "fine": {"solver": FINE[0], "steps": FINE[1], "half": half}}


def prepare_velocity(generator: Generator, records: Sequence[Mapping]):
    """The jitted velocity (x [B, L, C], scalar t) with the run's guidance, and noise [B, L, C]."""
    sampling = SamplingOptions().resolve(generator.config)
    statistics = generator.statistics
    spec = pipeline.BatchSpec.from_duration(
        generator.config.data.duration, statistics["rates"], statistics.get("widths")
    )
    batch = pipeline.stack_examples([pipeline.make_example(record, spec) for record in records])
    length = spec.latent_frames
    inputs = {name: batch[name] for name in ("features", "present")}
    model = generator.synthesizer.model
    params = folded.fold_params(model, generator.params)
    ids = [record["meta"]["id"] for record in records]
    noise = jnp.stack([draw_noise(name, 0, length, generator.codec.channels) for name in ids])

    @jax.jit
    def velocity(params, inputs, x, t):
        windowed = windowed_velocity(
            model,
            params,
            sampling.branches,
            (inputs["features"], inputs["present"]),
            windows.plan_windows(length, length, overlap=0),
        )
        return guidance.make_guided_velocity(windowed, sampling.groups)(x, t)

    def call_velocity(x, t):
        with jax.disable_jit(False):
            return velocity(params, inputs, x, jnp.float32(t))

    return call_velocity, noise


def relative_error(x, fine) -> float:
    """Mean over clips of |x - fine| / |fine|, norms over frames and channels."""
    distance, size = (jnp.linalg.norm(a, axis=(1, 2)) for a in (x - fine, fine))
    return float(jnp.mean(distance / size))
