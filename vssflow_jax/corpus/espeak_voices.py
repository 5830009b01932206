"""eSpeak's voices, chosen by how well a recognizer understands them.

A voice is an eSpeak variant, its pitch, and a factor by which the wave is played faster or
slower, which moves pitch and formants together as a shorter or longer vocal tract does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import signal

from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.corpus import phoneme_times
from vssflow_jax.corpus.face import (
    AUBURN,
    BLACK,
    BLOND,
    BROWN,
    DARK,
    FAIR,
    GRAY,
    PALE,
    RED,
    TAN,
    Look,
)
from vssflow_jax.corpus.voices import Utterance, Voice
from vssflow_jax.text import espeak, phonemes, verbalize

# The letter A is not the article, and Z is American as in CMUdict, whatever the accent.
SPOKEN = {verbalize.LETTER_A: "[['eI]]", "z": "[[z'i:]]"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What eSpeak is asked for.

    Attributes:
      base: eSpeak's voice and variant.
      rate: eSpeak's words a minute; pitch: eSpeak's, 0 to 100.
      scale: the wave is played this many times faster.
    """

    base: str
    rate: int
    pitch: int
    scale: float


VOICES = (
    Voice(name="ada", settings=Settings(base="en-us+f5", rate=135, pitch=40, scale=1.0),
          look=Look(skin=FAIR, hair=BLOND, shirt=(190, 60, 110), style="long")),
    Voice(name="ben", settings=Settings(base="en-us+m6", rate=135, pitch=50, scale=1.0),
          look=Look(skin=DARK, hair=BLACK, shirt=(40, 90, 160), style="short", build=1.05)),
    Voice(name="clara", settings=Settings(base="en-us+f2", rate=130, pitch=55, scale=1.06),
          look=Look(skin=BROWN, hair=BLACK, shirt=(230, 170, 40), style="curly", build=0.92)),
    Voice(name="dan", settings=Settings(base="en-us+edward2", rate=118, pitch=55, scale=1.17),
          look=Look(skin=PALE, hair=RED, shirt=(60, 130, 70), style="short", build=0.9)),
    Voice(name="emil", settings=Settings(base="en-us+benjamin", rate=142, pitch=20, scale=0.95),
          look=Look(skin=TAN, hair=AUBURN, shirt=(90, 90, 95), style="short", build=1.12,
                    beard=True)),
    Voice(name="flora", settings=Settings(base="en-us+f5", rate=155, pitch=20, scale=0.85),
          look=Look(skin=TAN, hair=AUBURN, shirt=(110, 60, 150), style="bun", build=1.08)),
    Voice(name="gus", settings=Settings(base="en-us+klatt4", rate=135, pitch=50, scale=1.0),
          look=Look(skin=FAIR, hair=GRAY, shirt=(150, 40, 40), style="bald", glasses=True)),
    Voice(name="hugo", settings=Settings(base="en-us+Henrique", rate=132, pitch=75, scale=1.05),
          look=Look(skin=DARK, hair=GRAY, shirt=(225, 225, 215), style="bald", build=1.12,
                    beard=True)),
    Voice(name="iris",
          settings=Settings(base="gmw/en-GB-x-gbclan+f5", rate=135, pitch=60, scale=1.0),
          look=Look(skin=PALE, hair=RED, shirt=(30, 140, 150), style="long", build=0.95,
                    glasses=True)),
    Voice(name="jon", settings=Settings(base="gmw/en+adam", rate=130, pitch=60, scale=1.08),
          look=Look(skin=BROWN, hair=BLACK, shirt=(240, 240, 240), style="short", build=0.95,
                    glasses=True)),
)  # fmt: skip


class EspeakVoices:
    """The voice set `espeak`."""

    voices = VOICES

    def speak(
        self, voice: Voice, words: Sequence[str], tempo: float = 1.0, seed: int = 0
    ) -> Utterance:
        """See `voices.VoiceSet`; a voice of eSpeak says the same for every seed."""
        settings = voice.settings
        spoken = [SPOKEN.get(word, word) for word in words]
        rate = round(settings.rate * tempo)
        speech = espeak.speak(spoken, settings.base, rate, settings.pitch)
        ratio = SAMPLE_RATE / (espeak.SAMPLE_RATE * settings.scale)
        step = Fraction(ratio).limit_denominator(500)
        wave = signal.resample_poly(speech.wave, step.numerator, step.denominator)
        sounds = phoneme_times.align_words(speech.phones, phonemes.pronounce(words))
        scaled = [(a / settings.scale, b / settings.scale, s) for a, b, s in sounds]
        return Utterance((wave / np.abs(wave).max()).astype(np.float32), scaled)
