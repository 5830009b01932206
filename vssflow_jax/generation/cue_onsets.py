"""Subtitles that are heard late or early: their speech moves towards the start of the cue.

The first sound of a cue may be silent at first, as the closed lips of "please" are, or come at
another time than it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.text.cues import list_cues
from vssflow_jax.text.word_times import TimedUtterance, shift_utterance

BLOCK = round(0.01 * SAMPLE_RATE)  # samples whose power is taken together
AUDIBLE = 30.0  # dB below the loudest block up to which speech is heard
MAX_DELAY = 0.05  # seconds between the start of a cue and where it is audible
# Seconds before and behind an utterance that are its speech, as far as its neighbors leave them.
SPEECH_MARGINS, SPEECH_FADE = (0.1, 0.25), 0.02


def find_first_second(start: float, earliest: float = 0.0) -> float:
    """Where an utterance may become audible first; arguments as those of `measure_delay`."""
    return max(start - SPEECH_MARGINS[0], earliest, 0.0)


def measure_delay(wave: np.ndarray, start: float, end: float, earliest: float = 0.0) -> float:
    """Seconds from the start of an utterance to where it is audible; below 0: before its start.

    That is the first block that is less than AUDIBLE decibels below the loudest; 0 for silence.

    Args:
      wave: of the clip's speech, float32 [n] at 16 kHz.
      start: of the utterance, seconds.
      end: of the utterance, seconds.
      earliest: seconds; what comes before is not of the utterance.
    """
    heard = find_first_second(start, earliest)
    part = wave[round(heard * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    power = np.square(part[: len(part) // BLOCK * BLOCK].reshape(-1, BLOCK)).mean(axis=1)
    if not power.any():
        return 0.0
    first = np.argmax(power > power.max() * 10 ** (-AUDIBLE / 10))
    return heard + float(first) * BLOCK / SAMPLE_RATE - start


def move_cues(
    wave: np.ndarray,
    sample_rate: int,
    utterances: Sequence[TimedUtterance],
    cues: Sequence[int | None],
) -> tuple[np.ndarray, list[TimedUtterance], list[str]]:
    """Speech in which every cue is audible at most MAX_DELAY after or before its start.

    A cue that is audible later or earlier moves by the difference, and leaves silence behind. One
    that is audible from the first second on that may be its own, as among noise, stays.

    Args:
      wave: speech without other sound, float32 [n] or [n, A].
      sample_rate: samples a second.
      utterances: what is said, in order.
      cues: the number of each utterance's cue; None: of none, which stays where it is.

    Returns:
      The wave; the utterances, with their times in it; a line about those that moved.
    """
    mono, out = to_mono(wave, sample_rate, SAMPLE_RATE), wave.copy()
    ends = [-math.inf, *(line.end for line in utterances)]
    starts = [*(line.start for line in utterances), math.inf]
    placed, moved = [], []
    for number, (line, cue) in enumerate(zip(utterances, cues, strict=True)):
        before, behind = ends[number], starts[number + 1]
        earliest = min(before + SPEECH_MARGINS[1], line.start)
        delay = measure_delay(mono, line.start, line.end, earliest)
        change = np.clip(delay, -MAX_DELAY, MAX_DELAY) - delay
        shift = round(change * sample_rate)
        has_start = line.start + delay > find_first_second(line.start, earliest) + 1e-6
        if cue is None or not has_start or not shift:
            placed.append(line)
            continue
        first = line.start - min(SPEECH_MARGINS[0], (line.start - before) / 2)
        last = line.end + min(SPEECH_MARGINS[1], (behind - line.end) / 2)
        samples = (round(seconds * sample_rate) for seconds in (first, last, SPEECH_FADE))
        _move_part(wave, out, shift, *samples)
        placed.append(shift_utterance(line, shift / sample_rate))
        moved.append(f"{cue} ({1000 * abs(change):.0f} ms {'earlier' if shift < 0 else 'later'})")
    if not moved:
        return wave, placed, []
    return out, placed, [f"{list_cues(moved)} of the subtitles: moved, to be audible at the start"]


def _move_part(
    wave: np.ndarray, out: np.ndarray, shift: int, first: int, last: int, fade: int
) -> None:
    """Moves the samples `first` to `last` of a wave by `shift` in `out`, its copy.

    Over `fade` samples around both ends, a rising share of the sound is taken along.
    """
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    shares = np.concatenate([ramp, np.ones(max(last - first - fade, 0)), ramp[::-1]])
    begin = first - fade // 2
    inside = slice(max(begin, 0), min(begin + len(shares), len(wave)))
    shares = shares[inside.start - begin : inside.stop - begin].astype(np.float32)
    part = wave[inside] * shares.reshape(-1, *[1] * (wave.ndim - 1))
    out[inside] -= part
    target = inside.start + shift
    part = part[max(-target, 0) : len(out) - target]
    out[max(target, 0) : max(target, 0) + len(part)] += part
