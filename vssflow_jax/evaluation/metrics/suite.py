"""The metric suite: every per-example score of a sound, and the features for distances of sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.common.waves import resample
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.data.pipeline import read_mono
from vssflow_jax.evaluation.metrics import (
    common,
    distances,
    mcd,
    measures,
    mos,
    reference_models,
    speaker,
    word_errors,
)
from vssflow_jax.evaluation.metrics.asr import Recognizer
from vssflow_jax.evaluation.metrics.embedding import Embedding

TRANSCRIPT_COLUMNS = ("hypothesis", *word_errors.WordErrors._fields)
OPEN = "_open"  # ending of the columns and metrics of the second recognizer
COLUMNS = (
    *TRANSCRIPT_COLUMNS,
    *(f"{column}{OPEN}" for column in TRANSCRIPT_COLUMNS),
    *reference_models.COLUMNS,
    "similarity",
    "dvector_similarity",
    "dvector_other_voice",
    "mcd",
    "kl",
    *mos.PREDICTORS,
    *measures.COLUMNS,
    "unscored",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """The suite's scores of one wave.

    Attributes:
      row: with the keys of COLUMNS; None where something does not apply, `unscored` says why.
      features: of the embedding, float32 [D] or [patches, D]; None: sets are not compared.
      logits: of the embedding, float32 [K]; None for an embedding without classes.
    """

    row: Mapping[str, object]
    features: np.ndarray | None = None
    logits: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricSuite:
    """The models that scores need; they do not depend on the examples.

    Attributes:
      reference_models: of onsets, sound classes and voices.
      recognizer: of speech.
      embedding: for the distances.
      mos_predictors: of mean opinion scores.
      encoder_set: the encoders that computed the examples' speaker embeddings
        (features.registry).
      open_recognizer: a second one, of any words; None: none.
      measures: further ones by name.
    """

    reference_models: reference_models.ReferenceModels
    recognizer: Recognizer
    embedding: Embedding
    mos_predictors: Sequence[mos.MosPredictor] = ()
    encoder_set: str = "built-in"
    open_recognizer: Recognizer | None = None
    measures: Mapping[str, measures.Measure] = dataclasses.field(default_factory=dict)

    def score(
        self,
        records: Sequence[Mapping],
        waves: Sequence[np.ndarray],
        sample_rate: int = SAMPLE_RATE,
        timed: bool = True,
        voices: speaker.VoiceReferences | None = None,
    ) -> list[ExampleScores]:
        """Scores of each example.

        Args:
          records: the examples' ground truth, with sound.
          waves: the sounds to score, float32 [n].
          sample_rate: of the waves; all but the embedding take them at 16 kHz.
          timed: whether the speech is where the record's alignment says, and fits the video.
          voices: d-vectors of the records' voices; None: similarity to them is not measured.
        """
        if not waves:
            return []
        features, logits = self.embedding(waves, sample_rate)
        kl = None
        if logits is not None:
            truths = [read_mono(record, sample_rate) for record in records]
            kl = distances.kl(self.embedding(truths, sample_rate)[1], logits)
        measured = self._measure(records, waves, sample_rate, timed)
        waves = [resample(wave, sample_rate, SAMPLE_RATE) for wave in waves]
        references = [read_mono(record) for record in records]
        mels, reference_mels = common.log_mels(waves), common.log_mels(references)
        texts = [record["meta"].get("text") or None for record in records]
        speech_rows = score_speech(
            texts, waves, self.recognizer, self.mos_predictors, self.open_recognizer
        )
        names = [record["meta"]["id"] for record in records]
        similarities = {} if voices is None else voices.score(names, waves)
        scores = []
        for k, (record, wave) in enumerate(zip(records, waves, strict=True)):
            row = dict.fromkeys(COLUMNS)
            row |= self.reference_models.score(record, wave, mels[k], timed)
            row |= {"kl": None if kl is None else float(kl[k])} | speech_rows[k]
            if "speaker" in record:
                row["similarity"] = speaker.similarity(wave, record["speaker"], self.encoder_set)
            row |= similarities.get(record["meta"]["id"], {})
            row |= measured[k] | join_reasons(row, measured[k])
            if record["meta"].get("text"):
                reference = reference_models.spoken_interval(record, references[k])
                generated = reference_models.spoken_interval(record, wave, timed)
                row["mcd"] = mcd.mel_distortion(
                    mcd.crop_mel(reference_mels[k], reference), mcd.crop_mel(mels[k], generated)
                )
            example_logits = None if logits is None else logits[k]
            scores.append(ExampleScores(row=row, features=features[k], logits=example_logits))
        return scores

    def _measure(self, records, waves, sample_rate: int, timed: bool) -> list[dict]:
        """The columns of the measures for each wave."""
        rows: list[dict] = [{} for _ in waves]
        for measure in self.measures.values():
            if timed or not measure.needs_time:
                for row, new in zip(rows, measure(records, waves, sample_rate), strict=True):
                    row |= new | join_reasons(row, new)
        return rows


def join_reasons(*rows: Mapping) -> dict[str, str]:
    """The column `unscored` of several rows of the same wave, if any has reasons."""
    reasons = [row[measures.UNSCORED] for row in rows if row.get(measures.UNSCORED)]
    return {measures.UNSCORED: "; ".join(reasons)} if reasons else {}


def score_speech(
    texts: Sequence[str | None],
    waves: Sequence[np.ndarray],
    recognizer: Recognizer,
    mos_predictors: Sequence[mos.MosPredictor] = (),
    open_recognizer: Recognizer | None = None,
) -> list[dict]:
    """The columns of each wave that need its text and no ground truth.

    Args:
      texts: what is said; None: nothing, and no column applies.
      waves: float32 [n] at 16 kHz.
      recognizer: of speech.
      mos_predictors: of mean opinion scores.
      open_recognizer: a second one; None: none.
    """
    rows = transcribe_texts(texts, waves, recognizer)
    if open_recognizer is not None:
        for row, columns in zip(rows, transcribe_texts(texts, waves, open_recognizer), strict=True):
            columns.pop("unscored", None)  # the reasons of the first one stand
            row |= {f"{name}{OPEN}": value for name, value in columns.items()}
    for row, text, wave in zip(rows, texts, waves, strict=True):
        row |= {} if text is None else mos.predict_scores(mos_predictors, wave)
    return rows


def transcribe_texts(
    texts: Sequence[str | None], waves: Sequence[np.ndarray], recognizer: Recognizer
) -> list[dict]:
    """The columns of each wave's transcript, or `unscored`, why there is none."""
    reasons = {k: recognizer.rejects(text) for k, text in enumerate(texts) if text is not None}
    accepted = [k for k, reason in reasons.items() if reason is None]
    transcripts = recognizer.transcribe([waves[k] for k in accepted])
    rows: list[dict] = [
        {"unscored": f"wer: {reasons[k]}"} if reasons.get(k) else {} for k in range(len(texts))
    ]
    for k, transcript in zip(accepted, transcripts, strict=True):
        counts = word_errors.count_word_errors(texts[k], transcript)
        rows[k] |= {"hypothesis": transcript, **counts._asdict()}
    return rows
