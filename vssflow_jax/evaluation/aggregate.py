"""Scores of examples to scores of a task: means with intervals, floors, ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from vssflow_jax.evaluation.metrics import distances, measures, mos
from vssflow_jax.evaluation.metrics.common import Shares, Values
from vssflow_jax.evaluation.metrics.suite import OPEN, ExampleScores

MIN_EXAMPLES = 2  # that a distance between sets needs
SIMILARITIES = ("dvector_similarity", "dvector_other_voice")


def example_values(rows: Sequence[Mapping]) -> dict[str, Values]:
    """The metrics that are means over examples, by their key in metrics.json, where they apply."""

    def error_rates(errors: str, recognizer: str = ""):
        words = [row[f"words{recognizer}"] or 0 for row in rows]
        counts = [row[f"{errors}{recognizer}"] for row in rows]
        rates = [n / w if w else None for n, w in zip(counts, words, strict=True)]
        return Values.of(rates, words)

    def hit(row, label, prediction):
        return None if row[label] is None else float(row[label] == row[prediction])

    columns = {"speaker_similarity": "similarity"}
    columns |= {
        name: name for name in (*SIMILARITIES, "mcd", "kl", *mos.PREDICTORS, *measures.COLUMNS)
    }
    values = {
        "wer": error_rates("errors"),
        "wer_homophones_equal": error_rates("errors_homophones_equal"),
        f"wer{OPEN}": error_rates("errors", OPEN),
        f"wer_homophones_equal{OPEN}": error_rates("errors_homophones_equal", OPEN),
        "onset_f1": Values.of([r["onset_f1"] for r in rows]),
        "onset_mae_ms": Values.of([r["onset_mae_ms"] for r in rows]),
        "sound_class_accuracy": Shares.of([hit(r, "class", "predicted_class") for r in rows]),
        "speaker_accuracy": Shares.of([hit(r, "speaker", "predicted_speaker") for r in rows]),
        **{key: Values.of([r[column] for r in rows]) for key, column in columns.items()},
    }
    return {name: value for name, value in values.items() if value.count}


def _set_metrics(
    scores: Sequence[ExampleScores], references: Sequence[ExampleScores]
) -> dict[str, tuple]:
    """Metrics of a set as functions, each with its arguments, one item an example."""
    if len(scores) < MIN_EXAMPLES or scores[0].features is None:
        return {}
    features = [
        np.fromiter((np.atleast_2d(s.features) for s in some), object)
        for some in (references, scores)
    ]

    def frechet(*sets):
        return distances.frechet(*map(np.concatenate, sets))

    metrics: dict[str, tuple] = {"frechet": (frechet, features)}
    if scores[0].logits is not None:
        logits = np.array([s.logits for s in scores])
        metrics["inception_score"] = (distances.inception_score, [logits])
    return metrics


def set_scores(
    scores: Sequence[ExampleScores], references: Sequence[ExampleScores]
) -> dict[str, float]:
    """The metrics of the set; `references` are the same examples' ground truth."""
    metrics = _set_metrics(scores, references)
    return {name: metric(*arrays) for name, (metric, arrays) in metrics.items()}


def set_intervals(
    scores: Sequence[ExampleScores], references: Sequence[ExampleScores]
) -> dict[str, tuple]:
    """95 % intervals of `set_scores`, where there are enough examples."""
    with threadpool_limits(1):  # matrices this small gain nothing from threads
        intervals = {
            name: distances.jackknife(metric, arrays)
            for name, (metric, arrays) in _set_metrics(scores, references).items()
        }
    return {name: interval for name, interval in intervals.items() if interval}


def all_scores(
    scores: Sequence[ExampleScores], references: Sequence[ExampleScores]
) -> dict[str, float]:
    """Every score that applies, without intervals."""
    means = {name: value.mean() for name, value in example_values([s.row for s in scores]).items()}
    return means | set_scores(scores, references)


def aggregate_task(
    scores: Sequence[ExampleScores],
    floors: Sequence[ExampleScores],
    ceilings: Sequence[ExampleScores],
    skipped: Sequence[Mapping],
) -> dict:
    """The object of one task in metrics.json.

    Args:
      scores: of the task's examples.
      floors: of the same examples' ground truth through the codec; empty without a codec.
      ceilings: of their ground truth itself.
      skipped: examples that were left out, with reasons.
    """
    values = example_values([s.row for s in scores])
    intervals = {name: value.interval() for name, value in values.items()}
    intervals |= set_intervals(scores, ceilings)
    bounds = {"floor": all_scores(floors, ceilings), "ceiling": all_scores(ceilings, ceilings)}
    out: dict = {"clips": len(scores), "skipped": list(skipped)}
    ceiling_values = example_values([s.row for s in ceilings])
    for name, score in all_scores(scores, ceilings).items():
        out[name] = score
        if name in intervals:
            out[f"{name}_ci95"] = list(intervals[name])
        out |= {f"{name}_{kind}": bound[name] for kind, bound in bounds.items() if name in bound}
        if name in ceiling_values:
            out[f"{name}_ceiling_ci95"] = list(ceiling_values[name].interval())
    out["counted"] = {name: value.count for name, value in values.items()}
    return out
