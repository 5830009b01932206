"""Reranking: the candidates of a request in the order of their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.evaluation.metrics.loops import rank_join
from vssflow_jax.generation.conditioning import read_voices
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request

if TYPE_CHECKING:
    from vssflow_jax.evaluation.metrics.asr import Recognizer

MARGIN = 0.25  # seconds around an utterance that are scored with it
LOOP_DRAWS = 8  # seeds of which a loop is the best; docs/editing.md has joins of others


def load_recognizer(spec: str | None = None) -> Recognizer:
    """The recognizer of speech that ranks candidates: a name that `asr.load` knows; None: its own.

    Raises:
      InputError: the packages that score are not installed, or the recognizer is not usable.
    """
    try:
        from vssflow_jax.evaluation.metrics import asr
    except ImportError as error:
        raise InputError(
            f"--candidates: reranking needs {error.name}, expected vssflow_jax[eval] to be "
            "installed"
        ) from None
    return asr.load(spec or asr.DEFAULT)


def rerank(
    outputs: Sequence[Output], request: Request, encoder_set: str, recognizer: Recognizer
) -> list[Output]:
    """The outputs, best first, each with its `scores` and `transcripts` in the report.

    Fewer word errors come first where the recognizer knows the script's sentences; among equals
    the larger sum of the similarity to the reference voice and the agreement with the lips that
    the times follow, and then the loop whose sound changes less where it starts again. Scores that
    do not apply are absent; without any the order stays.

    Args:
      outputs: the candidates.
      request: what they were generated for. Of a span with another text, that text is scored.
      encoder_set: the model's encoders (features.registry).
      recognizer: of `load_recognizer`.
    """
    files = [*request.speakers, request.speaker]
    voices, _ = read_voices(files, encoder_set, request.audio_track)
    keys = []
    for output in outputs:
        scores, transcripts = _score(output, request, voices, encoder_set, recognizer)
        output.report["scores"], output.report["transcripts"] = scores, transcripts
        similarity = scores.get("speaker_similarity", 0.0) + scores.get("lip_agreement", 0.0)
        join = scores.get("loop_join", 0.0)
        keys.append((scores.get("wer", 0.0), -similarity, join))
    order = sorted(range(len(outputs)), key=keys.__getitem__)
    return [outputs[number] for number in order]


def choose_loop(outputs: Sequence[Output]) -> Output:
    """Of loops with different seeds, the one whose sound changes least at its join.

    Its report gets this score, and the number of `draws` of which it is the best.

    Args:
      outputs: at least one.
    """
    joins = [score_join(output) for output in outputs]
    best = int(np.argmin(joins))
    choice = {"scores": {"loop_join": joins[best]}, "transcripts": [], "draws": len(outputs)}
    return dataclasses.replace(outputs[best], report=outputs[best].report | choice)


def score_join(output: Output) -> float:
    """The share of a loop's changes that are smaller than that at its join."""
    return rank_join(to_mono(output.wave, output.sample_rate, SAMPLE_RATE))


def _score(
    output: Output, request: Request, voices: Mapping, encoder_set: str, recognizer: Recognizer
) -> tuple[dict[str, float], list[str]]:
    """The scores of an output that apply, and what was recognized of each utterance."""
    from vssflow_jax.evaluation.metrics import speaker, word_errors

    errors, similarities, transcripts = [], [], []
    for text, file, wave in list_utterances(output, request):
        if recognizer.rejects(text) is None:
            transcripts += recognizer.transcribe([wave])
            errors.append(word_errors.count_word_errors(text, transcripts[-1]))
        voice = voices.get(file)
        if voice is not None and "published" not in encoder_set:  # those are too slow for it
            similarities.append(speaker.similarity(wave, voice, encoder_set) or 0.0)
    scores = {}
    if errors:
        scores["wer"] = sum(one.errors for one in errors) / sum(one.words for one in errors)
    if similarities:
        scores["speaker_similarity"] = float(np.mean(similarities))
    if "lip_agreement" in output.report:
        scores["lip_agreement"] = output.report["lip_agreement"]
    if request.edit.loop:
        scores["loop_join"] = score_join(output)
    return scores, transcripts


def list_utterances(output: Output, request: Request) -> list[tuple[str, Path | None, np.ndarray]]:
    """Text, file with the voice, and sound (16 kHz mono) of each utterance that is scored."""
    texts, files = [line.text for line in request.script], request.speakers
    spans = output.report["spans"]
    if request.edit.redo_text is not None:
        texts, files, spans = (
            [request.edit.redo_text],
            [request.speaker],
            output.report["generated"],
        )
    # Subtitles behind the end of a clip, the last lines of a script, are not spoken.
    return list(zip(texts, files, crop_spans(output, spans), strict=False))


def crop_spans(output: Output, spans: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """The sound of spans of seconds with a margin, 16 kHz mono."""
    margin, wave = (
        round(MARGIN * SAMPLE_RATE),
        to_mono(output.wave, output.sample_rate, SAMPLE_RATE),
    )
    edges = [[round(second * SAMPLE_RATE) for second in span] for span in spans]
    return [wave[max(start - margin, 0) : end + margin] for start, end in edges]
