"""Speech recognisers by name: the embedded one, and Whisper where its package is installed."""

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


class Recogniser(Protocol):
    """What a recogniser offers.

    Attributes:
      name: what the protocol calls it, package and model.
      version: of its package.
    """

    name: str
    version: str

    def refuses(self, text: str) -> str | None:
        """Why a transcript could never be heard; None where it could."""

    def recognise(self, waves: Sequence[np.ndarray]) -> list[str]:
        """What is heard in each wave, float32 [n] at 16 kHz; empty for nothing."""


@dataclasses.dataclass(frozen=True)
class PocketSphinx:
    """The embedded recogniser, which hears sentences of the GRID grammar and nothing else."""

    name: str = DEFAULT
    version: str = importlib.metadata.version("pocketsphinx")

    def refuses(self, text: str) -> str | None:
        """A reason for every text outside the grammar."""
        return None if speech.in_grammar(text) else "its text is outside the recogniser's grammar"

    def recognise(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Sentences heard, by all cores."""
        return speech.recognise(waves)


@dataclasses.dataclass(frozen=True)
class Whisper:
    """A Whisper model in one of its packages.

    Attributes:
      name: package and model.
      version: of the package.
      hear: float32 [n] at 16 kHz to text.
    """

    name: str
    version: str
    hear: Callable[[np.ndarray], str]

    def refuses(self, text: str) -> str | None:
        """A reason for texts without words."""
        return None if speech.normalise(text) else "its text has no words"

    def recognise(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Texts heard; silence is nothing, whatever the model makes of it."""
        loud = (float(np.abs(wave).max(initial=0.0)) >= speech.SILENT for wave in waves)
        return [
            self.hear(wave).strip() if some else "" for some, wave in zip(loud, waves, strict=True)
        ]


def _faster_whisper(module, model: str) -> Callable[[np.ndarray], str]:
    loaded = module.WhisperModel(model, device="cpu", compute_type="int8")

    def hear(wave: np.ndarray) -> str:
        segments, _ = loaded.transcribe(wave, language="en", beam_size=5, temperature=0.0)
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def _whisper(module, model: str) -> Callable[[np.ndarray], str]:
    loaded = module.load_model(model, device="cpu")

    def hear(wave: np.ndarray) -> str:
        return loaded.transcribe(wave, language="en", beam_size=5, temperature=0.0, fp16=False)[
            "text"
        ]

    return hear


# Flag -> its package on the registry, its module, and what loads a model.
PACKAGES = {
    "faster-whisper": ("faster-whisper", "faster_whisper", _faster_whisper),
    "whisper": ("openai-whisper", "whisper", _whisper),
}


@functools.cache
def load(spec: str) -> Recogniser:
    """The recogniser of a flag: `pocketsphinx`, or `faster-whisper:MODEL`, `whisper:MODEL`.

    MODEL is a name that the package knows and fetches, or a file or folder of weights.

    Raises:
      InputError: an unknown name, a package that is not installed, a model that cannot be had.
    """
    name, _, model = spec.partition(":")
    if spec == DEFAULT:
        return PocketSphinx()
    if name not in PACKAGES:
        raise InputError(
            f"--recogniser: found {spec!r}, expected {DEFAULT}, or one of {sorted(PACKAGES)} "
            "with :MODEL"
        )
    distribution, module, make = PACKAGES[name]
    model = model or WHISPER
    try:
        loaded = make(importlib.import_module(module), model)
    except ImportError as error:
        raise InputError(
            f"--recogniser={spec}: {error}; expected `pip install {distribution}`"
        ) from None
    except Exception as error:  # whatever its package raises for a model that it cannot have
        raise InputError(f"--recogniser={spec}: found no model {model!r}: {error}") from error
    return Whisper(f"{name}:{model}", importlib.metadata.version(distribution), loaded)
