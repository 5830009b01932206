"""The order of candidates."""

import numpy as np
import pytest
from helpers.synthetic_audio import reference_voice

from vssflow_jax import media
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import (
    choose_loop,
    list_utterances,
    load_recognizer,
    rerank,
)

RATE = 16_000


class Ears:
    """A recognizer that knows any text, and hears it in any sound but silence."""

    def rejects(self, text):
        return None

    def transcribe(self, waves):
        return ["good morning" if wave.any() else "goodness" for wave in waves]


@pytest.mark.parametrize("encoder_set", ["built-in", "bundled"])
def test_the_candidate_that_says_the_text_comes_first(tmp_path, encoder_set):
    media.write_wav(tmp_path / "voice.wav", reference_voice("ada", "lay green in r two soon"))
    request = Request.parse(text="set blue at g nine now", speaker=tmp_path / "voice.wav")

    def output(wave, seed):
        report = {"spans": [[0.3, len(wave) / RATE - 0.3]], "seed": seed}
        return Output(wave, RATE, report)

    wrong = output(reference_voice("ada", "bin red by x six please"), 0)
    right = output(reference_voice("ada"), 1)
    ranked = rerank([wrong, right], request, encoder_set, load_recognizer())
    assert [one.report["seed"] for one in ranked] == [1, 0]
    assert ranked[0].report["scores"]["wer"] < ranked[1].report["scores"]["wer"]
    assert 0 < ranked[0].report["scores"]["speaker_similarity"] <= 1


def test_the_candidate_that_agrees_with_the_lips_comes_first():
    """Unless another has fewer word errors."""
    reports = [{"spans": [[0, 1]], "lip_agreement": value} for value in (0.2, 0.7, 0.5)]
    outputs = [Output(np.zeros(RATE, np.float32), RATE, report) for report in reports]
    request = Request.parse(text="good morning")
    ranked = rerank(outputs, request, "built-in", load_recognizer())
    assert [one.report["scores"] for one in ranked] == [
        {"lip_agreement": value} for value in (0.7, 0.5, 0.2)
    ]

    outputs[0] = Output(np.full(RATE, 0.1, np.float32), RATE, reports[0])
    ranked = rerank(outputs, request, "built-in", Ears())
    assert [one.report["lip_agreement"] for one in ranked] == [0.2, 0.7, 0.5]


def test_candidates_without_scores_keep_their_order():
    outputs = [Output(np.zeros(RATE, np.float32), RATE, {"spans": [[0, 1]]}) for _ in range(3)]
    ranked = rerank(outputs, Request.parse(text="good morning"), "built-in", load_recognizer())
    assert [a is b for a, b in zip(ranked, outputs, strict=True)] == [True] * 3
    assert ranked[0].report["scores"] == {}


def test_loops_are_ranked_by_their_joins():
    """One ends in noise as it begins, the other in silence; a clip without `loop` is not asked."""
    noise = np.float32(0.2 * np.random.default_rng(0).standard_normal(2 * RATE))
    silent_end = np.where(np.arange(2 * RATE) < RATE, noise, 0)
    outputs = [Output(wave, RATE, {"spans": []}) for wave in (silent_end, noise)]
    video = {"video": "in.mp4", "task": "sound"}
    ranked = rerank(outputs, Request.parse(**video, loop=True), "built-in", load_recognizer())
    assert ranked[0] is outputs[1] and ranked[1] is outputs[0]
    best, worst = (one.report["scores"]["loop_join"] for one in ranked)
    assert best < 0.9 < worst
    ranked = rerank(outputs, Request.parse(**video), "built-in", load_recognizer())
    assert ranked == outputs and outputs[0].report["scores"] == {}


def test_the_loop_that_is_chosen_changes_least_at_its_join():
    noise = np.float32(0.2 * np.random.default_rng(0).standard_normal(2 * RATE))
    silent_end = np.where(np.arange(2 * RATE) < RATE, noise, 0)
    outputs = [Output(wave, RATE, {"seed": 5}) for wave in (silent_end, noise, silent_end)]
    chosen = choose_loop(outputs)
    assert chosen.wave is noise and chosen.report["draws"] == 3 and chosen.report["seed"] == 5
    assert chosen.report["scores"]["loop_join"] < 0.9 and outputs[1].report == {"seed": 5}


def test_an_open_recognizer_ranks_any_text():
    outputs = [Output(np.full(RATE, x, np.float32), RATE, {"spans": [[0, 1]]}) for x in (0, 0.1)]
    ranked = rerank(outputs, Request.parse(text="Good morning!"), "built-in", Ears())
    assert [a is b for a, b in zip(ranked, outputs[::-1], strict=True)] == [True, True]
    assert [one.report["scores"] for one in ranked] == [{"wer": 0.0}, {"wer": 1.0}]


def test_of_a_span_with_another_text_that_text_is_scored():
    """In the span alone; subtitles that are not spoken have no sound to score."""
    output = Output(np.arange(4 * RATE, dtype=np.float32), RATE, {"spans": [[0, 1]]})
    script = [{"text": "good morning"}, {"text": "good night"}]
    ((text, file, wave),) = list_utterances(output, Request.parse(script=script, speaker="a.wav"))
    assert text == "good morning" and file.name == "a.wav" and len(wave) == 1.25 * RATE
    request = Request.parse(script=script, keep="b.wav", redo="2:3", redo_text="hello")
    output.report["generated"] = [[2, 3]]
    ((text, file, wave),) = list_utterances(output, request)
    assert text == "hello" and file is None
    assert wave[[0, -1]].tolist() == [1.75 * RATE, 3.25 * RATE - 1]
