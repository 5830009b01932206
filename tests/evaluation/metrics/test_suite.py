"""The metric suite on the ground truth, on silence, and on texts outside the grammar."""

import dataclasses

import numpy as np
import pytest
from helpers.synthetic_audio import spoken, struck, times

from vssflow_jax import media
from vssflow_jax.evaluation import aggregate
from vssflow_jax.evaluation.metrics import asr, embedding, suite
from vssflow_jax.evaluation.metrics.reference_models import ReferenceModels

RATE = 16_000
SENTENCES = ("place white with k zero again", "lay green in r two soon", "bin red by x six please")


def example(number, kind=None, name=None):
    annotation = {"id": str(number)}
    meta = {"id": str(number), "task": "sound" if kind else "speech", "duration": 3.0}
    if kind:
        annotation |= {"sound_class": kind, "onsets": times(number)}
        wave = struck(kind, times(number), number)
    else:
        annotation |= {"speaker": name}
        meta |= {"text": SENTENCES[number % 3]}
        wave = spoken(meta["text"], name, seconds=3.0)
    return {"meta": {**meta, "annotation": annotation}, "wave": media.to_int16(wave)}, wave


@pytest.fixture(scope="module")
def metric_suite():
    examples = [example(n, kind) for n in range(15) for kind in ("wood", "bell")]
    examples += [example(n, None, name) for n in range(3) for name in ("ada", "ben", "emil")]
    return suite.MetricSuite(
        reference_models=ReferenceModels.fit([r for r, _ in examples], [w for _, w in examples]),
        recognizer=asr.load("pocketsphinx"),
        embedding=embedding.load(),
    )


def test_ground_truth_has_the_best_scores(metric_suite):
    clips = [example(50, "bell"), example(50, None, "ben"), example(52, "wood")]
    scored = metric_suite.score([r for r, _ in clips], [w for _, w in clips])
    scores = aggregate.aggregate_task(scored, [], scored, [])
    assert scores["onset_f1"] == scores["sound_class_accuracy"] == scores["speaker_accuracy"] == 1
    assert scores["wer"] <= 0.2
    assert scores["mcd"] == pytest.approx(0, abs=0.1)  # the record's wave has 16 bits
    assert scores["kl"] == pytest.approx(0, abs=1e-3)
    assert scores["frechet"] == pytest.approx(0, abs=1e-6)
    assert scores["inception_score_ceiling"] == scores["inception_score"] > 1
    assert scores["counted"] == {
        "wer": 1, "wer_homophones_equal": 1, "onset_f1": 2, "onset_mae_ms": 2,
        "sound_class_accuracy": 2, "speaker_accuracy": 1, "mcd": 1, "kl": 3,
    }  # fmt: skip
    assert "speaker_similarity" not in scores  # no record has a reference voice
    assert not [name for name in scores if name.endswith("_floor")]  # there is no codec
    assert scored[1].row["onset_f1"] is None
    assert scored[0].row["hypothesis"] is None


def test_silence_has_bad_scores(metric_suite):
    clips = [example(50, "bell"), example(50, None, "ben"), example(51, None, "ada")]
    records = [r for r, _ in clips]
    truth = metric_suite.score(records, [w for _, w in clips])
    scored = metric_suite.score(records, [np.zeros(3 * RATE, np.float32)] * 3)
    scores = aggregate.aggregate_task(scored, truth, truth, [])
    assert scores["wer"] == 1.0
    assert scores["onset_f1"] == scores["sound_class_accuracy"] == scores["speaker_accuracy"] == 0.0
    assert "onset_mae_ms" not in scores
    assert scores["mcd"] > 5
    assert scores["kl"] > 0.5
    assert scores["frechet"] > 1
    assert scores["inception_score"] == pytest.approx(1)
    assert scores["wer_floor"] <= 0.2


def test_texts_outside_the_grammar_are_not_scored_and_the_row_says_why(metric_suite):
    clip, wave = example(50, None, "ben")
    clip["meta"]["text"] = "hello there"
    (scored,) = metric_suite.score([clip], [wave])
    assert scored.row["errors"] is None
    assert "grammar" in scored.row["unscored"]
    assert "wer" not in aggregate.example_values([scored.row])
    assert metric_suite.score([], []) == []


class Ears:
    """A recognizer of any words that writes down the same ones."""

    name, version = "ears", "1"

    def rejects(self, text):
        return None

    def transcribe(self, waves):
        return ["hello bear" for _ in waves]


def test_a_second_recognizer_scores_what_the_first_one_cannot(metric_suite):
    both = dataclasses.replace(metric_suite, open_recognizer=Ears())
    clips = [example(50, None, "ben"), example(50, "bell")]
    clips[0][0]["meta"]["text"] = "Hello bare!"
    scored = both.score([r for r, _ in clips], [w for _, w in clips])
    assert "grammar" in scored[0].row["unscored"]
    assert scored[0].row["hypothesis_open"] == "hello bear"
    assert scored[1].row["hypothesis_open"] is None
    values = aggregate.example_values([one.row for one in scored])
    assert values["wer_open"].mean() == 0.5
    assert values["wer_homophones_equal_open"].mean() == 0.0
    assert "wer" not in values
