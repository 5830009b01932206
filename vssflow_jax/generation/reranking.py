"""Reranking: the candidates of a request in the order of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.generation.conditioning import read_voices
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request

if TYPE_CHECKING:
    from vssflow_jax.evaluation.metrics.asr import Recognizer

MARGIN = 0.25  # seconds around an utterance that are scored with it


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
    """The outputs, best first, each with its `scores` in the report.

    Fewer word errors come first where the recognizer knows the script's sentences; among equals
    the voice that is more similar to the reference voice. Scores that do not apply are absent;
    without any the order stays.

    Args:
      outputs: the candidates.
      request: what they were generated for.
      encoder_set: the model's encoders (features.registry).
      recognizer: of `load_recognizer`.
    """
    from vssflow_jax.evaluation.metrics import speaker, word_errors

    voices, _ = read_voices(request.speakers, encoder_set, request.audio_track)
    keys = []
    for output in outputs:
        errors, similarities = [], []
        lines = zip(request.script, request.speakers, crop_utterances(output), strict=True)
        for line, file, wave in lines:
            voice = voices[file]
            if recognizer.rejects(line.text) is None:
                (transcript,) = recognizer.transcribe([wave])
                errors.append(word_errors.count_word_errors(line.text, transcript))
            if voice is not None and "published" not in encoder_set:  # those are too slow for it
                similarities.append(speaker.similarity(wave, voice, encoder_set) or 0.0)
        scores = {}
        if errors:
            scores["wer"] = sum(one.errors for one in errors) / sum(one.words for one in errors)
        if similarities:
            scores["speaker_similarity"] = float(np.mean(similarities))
        output.report["scores"] = scores
        keys.append((scores.get("wer", 0.0), -scores.get("speaker_similarity", 0.0)))
    order = sorted(range(len(outputs)), key=keys.__getitem__)
    return [outputs[number] for number in order]


def crop_utterances(output: Output) -> list[np.ndarray]:
    """The sound of each utterance, 16 kHz mono."""
    margin, wave = (
        round(MARGIN * SAMPLE_RATE),
        to_mono(output.wave, output.sample_rate, SAMPLE_RATE),
    )
    edges = [[round(second * SAMPLE_RATE) for second in span] for span in output.report["spans"]]
    return [wave[max(start - margin, 0) : end + margin] for start, end in edges]
