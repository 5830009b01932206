"""The three judges that are fitted on ground truth: onsets, kinds of event, voices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.pipeline import Pipeline

from vssflow_jax.evaluation.metrics import classifiers, common, sound, speaker, speech
from vssflow_jax.features.speaker import voiced

COLUMNS = (
    "onset_f1",
    "onset_mae_ms",
    "class",
    "predicted_class",
    "speaker",
    "predicted_speaker",
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

    def row(
        self, record: Mapping, wave: np.ndarray, mel: np.ndarray, timed: bool = True
    ) -> dict[str, object]:
        """What they say of one clip, with the keys of COLUMNS; None where one does not apply.

        Args:
          record: the clip's ground truth.
          wave: what is judged, float32 [n] at 16 kHz. Silence is nobody's and nothing's sound.
          mel: its log-mel.
          timed: whether speech is where the record's alignment says.
        """
        row: dict[str, object] = dict.fromkeys(COLUMNS)
        self._sound(row, record, wave, mel)
        self._voice(row, record, wave, mel, timed)
        return row

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


def _columns(pairs: Sequence[tuple]) -> tuple[list, list]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _name(model: Pipeline, features: np.ndarray, wave: np.ndarray) -> str:
    """The classifier's answer; none to silence, which it knows nothing about."""
    audible = float(np.abs(wave).max(initial=0.0)) >= speech.SILENT
    return str(model.predict([features])[0]) if audible else ""
