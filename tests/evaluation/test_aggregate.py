"""Scores of a task from scores of its examples."""

import numpy as np
import pytest

from vssflow_jax.evaluation import aggregate
from vssflow_jax.evaluation.metrics import distances, suite


def scores_of(features=None, logits=None, **columns):
    columns = {"errors_homophones_equal": columns.get("errors")} | columns
    row = {**dict.fromkeys(suite.COLUMNS), **columns}
    features = np.zeros(2) if features is None else features
    return suite.ExampleScores(row=row, features=features, logits=logits)


def test_means_floors_and_ceilings_of_known_rows():
    scores = [
        scores_of(errors=1, words=6, onset_f1=0.5),
        scores_of(errors=3, words=6, onset_f1=1.0),
        scores_of(),
    ]
    floors = [scores_of(errors=0, words=6), scores_of(errors=1, words=6), scores_of()]
    ceilings = [scores_of(errors=0, words=6), scores_of(errors=0, words=6), scores_of()]
    task = aggregate.aggregate_task(scores, floors, ceilings, [{"id": "x", "reason": "why"}])
    assert task["wer"] == pytest.approx(4 / 12)
    assert task["wer_floor"] == pytest.approx(1 / 12)
    assert task["wer_ceiling"] == 0
    assert task["wer_ci95"][0] <= task["wer"] <= task["wer_ci95"][1]
    assert task["onset_f1"] == 0.75
    assert "onset_f1_floor" not in task  # absent where it was not measured
    assert "speaker_accuracy" not in task
    assert task["clips"] == 3
    assert task["wer_ceiling_ci95"] == [0, 0]
    assert task["counted"] == {"wer": 2, "wer_homophones_equal": 2, "onset_f1": 2}
    assert task["skipped"] == [{"id": "x", "reason": "why"}]


def test_accuracies_are_shares():
    labels = {"class": "bell", "predicted_class": "bell", "speaker": "a", "predicted_speaker": "a"}
    scores = [scores_of(**labels)] * 20
    task = aggregate.aggregate_task(scores, [], scores, [])
    for name in ("sound_class_accuracy", "speaker_accuracy"):
        assert task[name] == 1
        assert task[f"{name}_ci95"] == pytest.approx([0.8389, 1], abs=1e-4)


def test_every_patch_counts_in_a_distance_and_clips_are_left_out_with_all_of_theirs():
    rng = np.random.default_rng(0)

    def random_scores(mean):
        patches = [rng.normal(mean, 1, (count, 3)) for count in (1, 4, 2, 3)]
        return [scores_of(features=features) for features in patches]

    references, scores = random_scores(0), random_scores(1)
    task = aggregate.aggregate_task(scores, [], references, [])
    stacked = (np.concatenate([s.features for s in some]) for some in (references, scores))
    assert task["frechet"] == pytest.approx(distances.frechet(*stacked))
    assert task["frechet_ci95"][0] < task["frechet"] < task["frechet_ci95"][1]
    assert not {"kl", "inception_score"} & task.keys()
