"""When each phoneme of a known text sounds: forced alignment by PocketSphinx.

The `pocketsphinx` wheel (extra `quickstart`) carries a US English acoustic model of 39 phonemes
without stress. The recogniser's first pass finds the words and the pauses, its second the
phonemes, 100 frames a second (Huggins-Daines et al. 2006, PocketSphinx: a free, real-time
continuous speech recognition system). A word is said as generation would say it, so that
training and sampling agree.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval

VERSION = 1  # of the times that come out
SAMPLE_RATE = 16_000
FRAME = 0.01  # seconds
# A frame is heard through a window of 25.6 ms from its start on: it tells of the window's middle.
DELAY = 0.0128
PEAK = 0.7  # to which a wave is scaled
NOISE = 0.0005  # digital silence has no logarithm: noise under the speech
PCM = 32_767
FILLERS = "<[+"  # how the names of silence and noise begin


def available() -> bool:
    """Whether the recogniser is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


@functools.cache
def _decoder():
    from pocketsphinx import Decoder  # an extra; `available` says whether it is there

    return Decoder(lm=None, dict=None, loglevel="FATAL", samprate=SAMPLE_RATE)


def align(wave: np.ndarray, words: Sequence[str]) -> list[Interval]:
    """Phonemes of `words`, as `text.normalize` gives them, with their times in the sound.

    Args:
      wave: float32 [n] at 16 kHz, in which the words and no others are said.
      words: in order; pauses may be anywhere.

    Returns:
      Intervals without the pauses, of the symbols that `phonemes.pronounce` gives.

    Raises:
      InputError: PocketSphinx is not installed, words that cannot be pronounced, or no way to
        lay them on the sound: there are less than three frames a phoneme, or other words.
    """
    if not available():
        raise InputError(
            "aligner: PocketSphinx is not installed, expected pip install pocketsphinx"
        )
    spoken = phonemes.pronounce(words)
    decoder = _decoder()
    for word, symbols in zip(words, spoken, strict=True):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, " ".join(s.rstrip("012") for s in symbols), False)
    spans = _spans(decoder, _pcm(wave), words)
    names = [symbol for symbols in spoken for symbol in symbols]
    if len(spans) != len(names):
        raise InputError(f"aligner: found no way to say {' '.join(words)[:60]!r} in the sound, "
                         "expected a recording of these words alone")  # fmt: skip
    starts = [first * FRAME + DELAY for first, _ in spans]
    return [
        Interval(start, start + frames * FRAME, name)
        for start, (_, frames), name in zip(starts, spans, names, strict=True)
    ]


def _pcm(wave: np.ndarray) -> bytes:
    """16-bit samples as bytes, scaled, with a little noise that is the same each time."""
    peak = float(np.abs(wave).max(initial=0.0))
    noise = np.random.default_rng(0).normal(0, NOISE, len(wave))
    loud = wave * (PEAK / max(peak, 1e-4)) + noise
    return (np.clip(loud, -1, 1) * PCM).astype("<i2").tobytes()


def _spans(decoder, data: bytes, words: Sequence[str]) -> list[tuple[int, int]]:
    """First frame and frames of every phoneme of the words; none where there is no way."""
    try:
        decoder.reinit_feat()  # forgets the means of the wave before
        decoder.set_align_text(" ".join(words))
        _decode(decoder, data)
        decoder.set_alignment()
        _decode(decoder, data)
        # The entries live no longer than the alignment, so their numbers are taken at once.
        return [
            (phone.start, phone.duration)
            for word in decoder.get_alignment()
            if word.name[0] not in FILLERS
            for phone in word
        ]
    except RuntimeError:  # all that the recogniser says when no path is left
        return []


def _decode(decoder, data: bytes) -> None:
    decoder.start_utt()
    try:
        decoder.process_raw(data, no_search=False, full_utt=True)
    finally:
        decoder.end_utt()
