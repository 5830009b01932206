"""What is measured of a trained model: flow losses on fixed noise, and the scores of `evaluate`."""

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


def flow_losses(generator: Generator, folder: Path, tasks: Sequence[str], clips: int) -> dict:
    """The flow loss (VSSFlow, equation 1) by task, of clips that no training has seen.

    Noise and times are the same for every model with the same codec, whatever its seed, so that
    losses of different models can be compared clip by clip.
    """
    config = generator.config.copy_and_resolve_references()
    config.seed = 0
    loss = jax.jit(flow_step.make_validation_loss(generator.synthesizer.model, config))
    spec = pipeline.BatchSpec.from_duration(config.data.duration, generator.statistics["rates"])
    found = {}
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
        found[task] = sum(losses) / len(losses)
    return found


def plain(scores: TaskScores) -> dict[str, float]:
    """The scores of a task, without intervals, with floors."""
    found = scores.summary()
    names = [f"{name}{kind}" for name in protocol.METRICS for kind in ("", "_floor")]
    return {name: found[name] for name in names if name in found}


def over_clips(scores: TaskScores, first: TaskScores | None = None) -> dict[str, dict]:
    """Scores of a task with intervals over clips, and how they differ from another setting's.

    Args:
      scores: of the task's clips.
      first: of the same clips in another setting; None: there is none to compare with.

    Returns:
      By metric `score`, `ci95`, `floor`; and `difference`, `difference_ci95`, paired by clip.
    """
    found = scores.summary()
    ours = values(scores)
    out = {}
    for name in ours:
        keys = {"score": name, "ci95": f"{name}_ci95", "floor": f"{name}_floor"}
        out[name] = {key: found[own] for key, own in keys.items() if own in found}
        if first is not None:
            difference = less(ours[name], values(first)[name])
            out[name] |= {
                "difference": difference.mean(),
                "difference_ci95": list(difference.interval()),
            }
    return out


def values(scores: TaskScores) -> Mapping[str, Values]:
    """Values by clip of the metrics that are means over clips."""
    return aggregate.example_values([one.row for one in scores.scores])


def less(ours: Values, theirs: Values) -> Values:
    """Differences by clip, where both count."""
    return Values(
        values=ours.values - theirs.values, weights=ours.weights, mask=ours.mask & theirs.mask
    )
