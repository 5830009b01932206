"""Speech recognizers by name: PocketSphinx, and Whisper where its package is installed."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics import speech

DEFAULT = "pocketsphinx"
WHISPER = "base.en"  # model, where none is named


class Recognizer(Protocol):
    """A speech recognizer.

    Attributes:
      name: package and model, for the protocol.
      version: of its package.
    """

    name: str
    version: str

    def rejects(self, text: str) -> str | None:
        """Why the recognizer can never output this text; None where it can."""

    def transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Transcripts of waves, float32 [n] at 16 kHz; empty where no speech is recognized."""


@dataclasses.dataclass(frozen=True)
class PocketSphinx:
    """PocketSphinx restricted to the GRID grammar (see `metrics.speech`)."""

    name: str = DEFAULT
    version: str = importlib.metadata.version("pocketsphinx")

    def rejects(self, text: str) -> str | None:
        """A reason for every text outside the grammar."""
        return None if speech.in_grammar(text) else "its text is outside the recognizer's grammar"

    def transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Sentences of the grammar, computed on all cores."""
        return speech.transcribe(waves)


@dataclasses.dataclass(frozen=True)
class Whisper:
    """A Whisper model in one of its packages.

    Attributes:
      name: package and model.
      version: of the package.
      transcribe_wave: float32 [n] at 16 kHz to text.
    """

    name: str
    version: str
    transcribe_wave: Callable[[np.ndarray], str]

    def rejects(self, text: str) -> str | None:
        """A reason for texts without words."""
        return None if speech.normalize_words(text) else "its text has no words"

    def transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Transcripts; silence gives none, although the model may invent words in it."""
        return [
            self.transcribe_wave(wave).strip() if speech.is_audible(wave) else "" for wave in waves
        ]


def _faster_whisper(module, model: str) -> Callable[[np.ndarray], str]:
    network = module.WhisperModel(model, device="cpu", compute_type="int8")

    def transcribe_wave(wave: np.ndarray) -> str:
        segments, _ = network.transcribe(wave, language="en", beam_size=5, temperature=0.0)
        return " ".join(segment.text.strip() for segment in segments)

    return transcribe_wave


def _whisper(module, model: str) -> Callable[[np.ndarray], str]:
    network = module.load_model(model, device="cpu")
    options = {"language": "en", "beam_size": 5, "temperature": 0.0, "fp16": False}
    return lambda wave: network.transcribe(wave, **options)["text"]


# Name in the flag -> its distribution, its module, and the function that loads a model.
PACKAGES = {
    "faster-whisper": ("faster-whisper", "faster_whisper", _faster_whisper),
    "whisper": ("openai-whisper", "whisper", _whisper),
}


@functools.cache
def load(spec: str) -> Recognizer:
    """Loads the recognizer of a flag: pocketsphinx, faster-whisper:MODEL or whisper:MODEL.

    MODEL is a name that the package knows and downloads, or a file or folder of weights.

    Raises:
      InputError: an unknown name, a package that is not installed, a model that does not load.
    """
    name, _, model = spec.partition(":")
    if spec == DEFAULT:
        return PocketSphinx()
    if name not in PACKAGES:
        raise InputError(
            f"--recognizer: found {spec!r}, expected {DEFAULT}, or one of {sorted(PACKAGES)} "
            "with :MODEL"
        )
    distribution, module, load_model = PACKAGES[name]
    model = model or WHISPER
    try:
        transcribe_wave = load_model(importlib.import_module(module), model)
    except ImportError as error:
        raise InputError(
            f"--recognizer={spec}: {error}; expected `pip install {distribution}`"
        ) from None
    except Exception as error:  # whatever its package raises for a model that it cannot load
        raise InputError(f"--recognizer={spec}: found no model {model!r}: {error}") from error
    return Whisper(f"{name}:{model}", importlib.metadata.version(distribution), transcribe_wave)
