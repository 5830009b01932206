"""Stems of a clip: its speech and its other sound, each from its own conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax import conditions
from vssflow_jax.media import audibility, loudness

STEMS = {  # conditions of a stem
    "speech": ("phonemes", "speaker", "lips"),
    "sound": ("clip", "sync"),
}
TOGETHER, APART = WAYS = ("together", "apart")
LEVELS = ("speech_level", "sound_level", "speech_audibility")  # fields of SamplingOptions
MAX_LEVEL = 60.0  # dB, of any sound that is added to another


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointSampling:
    """How speech is generated beside other sound, and their levels.

    Attributes:
      way: TOGETHER, from all conditions at once; or APART, speech and other sound each from its
        own, and added.
      speech_level: dB of speech that is generated without other sound; beside a kept sound, its
        own level decides.
      sound_level: dB of the other sound that is added to speech.
      speech_audibility: share of the speech that is heard at least (`media.audibility`): other
        sound that hides more is softer.
    """

    way: str = TOGETHER
    speech_level: float = 0.0
    sound_level: float = 0.0
    speech_audibility: float = 0.0

    def applies_to(self, record: Mapping) -> bool:
        """Whether a record has words and pictures, and its stems are generated apart."""
        return self.way == APART and _has_words(record) and _has_pictures(record)

    def list_levels(self, record: Mapping) -> tuple[str, ...]:
        """Those of LEVELS that have an effect on the sound of a record."""
        if self.applies_to(record):
            return LEVELS
        return ("speech_level",) if _is_speech(record) else ()

    def describe(self) -> dict:
        """Facts for the report."""
        if self.way == TOGETHER:
            return {"joint": self.way, "speech_level": self.speech_level}
        return {
            "joint": self.way,
            "speech_level": self.speech_level,
            "sound_level": self.sound_level,
            "speech_audibility": self.speech_audibility,
        }

    def set_speech_level(self, record: Mapping, wave: np.ndarray) -> np.ndarray:
        """The wave of a record, at `speech_level` if it is of speech alone."""
        factor = loudness.to_factor(self.speech_level) if _is_speech(record) else 1.0
        return wave * np.float32(factor)

    def find_level(self, speech: np.ndarray, sound: np.ndarray, sample_rate: int) -> float:
        """dB of the other sound: `sound_level`, or less, so that enough of the speech is heard.

        Args:
          speech: waveform, float32 [n] or [n, A].
          sound: waveform of the same shape.
          sample_rate: samples a second.
        """
        if not self.speech_audibility:  # any level will do
            return self.sound_level
        return audibility.find_audible_gain(
            speech, sound, sample_rate, self.speech_audibility, self.sound_level
        )

    @staticmethod
    def add(speech: np.ndarray, sound: np.ndarray, level: float) -> dict[str, np.ndarray]:
        """The mix and its stems, of which it is the sum; all are softer where it would exceed 1.

        Args:
          speech: waveform, float32 [n] or [n, A].
          sound: waveform of the same shape.
          level: dB of the other sound.
        """
        sound = sound * np.float32(loudness.to_factor(level))
        mix = speech + sound
        factor = 1 / max(1, np.max(np.abs(mix), initial=0))
        return {
            name: (factor * wave).astype(np.float32)
            for name, wave in {"mix": mix, "speech": speech, "sound": sound}.items()
        }


def _has_words(record: Mapping) -> bool:
    """Whether somebody speaks in a record."""
    return bool(np.any(record.get("phonemes", ())))


def _has_pictures(record: Mapping) -> bool:
    """Whether a record has what other sound is generated from."""
    return not record.keys().isdisjoint(STEMS["sound"])


def _is_speech(record: Mapping) -> bool:
    """Whether a record is of speech without other sound."""
    return _has_words(record) and not _has_pictures(record)


def describe_content(record: Mapping) -> str:
    """What a record is of whose stems are not generated apart, for messages."""
    if _is_speech(record):
        return "speech without other sound"
    return "what is generated together (--joint)" if _has_words(record) else "sound without speech"


def split_stems(record: Mapping) -> dict[str, dict]:
    """The records of a record's stems by name."""
    return {name: select_stem(record, names) for name, names in STEMS.items()}


def select_stem(record: Mapping, names: Sequence[str]) -> dict:
    """The record with these conditions alone; phonemes remain, as silence unless named."""
    others = set(conditions.NAMES) - set(names)
    stem = {name: value for name, value in record.items() if name not in others}
    return stem if "phonemes" in names else {**stem, "phonemes": np.zeros(0, np.int32)}
