"""Scores of clips to scores of a task: means with intervals, floors, ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from vssflow_jax.evaluation.metrics import distances, mos
from vssflow_jax.evaluation.metrics.common import Values
from vssflow_jax.evaluation.metrics.suite import Scored

LEAST = 2  # clips that a distance between sets needs


def values(rows: Sequence[Mapping]) -> dict[str, Values]:
    """The metrics that are means over clips, by their key in metrics.json, those that apply."""

    def ratio(row):
        return None if row["words"] is None else row["errors"] / row["words"]

    def hit(row, truth, found):
        return None if row[truth] is None else float(row[truth] == row[found])

    plain = {"speaker_similarity": "similarity", "mcd": "mcd", "kl": "kl"}
    plain |= {name: name for name in mos.PREDICTORS}
    found = {
        "wer": Values.of([ratio(r) for r in rows], [r["words"] or 0 for r in rows]),
        "onset_f1": Values.of([r["onset_f1"] for r in rows]),
        "onset_mae_ms": Values.of([r["onset_mae_ms"] for r in rows]),
        "sound_class_accuracy": Values.of([hit(r, "class", "predicted_class") for r in rows]),
        "speaker_accuracy": Values.of([hit(r, "speaker", "predicted_speaker") for r in rows]),
        **{key: Values.of([r[column] for r in rows]) for key, column in plain.items()},
    }
    return {name: value for name, value in found.items() if value.count}


def _of_set(scored: Sequence[Scored], truths: Sequence[Scored]) -> dict[str, tuple]:
    """Scores of a set as functions, each with what it is of, an item a clip."""
    if len(scored) < LEAST:
        return {}
    features = [
        np.fromiter((np.atleast_2d(s.features) for s in some), object) for some in (truths, scored)
    ]

    def frechet(*sets):
        return distances.frechet(*map(np.concatenate, sets))

    found: dict[str, tuple] = {"frechet": (frechet, features)}
    if scored[0].logits is not None:
        logits = np.array([s.logits for s in scored])
        found["inception_score"] = (distances.inception_score, [logits])
    return found


def of_set(scored: Sequence[Scored], truths: Sequence[Scored]) -> dict[str, float]:
    """The metrics of the set as a whole; `truths` are the same clips' ground truth."""
    return {name: score(*arrays) for name, (score, arrays) in _of_set(scored, truths).items()}


def intervals_of_set(scored: Sequence[Scored], truths: Sequence[Scored]) -> dict[str, tuple]:
    """95 % intervals of the scores of `of_set`, those that there are clips enough for."""
    with threadpool_limits(1):  # matrices this small gain nothing from threads
        found = {
            name: distances.jackknife(score, arrays)
            for name, (score, arrays) in _of_set(scored, truths).items()
        }
    return {name: interval for name, interval in found.items() if interval}


def plain(scored: Sequence[Scored], truths: Sequence[Scored]) -> dict[str, float]:
    """Every score that applies, alone."""
    means = {name: value.mean() for name, value in values([s.row for s in scored]).items()}
    return means | of_set(scored, truths)


def of_task(
    scored: Sequence[Scored],
    floors: Sequence[Scored],
    ceilings: Sequence[Scored],
    skipped: Sequence[Mapping],
) -> dict:
    """The object of one task in metrics.json.

    Args:
      scored: the clips.
      floors: the same clips' ground truth through the codec; empty where there is no codec.
      ceilings: their ground truth itself.
      skipped: clips left out, with reasons.
    """
    rows = values([s.row for s in scored])
    intervals = {name: value.interval() for name, value in rows.items()}
    intervals |= intervals_of_set(scored, ceilings)
    compared = {"floor": plain(floors, ceilings), "ceiling": plain(ceilings, ceilings)}
    out: dict = {"clips": len(scored), "skipped": list(skipped)}
    for name, score in plain(scored, ceilings).items():
        out[name] = score
        if name in intervals:
            out[f"{name}_ci95"] = list(intervals[name])
        out |= {f"{name}_{kind}": some[name] for kind, some in compared.items() if name in some}
    out["counted"] = {name: value.count for name, value in rows.items()}
    return out
