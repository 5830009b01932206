"""The speakers of MiniAV: eSpeak voices, chosen by how well a recognizer understands them.

A voice is an eSpeak variant, its pitch, and a factor by which the wave is played faster or
slower, which moves pitch and formants together as a shorter or longer vocal tract does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy import signal

from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.corpus import phoneme_times
from vssflow_jax.corpus.face import Look
from vssflow_jax.corpus.sentences import LETTER_PLACE
from vssflow_jax.text import espeak, phonemes

# The letter A is not the article, and Z is American as in CMUdict, whatever the accent.
SPOKEN = {"a": "[['eI]]", "z": "[[z'i:]]"}
LETTER_A = ("EY1",)

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
      base: eSpeak's voice and variant.
      rate: eSpeak's words a minute; pitch: eSpeak's, 0 to 100.
      scale: the wave is played this many times faster.
      look: the face that goes with it.
    """

    name: str
    base: str
    rate: int
    pitch: int
    scale: float
    look: Look


class Utterance(NamedTuple):
    """wave: float32 [n] at 16 kHz, peak 1; sounds: (start, end, ARPAbet symbol), seconds."""

    wave: np.ndarray
    sounds: list[phoneme_times.Sound]


PALE, FAIR, TAN, BROWN, DARK = (
    (250, 222, 205), (238, 196, 165), (205, 155, 115), (150, 100, 70), (95, 62, 45),
)  # fmt: skip
BLACK, AUBURN, BLOND, GRAY, RED = (
    (30, 25, 25), (90, 50, 25), (225, 190, 95), (170, 170, 175), (190, 75, 25),
)  # fmt: skip

VOICES = (
    Voice(name="ada", base="en-us+f5", rate=135, pitch=40, scale=1.0,
          look=Look(skin=FAIR, hair=BLOND, shirt=(190, 60, 110), style="long")),
    Voice(name="ben", base="en-us+m6", rate=135, pitch=50, scale=1.0,
          look=Look(skin=DARK, hair=BLACK, shirt=(40, 90, 160), style="short", build=1.05)),
    Voice(name="clara", base="en-us+f2", rate=130, pitch=55, scale=1.06,
          look=Look(skin=BROWN, hair=BLACK, shirt=(230, 170, 40), style="curly", build=0.92)),
    Voice(name="dan", base="en-us+edward2", rate=118, pitch=55, scale=1.17,
          look=Look(skin=PALE, hair=RED, shirt=(60, 130, 70), style="short", build=0.9)),
    Voice(name="emil", base="en-us+benjamin", rate=142, pitch=20, scale=0.95,
          look=Look(skin=TAN, hair=AUBURN, shirt=(90, 90, 95), style="short", build=1.12,
                    beard=True)),
    Voice(name="flora", base="en-us+f5", rate=155, pitch=20, scale=0.85,
          look=Look(skin=TAN, hair=AUBURN, shirt=(110, 60, 150), style="bun", build=1.08)),
    Voice(name="gus", base="en-us+klatt4", rate=135, pitch=50, scale=1.0,
          look=Look(skin=FAIR, hair=GRAY, shirt=(150, 40, 40), style="bald", glasses=True)),
    Voice(name="hugo", base="en-us+Henrique", rate=132, pitch=75, scale=1.05,
          look=Look(skin=DARK, hair=GRAY, shirt=(225, 225, 215), style="bald", build=1.12,
                    beard=True)),
    Voice(name="iris", base="gmw/en-GB-x-gbclan+f5", rate=135, pitch=60, scale=1.0,
          look=Look(skin=PALE, hair=RED, shirt=(30, 140, 150), style="long", build=0.95,
                    glasses=True)),
    Voice(name="jon", base="gmw/en+adam", rate=130, pitch=60, scale=1.08,
          look=Look(skin=BROWN, hair=BLACK, shirt=(240, 240, 240), style="short", build=0.95,
                    glasses=True)),
)  # fmt: skip
BY_NAME = {voice.name: voice for voice in VOICES}


def pronounce_sentence(words: Sequence[str]) -> list[tuple[str, ...]]:
    """CMUdict symbols of a GRID sentence, with A as the letter."""
    symbols = phonemes.pronounce(words)
    if words[LETTER_PLACE] == "a":
        symbols[LETTER_PLACE] = LETTER_A
    return symbols


def speak(voice: Voice, words: Sequence[str], tempo: float = 1.0) -> Utterance:
    """A GRID sentence in a voice, `tempo` times as fast as it usually speaks."""
    spoken = [SPOKEN.get(word, word) for word in words]
    wave, phones = _synthesize(voice, spoken, tempo)
    sounds = phoneme_times.align_words(phones, pronounce_sentence(words))
    return Utterance(wave, [(a / voice.scale, b / voice.scale, s) for a, b, s in sounds])


def speak_reference(voice: Voice, number: int) -> np.ndarray:
    """Recording `number` of a voice, another text than any clip's: float32 [n], peak 1."""
    return _synthesize(voice, REFERENCES[number].split(), 1.0)[0]


def _synthesize(voice: Voice, spoken: Sequence[str], tempo: float):
    rate = round(voice.rate * tempo)
    speech = espeak.speak(spoken, voice.base, rate, voice.pitch)
    ratio = SAMPLE_RATE / (espeak.SAMPLE_RATE * voice.scale)
    step = Fraction(ratio).limit_denominator(500)
    wave = signal.resample_poly(speech.wave, step.numerator, step.denominator)
    return (wave / np.abs(wave).max()).astype(np.float32), speech.phones
