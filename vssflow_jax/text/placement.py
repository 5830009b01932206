"""A text in its interval: words, phonemes, and the times that they get where none are given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.text import alignment, normalize, phonemes
from vssflow_jax.text.subwords import Pace

SPEECH_START = 0.3  # seconds before predicted speech, where no start is given
TIGHT = 1.5  # a text that needs this much more time than it has is warned about


def schedule(
    text: str,
    start: float | None,
    end: float | None,
    duration: float | None,
    durations: Mapping[str, float],
) -> tuple[list[alignment.Interval], list[str]]:
    """Phoneme times of a text in its interval, and warnings about the pace.

    Args:
      text: what is said.
      start: seconds; None: near the start of the clip.
      end: seconds; None: the natural length, or the clip's end where that comes first.
      duration: seconds of the clip; None: as long as the text needs.
      durations: mean seconds by phoneme.

    Raises:
      InputError: no words, an interval outside the clip, or too short for the phonemes.
    """
    symbols = symbols_of(text, durations)
    _check(start, end, duration)
    needed = alignment.natural(symbols, durations)
    if start is None:
        room = (end or duration or needed + 2 * SPEECH_START) - needed
        start = min(SPEECH_START, max(room / 2, 0.0))
    if end is None and duration is not None and start + needed > duration:
        end = duration
    warnings = []
    if end is not None:
        pace = alignment.fits(symbols, start, end, durations)
        if pace > TIGHT:
            warnings.append(
                f"the text needs about {needed:.1f} s and has {end - start:.1f} s: "
                "the speech will be rushed"
            )
    return alignment.predict(symbols, start, end, durations), warnings


def symbols_of(text: str, durations: Mapping[str, float]) -> list[str]:
    """Phonemes of a text, or subwords where the durations are those of subwords."""
    if isinstance(durations, Pace) and durations.model:
        return durations.pieces(text)
    return [symbol for word in phonemes.pronounce(normalize.words(text)) for symbol in word]


def voiced(durations: Mapping[str, float], voice: np.ndarray | None) -> Mapping[str, float]:
    """The durations of a voice, where they know of voices."""
    return durations.of_voice(voice) if isinstance(durations, Pace) else durations


def predicted(
    meta: Mapping, durations: Mapping[str, float], voice: np.ndarray | None = None
) -> list[alignment.Interval]:
    """Phoneme times for a clip's text from its true start on, as if the rest were unknown."""
    durations = voiced(durations, voice)
    begin = meta["alignment"][0][0] if meta.get("alignment") else None
    return schedule(meta["text"], begin, None, meta["duration"], durations)[0]


def _check(start: float | None, end: float | None, duration: float | None) -> None:
    if end is not None and start is not None and end <= start:
        raise InputError(
            f"--speech_end: found {end:g} s, expected more than --speech_start, {start:g} s"
        )
    if start is not None and duration is not None and not 0 <= start < duration:
        raise InputError(f"--speech_start: found {start:g} s, expected 0 to {duration:g} s")
    if end is not None and duration is not None and end > duration + 1 / LATENT_RATE:
        raise InputError(f"--speech_end: found {end:g} s, expected at most {duration:g} s")
