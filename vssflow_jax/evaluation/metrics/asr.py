"""Speech recognizers by name: PocketSphinx, and Whisper where its package is installed."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import importlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.evaluation.metrics import speech, word_errors

DEFAULT = "pocketsphinx"
FLAG = "--recognizer"
HELP = f"{DEFAULT}, or whisper:MODEL, a folder in CTranslate2's format or a name on the hub."
WHISPER, PACKAGE = "whisper", "faster-whisper"
# Of a folder; without the tokenizer the package would look for one on the hub.
WHISPER_FILES = ("config.json", "model.bin", "tokenizer.json")
LOADING = {"device": "cpu", "compute_type": "int8", "cpu_threads": 1}
TRANSCRIPTION = {"language": "en", "beam_size": 5, "temperature": 0.0}


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
    """A Whisper model that faster-whisper runs (Radford et al. 2022, arXiv 2212.04356).

    Attributes:
      name: flag and model.
      version: of the package.
      network: a `faster_whisper.WhisperModel`.
    """

    name: str
    version: str
    network: Any

    def rejects(self, text: str) -> str | None:
        """A reason for texts without words."""
        return None if word_errors.normalize_words(text) else "its text has no words"

    def transcribe(self, waves: Sequence[np.ndarray]) -> list[str]:
        """Transcripts; silence gives none, although the model may invent words in it.

        Each wave has one thread, which is faster than all cores for one wave after another.
        """
        with concurrent.futures.ThreadPoolExecutor(process_pool.count_cores()) as pool:
            return list(pool.map(self._transcribe_wave, waves))

    def _transcribe_wave(self, wave: np.ndarray) -> str:
        if not speech.is_audible(wave):
            return ""
        segments, _ = self.network.transcribe(np.float32(wave), **TRANSCRIPTION)
        return " ".join(segment.text.strip() for segment in segments).strip()


def load_whisper(model: str, field: str = FLAG) -> Whisper:
    """Loads a Whisper model on the processor.

    Args:
      model: a folder in CTranslate2's format, or a name that faster-whisper downloads.
      field: what asks for it, in messages.

    Raises:
      InputError: the package is not installed, or the model does not load.
    """
    flag = f"{field}={WHISPER}:{model}"
    if not model:
        raise InputError(f"{flag}: found no model, expected a folder or a name such as tiny.en")
    folder = Path(model).expanduser()
    missing = [name for name in WHISPER_FILES if not (folder / name).is_file()]
    if folder.exists() and missing:
        raise InputError(
            f"{flag}: found no {missing[0]} in it, expected a folder in CTranslate2's format with "
            f"{', '.join(WHISPER_FILES)}"
        )
    try:
        module = importlib.import_module("faster_whisper")
    except ImportError as error:
        raise InputError(f"{flag}: {error}; expected `pip install {PACKAGE}`") from None
    source = str(folder) if folder.exists() else model
    try:
        network = module.WhisperModel(source, num_workers=process_pool.count_cores(), **LOADING)
    except Exception as error:  # whatever the package raises for a model that it cannot load
        raise InputError(f"{flag}: found no model {model!r}: {one_line(error)}") from error
    return Whisper(f"{WHISPER}:{model}", importlib.metadata.version(PACKAGE), network)


@functools.cache
def load(spec: str, field: str = FLAG) -> Recognizer:
    """Loads a recognizer by name: pocketsphinx, or whisper:MODEL (`load_whisper`).

    Args:
      spec: its name.
      field: what asks for it, in messages.

    Raises:
      InputError: an unknown name, or a model that does not load.
    """
    name, _, model = spec.partition(":")
    if spec == DEFAULT:
        return PocketSphinx()
    if name == WHISPER:
        return load_whisper(model, field)
    raise InputError(
        f"{field}: found {spec!r}, expected {DEFAULT}, or {WHISPER}:MODEL with a folder or "
        "a name on the hub"
    )
