"""The speakers of MiniAV: sets of voices by name, and what an utterance of theirs is.

`espeak` needs no further package and says GRID sentences best; `hibari` has a natural voice and
speakers derived from it, all or a number of them; `kokoro` has the natural voices of a folder and
their mixtures.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.corpus import sounds
from vssflow_jax.corpus.face import Look
from vssflow_jax.corpus.phoneme_times import Sound
from vssflow_jax.text import normalize

SETS = ("espeak", "hibari", "hibari:COUNT", "kokoro:FOLDER")
RECORDING_PEAK = 0.6
ROOM_BEFORE, ROOM_BEHIND = 0.03, 0.12  # seconds of an utterance around its sounds

REFERENCES = (
    "the morning train was late because of heavy snow",
    "she found an old map under the kitchen table",
    "could you bring me a cup of warm milk and some bread",
    "they walked along the river until the sun went down",
)  # what a voice says in its reference recordings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """A speaker.

    Attributes:
      name: as in annotations and file names.
      look: the face that goes with it.
      settings: of its set's synthesizer.
      held_out: it speaks in valid and test clips alone.
      share: how often it speaks, against 1 of most voices.
    """

    name: str
    look: Look
    settings: Any
    held_out: bool = False
    share: int = 1


class Utterance(NamedTuple):
    """wave: float32 [n] at 16 kHz, peak 1; sounds: (start, end, ARPAbet symbol), seconds."""

    wave: np.ndarray
    sounds: list[Sound]


class VoiceSet(Protocol):
    """Voices of one synthesizer."""

    voices: tuple[Voice, ...]

    def speak(
        self, voice: Voice, words: Sequence[str], tempo: float = 1.0, seed: int = 0
    ) -> Utterance:
        """Words, as `text.normalize` gives them, in a voice, `tempo` times as fast as usual."""


def trim_silence(wave: np.ndarray, sounds: Sequence[Sound]) -> Utterance:
    """The utterance of a wave at 16 kHz, cut to its sounds with a little room around."""
    first = max(round((sounds[0][0] - ROOM_BEFORE) * SAMPLE_RATE), 0)
    last = round((sounds[-1][1] + ROOM_BEHIND) * SAMPLE_RATE)
    shift, part = first / SAMPLE_RATE, wave[first:last]
    shifted = [(start - shift, end - shift, symbol) for start, end, symbol in sounds]
    return Utterance((part / np.abs(part).max()).astype(np.float32), shifted)


@functools.cache
def load_voices(name: str) -> VoiceSet:
    """A set of voices by the name that a flag gives.

    Raises:
      InputError: an unknown set, or one whose package or files are not there.
    """
    kind, _, detail = name.partition(":")
    try:
        if name == "espeak":
            from vssflow_jax.corpus.espeak_voices import EspeakVoices

            return EspeakVoices()
        if name == "hibari" or (kind == "hibari" and detail.isdecimal()):
            from vssflow_jax.corpus.hibari_voices import HibariVoices

            return HibariVoices(int(detail) if detail else None)
        if kind == "kokoro" and detail:
            from vssflow_jax.corpus.kokoro_voices import KokoroVoices

            return KokoroVoices(detail)
    except ModuleNotFoundError as error:
        raise InputError(
            f"--voices={name}: {error}; expected `pip install 'vssflow_jax[voices]'`"
        ) from None
    raise InputError(f"--voices: found {name!r}, expected one of {', '.join(SETS)}")


def find_voice(voice_set: VoiceSet, name: str) -> Voice:
    """The voice of a set with this name."""
    return next(voice for voice in voice_set.voices if voice.name == name)


def rotate_voices(voice_set: VoiceSet, split: str) -> tuple[Voice, ...]:
    """The voices of a split in the order in which they speak, each as often as its share.

    Training has those that are not held out; the other splits alternate both kinds.
    """
    known = _interleave([voice for voice in voice_set.voices if not voice.held_out])
    unknown = [voice for voice in voice_set.voices if voice.held_out]
    if split == "train" or not unknown:
        return known
    pairs = [(known[k % len(known)], unknown[k % len(unknown)]) for k in range(len(known))]
    return tuple(voice for pair in pairs for voice in pair)


def _interleave(voices: Sequence[Voice]) -> tuple[Voice, ...]:
    """Voices repeated by their shares, the repetitions evenly spread."""
    places = [
        ((repetition + (number + 0.5) / len(voices)) / voice.share, number)
        for number, voice in enumerate(voices)
        for repetition in range(voice.share)
    ]
    return tuple(voices[number] for _, number in sorted(places))


def record_reference(voice_set: VoiceSet, voice: Voice, number: int) -> np.ndarray:
    """Recording `number` of a voice, another text than any clip's: float [n] at 16 kHz."""
    return record_words(voice_set, voice, normalize.words(REFERENCES[number]), number)


def record_words(
    voice_set: VoiceSet, voice: Voice, words: Sequence[str], seed: int = 0
) -> np.ndarray:
    """Words in a voice, in a quiet room whose noise the seed decides: float [n] at 16 kHz."""
    wave = RECORDING_PEAK * voice_set.speak(voice, words).wave
    return wave + sounds.synthesize_room(len(wave), np.random.default_rng(seed))
