"""The three judges that are fitted on ground truth, and the scores of a clip by all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from vssflow_jax.features.speaker import voiced
from vssflow_jax.metrics import classifiers, common, sound, speaker, speech

COLUMNS = (
    "hypothesis",
    "errors",
    "words",
    "onset_f1",
    "onset_mae_ms",
    "class",
    "predicted_class",
    "speaker",
    "predicted_speaker",
    "similarity",
)


def annotation(record: Mapping, key: str):
    """A field of the record's annotation, or None."""
    return record["meta"].get("annotation", {}).get(key)


def spoken(record: Mapping, wave: np.ndarray, timed: bool = True) -> speaker.Interval | None:
    """Seconds between which somebody speaks in `wave`; None where nobody does.

    Beside an event only the record's alignment can tell; a voice alone is where sound is.
    """
    times = record["meta"].get("alignment")
    if not record["meta"].get("text"):
        return None
    if timed and times and annotation(record, "sound_class") is not None:
        return times[0][0], times[-1][1]
    return voiced(wave)


def onset_truth(record: Mapping) -> list[float] | None:
    """Seconds at which events begin: none in steady sounds; None where it is not known."""
    if annotation(record, "onsets") is not None:
        return annotation(record, "onsets")
    return [] if annotation(record, "sound_class") is not None else None


@dataclasses.dataclass(frozen=True)
class Judges:
    """What was fitted; absent where ground truth had too little of it.

    Attributes:
      onsets: finds where events begin.
      classes: what the event is, by task: beside speech it takes another classifier.
      speakers: whose voice it is.
      clips: how many clips all of them learned from.
    """

    onsets: sound.OnsetDetector | None
    classes: Mapping[str, Pipeline]
    speakers: Pipeline | None
    clips: int

    @classmethod
    def fit(cls, records: Sequence[Mapping], waves: Sequence[np.ndarray]) -> Judges:
        """Learns from training clips; `waves` are theirs, before or after the codec."""
        clips = list(zip(records, waves, common.log_mels(waves), strict=True))
        events = [(mel, onset_truth(r)) for r, _, mel in clips if onset_truth(r) is not None]
        voices = [
            (speaker.features(mel, spoken(r, wave)), annotation(r, "speaker"))
            for r, wave, mel in clips
            if annotation(r, "speaker") is not None
        ]
        classes = {}
        for task in sorted({r["meta"]["task"] for r in records}):
            named = [
                (sound.class_features(mel), annotation(r, "sound_class"))
                for r, _, mel in clips
                if r["meta"]["task"] == task and annotation(r, "sound_class") is not None
            ]
            classes[task] = classifiers.fit(*_columns(named))
        return cls(
            onsets=sound.OnsetDetector.fit(*_columns(events)),
            classes={task: model for task, model in classes.items() if model is not None},
            speakers=classifiers.fit(*_columns(voices)),
            clips=len(clips),
        )

    def scores(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], timed: bool = True
    ) -> list[dict]:
        """One row a clip, with the keys of COLUMNS; None where something does not apply.

        Args:
          records: the clips' ground truth.
          waves: what is judged, float32 [n] at 16 kHz. Silence is nobody's and nothing's sound.
          timed: whether speech is where the record's alignment says.
        """
        hypotheses = _hear(records, waves)
        mels = common.log_mels(waves)
        rows = []
        for record, wave, mel, heard in zip(records, waves, mels, hypotheses, strict=True):
            row = dict.fromkeys(COLUMNS)
            self._sound(row, record, wave, mel)
            self._voice(row, record, wave, mel, timed)
            if heard is not None:
                row["hypothesis"] = heard
                row["errors"], row["words"] = speech.word_errors(record["meta"]["text"], heard)
            rows.append(row)
        return rows

    def _sound(self, row: dict, record: Mapping, wave: np.ndarray, mel: np.ndarray) -> None:
        truth, name = annotation(record, "onsets"), annotation(record, "sound_class")
        if truth and self.onsets:
            found = self.onsets(mel)
            row["onset_f1"] = sound.f1(truth, found)
            row["onset_mae_ms"] = sound.mean_error_ms(truth, found)
        classes = self.classes.get(record["meta"]["task"])
        if name is not None and classes:
            row["class"] = name
            row["predicted_class"] = _name(classes, sound.class_features(mel), wave)

    def _voice(self, row: dict, record: Mapping, wave: np.ndarray, mel: np.ndarray, timed) -> None:
        name = annotation(record, "speaker")
        if name is not None and self.speakers:
            row["speaker"] = name
            features = speaker.features(mel, spoken(record, wave, timed))
            row["predicted_speaker"] = _name(self.speakers, features, wave)
        if "speaker" in record:
            row["similarity"] = speaker.similarity(wave, record["speaker"])


def _columns(pairs: Sequence[tuple]) -> tuple[list, list]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _name(model: Pipeline, features: np.ndarray, wave: np.ndarray) -> str:
    """The classifier's answer; none to silence, which it knows nothing about."""
    audible = float(np.abs(wave).max(initial=0.0)) >= speech.SILENT
    return str(model.predict([features])[0]) if audible else ""


def _hear(records: Sequence[Mapping], waves: Sequence[np.ndarray]) -> list[str | None]:
    """What the recogniser hears; None where the transcript is not of its grammar."""
    rows = [
        row
        for row, record in enumerate(records)
        if record["meta"].get("text") and speech.in_grammar(record["meta"]["text"])
    ]
    heard = dict(zip(rows, speech.recognise([waves[row] for row in rows]), strict=True))
    return [heard.get(row) for row in range(len(records))]


def summary(rows: Sequence[Mapping]) -> dict[str, common.Values]:
    """The metrics of scored clips, by their key in metrics.json, those that apply."""

    def ratio(row):
        return None if row["words"] is None else row["errors"] / row["words"]

    def hit(row, truth, found):
        return None if row[truth] is None else float(row[truth] == row[found])

    values = {
        "wer": common.Values.of([ratio(r) for r in rows], [r["words"] or 0 for r in rows]),
        "onset_f1": common.Values.of([r["onset_f1"] for r in rows]),
        "onset_mae_ms": common.Values.of([r["onset_mae_ms"] for r in rows]),
        "sound_class_accuracy": common.Values.of(
            [hit(r, "class", "predicted_class") for r in rows]
        ),
        "speaker_accuracy": common.Values.of(
            [hit(r, "speaker", "predicted_speaker") for r in rows]
        ),
        "speaker_similarity": common.Values.of([r["similarity"] for r in rows]),
    }
    return {name: value for name, value in values.items() if value.count}
