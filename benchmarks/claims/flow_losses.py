"""Measures of a trained model: flow losses on fixed noise, and the scores of `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from vssflow_jax.data import pipeline, shards
from vssflow_jax.evaluation import aggregate, protocol
from vssflow_jax.evaluation.evaluator import BATCH_SIZE, TaskScores
from vssflow_jax.evaluation.metrics.common import Values
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import flow_step

SPLIT = "test"
DRAWS = 4  # of noise and time for each clip


def measure_flow_losses(
    generator: Generator, folder: Path, tasks: Sequence[str], clips: int
) -> dict:
    """The flow loss (VSSFlow, equation 1) by task, on test clips.

    Noise and times are the same for every model with the same codec, whatever its seed, so that
    losses of different models are comparable clip by clip.
    """
    config = generator.config.copy_and_resolve_references()
    config.seed = 0
    loss = jax.jit(flow_step.make_validation_loss(generator.synthesizer.model, config))
    statistics = generator.statistics
    spec = pipeline.BatchSpec.from_duration(
        config.data.duration, statistics["rates"], statistics.get("widths")
    )
    out = {}
    for task in tasks:
        records = shards.open_split(folder, SPLIT, with_wave=True, tasks=(task,))
        options = {"batch_size": BATCH_SIZE, "max_examples": clips, "rows": range(BATCH_SIZE)}
        losses = []
        for number, batch in enumerate(
            pipeline.iterate_validation_batches(records, spec, **options)
        ):
            arrays = {name: part for name, part in batch.items() if name not in pipeline.HOST_KEYS}
            for draw in range(DRAWS):
                value = loss(generator.params, generator.codec, arrays, DRAWS * number + draw)
                losses.append(float(value))
        out[task] = sum(losses) / len(losses)
    return out


def scores_and_floors(scores: TaskScores) -> dict[str, float]:
    """The scores of a task and their codec floors, without intervals."""
    summary = scores.summary()
    names = [f"{name}{kind}" for name in protocol.METRICS for kind in ("", "_floor")]
    return {name: summary[name] for name in names if name in summary}


def compare_scores(scores: TaskScores, first: TaskScores | None = None) -> dict[str, dict]:
    """Scores of a task with intervals over clips, and differences from another setting.

    Args:
      scores: of the task's clips.
      first: of the same clips in another setting; None: no comparison.

    Returns:
      By metric `score`, `ci95`, `floor`; and `difference`, `difference_ci95`, paired by clip.
    """
    summary = scores.summary()
    ours = clip_values(scores)
    out = {}
    for name in ours:
        keys = {"score": name, "ci95": f"{name}_ci95", "floor": f"{name}_floor"}
        out[name] = {key: summary[own] for key, own in keys.items() if own in summary}
        if first is not None:
            difference = subtract_values(ours[name], clip_values(first)[name])
            out[name] |= {
                "difference": difference.mean(),
                "difference_ci95": list(difference.interval()),
            }
    return out


def clip_values(scores: TaskScores) -> Mapping[str, Values]:
    """Values by clip of the metrics that are means over clips."""
    return aggregate.example_values([one.row for one in scores.scores])


def subtract_values(ours: Values, theirs: Values) -> Values:
    """Differences by clip, where both apply."""
    return Values(
        values=ours.values - theirs.values, weights=ours.weights, mask=ours.mask & theirs.mask
    )
