"""Small reference models of onsets, sound classes and voices, fitted on ground truth."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from vssflow_jax.evaluation.metrics import common, sound, speaker, speech
from vssflow_jax.features.speaker import find_voiced_span

COLUMNS = (
    "onset_f1",
    "onset_mae_ms",
    "class",
    "predicted_class",
    "speaker",
    "predicted_speaker",
)
MIN_EXAMPLES = 2  # of a class; with one its spread is unknown


def annotation(record: Mapping, key: str):
    """A field of the record's annotation, or None."""
    return record["meta"].get("annotation", {}).get(key)


def spoken_interval(
    record: Mapping, wave: np.ndarray, timed: bool = True
) -> speaker.Interval | None:
    """Start and end of the speech in `wave` in seconds; None without speech.

    Beside a sound event the record's alignment gives it; speech alone lasts as long as the wave
    is not silent.
    """
    times = record["meta"].get("alignment")
    if not record["meta"].get("text"):
        return None
    if timed and times and annotation(record, "sound_class") is not None:
        return times[0][0], times[-1][1]
    return find_voiced_span(wave)


def onset_labels(record: Mapping) -> list[float] | None:
    """Onsets in seconds, none in steady sounds; None for records without that annotation."""
    if annotation(record, "onsets") is not None:
        return annotation(record, "onsets")
    return [] if annotation(record, "sound_class") is not None else None


def fit_classifier(features: Sequence[np.ndarray], names: Sequence[str]) -> Pipeline | None:
    """A linear discriminant with a shrunk covariance on standardized features.

    Source: Ledoit and Wolf (2004), A well-conditioned estimator for large covariance matrices.

    Args:
      features: one float [F] an example.
      names: the class of each.

    Returns:
      A model whose `predict([features])` gives names that have two examples or more; None where
      fewer than two names have.
    """
    counts = collections.Counter(names)
    rows = [k for k, name in enumerate(names) if counts[name] >= MIN_EXAMPLES]
    features, names = [features[k] for k in rows], [names[k] for k in rows]
    if len(set(names)) < 2:
        return None
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    with threadpool_limits(1):
        return make_pipeline(StandardScaler(), discriminant).fit(np.array(features), names)


@dataclasses.dataclass(frozen=True)
class ReferenceModels:
    """The fitted models; None or absent where the ground truth has too few examples.

    Attributes:
      onsets: detects where events begin.
      sound_classes: classifier of the event by task, since speech beside it changes its features.
      speakers: classifier of the voice.
    """

    onsets: sound.OnsetDetector | None
    sound_classes: Mapping[str, Pipeline]
    speakers: Pipeline | None

    @classmethod
    def fit(cls, records: Sequence[Mapping], waves: Sequence[np.ndarray]) -> ReferenceModels:
        """Fits them on training records; `waves` are theirs, before or after the codec."""
        examples = list(zip(records, waves, common.log_mels(waves), strict=True))
        events = [(mel, onset_labels(r)) for r, _, mel in examples if onset_labels(r) is not None]
        voices = [
            (speaker.voice_features(mel, spoken_interval(r, wave)), annotation(r, "speaker"))
            for r, wave, mel in examples
            if annotation(r, "speaker") is not None
        ]
        classes = {}
        for task in sorted({r["meta"]["task"] for r in records}):
            labeled = [
                (sound.class_features(mel), annotation(r, "sound_class"))
                for r, _, mel in examples
                if r["meta"]["task"] == task and annotation(r, "sound_class") is not None
            ]
            classes[task] = fit_classifier(*_unzip(labeled))
        return cls(
            onsets=sound.OnsetDetector.fit(*_unzip(events)),
            sound_classes={task: model for task, model in classes.items() if model is not None},
            speakers=fit_classifier(*_unzip(voices)),
        )

    def score(
        self, record: Mapping, wave: np.ndarray, mel: np.ndarray, timed: bool = True
    ) -> dict[str, object]:
        """The columns of COLUMNS for one example; None where one does not apply.

        Args:
          record: the example's ground truth.
          wave: the sound to score, float32 [n] at 16 kHz.
          mel: its log-mel.
          timed: whether the speech is where the record's alignment says.
        """
        row: dict[str, object] = dict.fromkeys(COLUMNS)
        onsets, sound_class = annotation(record, "onsets"), annotation(record, "sound_class")
        if onsets and self.onsets:
            detected = self.onsets(mel)
            row["onset_f1"] = sound.onset_f1(onsets, detected)
            row["onset_mae_ms"] = sound.onset_mae_ms(onsets, detected)
        classifier = self.sound_classes.get(record["meta"]["task"])
        if sound_class is not None and classifier:
            row["class"] = sound_class
            row["predicted_class"] = _predict(classifier, sound.class_features(mel), wave)
        voice = annotation(record, "speaker")
        if self.speakers and voice in self.speakers.classes_:  # others cannot be recognized
            row["speaker"] = voice
            features = speaker.voice_features(mel, spoken_interval(record, wave, timed))
            row["predicted_speaker"] = _predict(self.speakers, features, wave)
        return row


def _unzip(pairs: Sequence[tuple]) -> tuple[list, list]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _predict(model: Pipeline, features: np.ndarray, wave: np.ndarray) -> str:
    """The classifier's name; empty for silence, which is in no class."""
    return str(model.predict([features])[0]) if speech.is_audible(wave) else ""
