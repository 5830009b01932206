"""Word errors: what a recogniser hears, against what should have been said.

The recogniser is PocketSphinx; its wheel carries the US English acoustic model and
dictionary, so nothing is downloaded. Its search is restricted to the GRID grammar (Cooke,
Barker, Cunningham and Shao 2006, An audio-visual corpus for speech perception), so what it
says is always such a sentence or nothing; the codec's floor tells what it makes of perfect
speech.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import jiwer
import numpy as np
from pocketsphinx import Decoder

from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.text import normalize

SAMPLE_RATE = 16_000
GRAMMAR = (
    ("bin", "lay", "place", "set"),
    ("blue", "green", "red", "white"),
    ("at", "by", "in", "with"),
    tuple("abcdefghijklmnopqrstuvxyz"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("again", "now", "please", "soon"),
)
EXTRA = (("z(2)", "Z EH D"),)  # British "zed"; the dictionary has only "zee"
# Settings found on 200 eSpeak sentences of ten voices, five accents: raw 36 % word errors, with
# the noise 10 %, with these 9.3 %; most of the rest are accents that the model does not know.
SETTINGS = {"topn": 8, "silprob": 0.3, "bestpath": False}
NOISE = 0.0045  # digital silence has no logarithm: noise under the speech, peak at PEAK
PEAK = 0.7
MARGIN = round(0.3 * SAMPLE_RATE)  # samples kept around the sound
LEAD = round(0.3 * SAMPLE_RATE)  # samples of noise alone at both ends
AUDIBLE = 0.02  # of the peak: what is quieter at the ends is cut
ALONE = 16  # so few waves are heard in this process; the size of a job for another
SILENT = 1e-4  # peak below which there is nothing to hear
PCM = 32_767
NORMALISATION = (
    "both sides: lower case, numbers and signs spelled out in English, accents and punctuation "
    "taken off; letters and apostrophes are kept"
)


def jsgf() -> str:
    """The grammar in the Java Speech Grammar Format."""
    parts = " ".join(f"({' | '.join(words)})" for words in GRAMMAR)
    return f"#JSGF V1.0;\ngrammar grid;\npublic <sentence> = {parts};\n"


def normalise(text: str) -> list[str]:
    """Words of a transcript as both sides of a comparison have them; may be none."""
    try:
        return [word.rstrip(".") for word in normalize.words(text)]  # "a." is the letter
    except InputError:  # nothing to say, or another script: what is left of it
        return re.sub(r"[^a-z']+", " ", text.lower()).split()


def in_grammar(text: str) -> bool:
    """Whether the recogniser can hear this sentence at all."""
    words = normalise(text)
    return len(words) == len(GRAMMAR) and all(
        word in slot for word, slot in zip(words, GRAMMAR, strict=True)
    )


@functools.cache
def _decoder() -> Decoder:
    decoder = Decoder(lm=None, loglevel="FATAL", samprate=SAMPLE_RATE, **SETTINGS)
    for word, pronunciation in EXTRA:
        decoder.add_word(word, pronunciation, True)
    decoder.add_jsgf_string("grid", jsgf())
    decoder.activate_search("grid")
    return decoder


def prepare(wave: np.ndarray) -> bytes:
    """Trims, scales and adds a little noise, the same each time: 16-bit samples as bytes."""
    peak = float(np.abs(wave).max(initial=0.0))
    if peak < SILENT:
        return b""
    loud = np.flatnonzero(np.abs(wave) > AUDIBLE * peak)
    wave = wave[max(loud[0] - MARGIN, 0) : loud[-1] + MARGIN] * (PEAK / peak)
    wave = np.pad(wave, LEAD)
    wave = wave + np.random.default_rng(0).normal(0, NOISE, len(wave))
    return (np.clip(wave, -1, 1) * PCM).astype("<i2").tobytes()


def hear(wave: np.ndarray) -> str:
    """The sentence heard in float32 [n] at 16 kHz; empty for silence and for no match."""
    data = prepare(wave)
    if not data:
        return ""
    decoder = _decoder()
    decoder.reinit_feat()  # forgets the noise and the means of the wave before
    decoder.start_utt()
    decoder.process_raw(data, no_search=False, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found is not None and found.hypstr else ""


def recognise(waves: Sequence[np.ndarray], workers: int | None = None) -> list[str]:
    """What is heard in each wave, in order; a wave's result depends on nothing but the wave.

    Args:
      waves: each float32 [n] at 16 kHz.
      workers: processes that share the work (None: all cores); few waves are heard here.
    """
    if len(waves) <= ALONE:
        return [hear(wave) for wave in waves]
    jobs = [(k, waves[k : k + ALONE]) for k in range(0, len(waves), ALONE)]
    heard = dict(process_pool.unordered(_hear_job, jobs, workers))
    return [text for first, _ in jobs for text in heard[first]]


def _hear_job(job: tuple[int, Sequence[np.ndarray]]) -> tuple[int, list[str]]:
    first, waves = job
    return first, [hear(wave) for wave in waves]


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """Errors (substitutions, deletions, insertions) and words of the reference.

    Both sides are normalised alike. Nothing heard counts as the deletion of every word.
    Raises ValueError for a reference without words.
    """
    words = normalise(reference)
    if not words:
        raise ValueError(f"reference {reference!r} has no words")
    counts = jiwer.process_words(" ".join(words), " ".join(normalise(heard)))
    return counts.substitutions + counts.deletions + counts.insertions, len(words)
