"""Best of several: outputs of one request in the order of the evaluation's own scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request, read_voice
from vssflow_jax.preparation.examples import ExampleSettings

MARGIN = 0.25  # seconds around an utterance that are heard with it


def rank(outputs: Sequence[Output], request: Request, settings: ExampleSettings) -> list[Output]:
    """The outputs, best first, each with its `scores` in the report.

    Fewer word errors come first where the recogniser knows the script's sentences; among equals
    the voice that is more like the one that was given. What does not apply is absent from the
    scores; where nothing applies the order stays.

    Raises:
      InputError: the packages that score are not installed.
    """
    try:
        from vssflow_jax.evaluation.metrics import speaker, speech
    except ImportError as error:
        raise InputError(
            f"--variants: ranking needs {error.name}, expected vssflow_jax[eval] to be installed"
        ) from None
    files = [line.speaker or request.speaker for line in request.script]
    references = [
        None if file is None else read_voice(file, settings.encoder_set) for file in files
    ]
    scored = []
    for output in outputs:
        errors, likeness = [], []
        for line, reference, wave in zip(request.script, references, cuts(output), strict=True):
            if speech.in_grammar(line.text):
                errors.append(speech.word_errors(line.text, speech.hear(wave)))
            if reference is not None and settings.encoder_set == "built-in":
                likeness.append(speaker.similarity(wave, reference) or 0.0)
        scores = {}
        if errors:
            scores["wer"] = sum(wrong for wrong, _ in errors) / sum(words for _, words in errors)
        if likeness:
            scores["speaker_similarity"] = float(np.mean(likeness))
        output.report["scores"] = scores
        scored.append((scores.get("wer", 0.0), -scores.get("speaker_similarity", 0.0)))
    order = sorted(range(len(outputs)), key=scored.__getitem__)
    return [outputs[number] for number in order]


def cuts(output: Output) -> list[np.ndarray]:
    """The sound of each utterance, at 16 kHz."""
    margin = round(MARGIN * SAMPLE_RATE)
    edges = [[round(second * SAMPLE_RATE) for second in span] for span in output.report["spans"]]
    return [output.wave[max(start - margin, 0) : end + margin] for start, end in edges]
