"""The metric suite: every per-example score of a sound, and the features for distances of sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.metrics import (
    common,
    distances,
    mcd,
    mos,
    reference_models,
    speaker,
    speech,
)
from vssflow_jax.evaluation.metrics.asr import Recognizer
from vssflow_jax.evaluation.metrics.embedding import Embedding

COLUMNS = (
    "hypothesis",
    "errors",
    "words",
    *reference_models.COLUMNS,
    "similarity",
    "mcd",
    "kl",
    *mos.PREDICTORS,
    "unscored",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleScores:
    """The suite's scores of one wave.

    Attributes:
      row: with the keys of COLUMNS; None where something does not apply, `unscored` says why.
      features: of the embedding, float32 [D] or [patches, D].
      logits: of the embedding, float32 [K]; None for an embedding without classes.
    """

    row: Mapping[str, object]
    features: np.ndarray
    logits: np.ndarray | None


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
    """

    reference_models: reference_models.ReferenceModels
    recognizer: Recognizer
    embedding: Embedding
    mos_predictors: Sequence[mos.MosPredictor] = ()
    encoder_set: str = "built-in"

    def score(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], timed: bool = True
    ) -> list[ExampleScores]:
        """Scores of each example.

        Args:
          records: the examples' ground truth, with sound.
          waves: the sounds to score, float32 [n] at 16 kHz.
          timed: whether the speech is where the record's alignment says.
        """
        if not records:
            return []
        references = [read_wave(record) for record in records]
        mels, reference_mels = common.log_mels(waves), common.log_mels(references)
        features, logits = self.embedding(waves)
        kl = None if logits is None else distances.kl(self.embedding(references)[1], logits)
        rejected, transcripts = self._transcribe(records, waves)
        scores = []
        for k, (record, wave) in enumerate(zip(records, waves, strict=True)):
            row = dict.fromkeys(COLUMNS)
            row |= self.reference_models.score(record, wave, mels[k], timed)
            row |= {"kl": None if kl is None else float(kl[k]), "unscored": rejected.get(k)}
            if "speaker" in record:
                row["similarity"] = speaker.similarity(wave, record["speaker"], self.encoder_set)
            if record["meta"].get("text"):
                reference = reference_models.spoken_interval(record, references[k])
                generated = reference_models.spoken_interval(record, wave, timed)
                row["mcd"] = mcd.mel_distortion(
                    mcd.crop_mel(reference_mels[k], reference), mcd.crop_mel(mels[k], generated)
                )
                row |= mos.predict_scores(self.mos_predictors, wave)
            if k in transcripts:
                row["hypothesis"] = transcripts[k]
                errors = speech.word_errors(record["meta"]["text"], transcripts[k])
                row["errors"], row["words"] = errors
            example_logits = None if logits is None else logits[k]
            scores.append(ExampleScores(row=row, features=features[k], logits=example_logits))
        return scores

    def _transcribe(self, records, waves) -> tuple[dict[int, str], dict[int, str]]:
        """By number: why some texts are not scored, and the transcripts of the others."""
        texts = {k: r["meta"]["text"] for k, r in enumerate(records) if r["meta"].get("text")}
        reasons = {k: self.recognizer.rejects(text) for k, text in texts.items()}
        rows = [k for k in texts if reasons[k] is None]
        transcripts = self.recognizer.transcribe([waves[k] for k in rows])
        rejected = {k: f"wer: {reason}" for k, reason in reasons.items() if reason}
        return rejected, dict(zip(rows, transcripts, strict=True))
