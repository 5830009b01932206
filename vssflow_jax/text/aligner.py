"""Forced alignment by PocketSphinx: when each phoneme of a known text sounds.

The `pocketsphinx` wheel (extra `quickstart`) carries a US English acoustic model of 39 phonemes
without stress. The recognizer's first pass finds the words and the pauses, its second the
phonemes, 100 frames a second (Huggins-Daines et al. 2006, PocketSphinx: a free, real-time
continuous speech recognition system). Words are pronounced as generation pronounces
them, so that training and sampling agree.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval

VERSION = 1  # of the resulting times; part of the keys of shards
FRAME = 0.01  # seconds
# A frame's window is 25.6 ms long and begins with the frame; its features describe the middle.
DELAY = 0.0128
PEAK = 0.7  # amplitude that a wave is scaled to
NOISE = 0.0005  # added to the speech, since digital silence has no logarithm
MAX_INT16 = 32_767
FILLERS = "<[+"  # how the names of silence and noise begin


def is_available() -> bool:
    """Whether the recognizer is installed."""
    return importlib.util.find_spec("pocketsphinx") is not None


@functools.cache
def _load_decoder():
    from pocketsphinx import Decoder  # an extra, see `is_available`

    return Decoder(lm=None, dict=None, loglevel="FATAL", samprate=SAMPLE_RATE)


def align_words(wave: np.ndarray, words: Sequence[str]) -> list[Interval]:
    """When each phoneme of `words` sounds.

    Args:
      wave: float32 [n] at 16 kHz, a recording of these words alone.
      words: as `text.normalize` gives them, in order; pauses may be anywhere.

    Returns:
      Intervals of the symbols that `phonemes.pronounce` gives, without the pauses.

    Raises:
      InputError: PocketSphinx is not installed, words that cannot be pronounced, or words that
        do not match the sound: others are said, or there are less than three frames a phoneme.
    """
    if not is_available():
        raise InputError(
            "aligner: PocketSphinx is not installed, expected pip install pocketsphinx"
        )
    pronunciations = phonemes.pronounce(words)
    decoder = _load_decoder()
    for word, pronunciation in zip(words, pronunciations, strict=True):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, " ".join(s.rstrip("012") for s in pronunciation), False)
    spans = _find_spans(decoder, _to_pcm(wave), words)
    symbols = [symbol for pronunciation in pronunciations for symbol in pronunciation]
    if len(spans) != len(symbols):
        raise InputError(f"aligner: found no way to say {' '.join(words)[:60]!r} in the sound, "
                         "expected a recording of these words alone")  # fmt: skip
    starts = [first * FRAME + DELAY for first, _ in spans]
    return [
        Interval(start, start + frames * FRAME, symbol)
        for start, (_, frames), symbol in zip(starts, spans, symbols, strict=True)
    ]


def _to_pcm(wave: np.ndarray) -> bytes:
    """16-bit samples as bytes, scaled, with a little noise that is the same each time."""
    peak = float(np.abs(wave).max(initial=0.0))
    noise = np.random.default_rng(0).normal(0, NOISE, len(wave))
    noisy = wave * (PEAK / max(peak, 1e-4)) + noise
    return (np.clip(noisy, -1, 1) * MAX_INT16).astype("<i2").tobytes()


def _find_spans(decoder, data: bytes, words: Sequence[str]) -> list[tuple[int, int]]:
    """(first frame, number of frames) of every phoneme; empty if the words do not match."""
    try:
        decoder.reinit_feat()  # resets the means that the last wave left
        decoder.set_align_text(" ".join(words))
        _decode(decoder, data)
        decoder.set_alignment()
        _decode(decoder, data)
        # The entries die with the alignment, so their numbers are read at once.
        return [
            (phone.start, phone.duration)
            for word in decoder.get_alignment()
            if word.name[0] not in FILLERS
            for phone in word
        ]
    except RuntimeError:  # PocketSphinx's only sign that no path is left
        return []


def _decode(decoder, data: bytes) -> None:
    decoder.start_utt()
    try:
        decoder.process_raw(data, no_search=False, full_utt=True)
    finally:
        decoder.end_utt()
