"""All that is asked about a clip's sound: judges, recogniser, embedding, predicted opinions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.data.pipeline import wave_of
from vssflow_jax.evaluation.metrics import (
    common,
    distances,
    mcd,
    mos,
    reference_models,
    speaker,
    speech,
)
from vssflow_jax.evaluation.metrics.asr import Recogniser
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
class Scored:
    """What the panel says of one wave.

    Attributes:
      row: with the keys of COLUMNS; None where something does not apply, `unscored` why.
      features: of the embedding, float32 [D] or [parts, D].
      logits: of the embedding, float32 [K]; None where it names nothing.
    """

    row: Mapping[str, object]
    features: np.ndarray
    logits: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Everything that scores need, but for the clips.

    Attributes:
      judges: of onsets, kinds of event and voices.
      recogniser: of words.
      embedding: under the distances.
      opinions: predictors of them.
      encoder_set: that made the clips' speaker embeddings (features.encode).
    """

    judges: reference_models.Judges
    recogniser: Recogniser
    embedding: Embedding
    opinions: Sequence[mos.Opinion] = ()
    encoder_set: str = "embedded"

    def scores(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], timed: bool = True
    ) -> list[Scored]:
        """What the panel says of each clip.

        Args:
          records: the clips' ground truth, with sound.
          waves: what is judged, float32 [n] at 16 kHz.
          timed: whether speech is where the record's alignment says.
        """
        if not records:
            return []
        truths = [wave_of(record) for record in records]
        mels, true_mels = common.log_mels(waves), common.log_mels(truths)
        features, logits = self.embedding(waves)
        lost = None if logits is None else distances.kl(self.embedding(truths)[1], logits)
        reasons, heard = self._hear(records, waves)
        scored = []
        for k, (record, wave) in enumerate(zip(records, waves, strict=True)):
            row = dict.fromkeys(COLUMNS) | self.judges.row(record, wave, mels[k], timed)
            row |= {"kl": None if lost is None else float(lost[k]), "unscored": reasons.get(k)}
            if "speaker" in record:
                likeness = speaker.similarity(wave, record["speaker"], self.encoder_set)
                row["similarity"] = likeness
            if record["meta"].get("text"):
                parts = (
                    mcd.cut(true_mels[k], reference_models.spoken(record, truths[k])),
                    mcd.cut(mels[k], reference_models.spoken(record, wave, timed)),
                )
                row["mcd"] = mcd.of_mels(*parts)
                row |= mos.scores(self.opinions, wave)
            if k in heard:
                row["hypothesis"] = heard[k]
                row["errors"], row["words"] = speech.word_errors(record["meta"]["text"], heard[k])
            named = None if logits is None else logits[k]
            scored.append(Scored(row=row, features=features[k], logits=named))
        return scored

    def _hear(self, records, waves) -> tuple[dict[int, str], dict[int, str]]:
        """Why some clips' words are not judged, and what is heard in the others, by number."""
        texts = {k: r["meta"]["text"] for k, r in enumerate(records) if r["meta"].get("text")}
        refused = {k: self.recogniser.refuses(text) for k, text in texts.items()}
        rows = [k for k in texts if refused[k] is None]
        heard = self.recogniser.recognise([waves[k] for k in rows])
        reasons = {k: f"wer: {reason}" for k, reason in refused.items() if reason}
        return reasons, dict(zip(rows, heard, strict=True))
