"""Transcripts of PocketSphinx.

The wheel of PocketSphinx contains its US English acoustic model and dictionary, so nothing is
downloaded. The search is restricted to MiniAV's sentences (corpus/sentences.py): a transcript is
one of them or empty. The codec floor shows how many errors the recognizer itself makes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from pocketsphinx import Decoder

from vssflow_jax.common import process_pool
from vssflow_jax.corpus.sentences import GRAMMAR
from vssflow_jax.evaluation.metrics.word_errors import normalize_words

SAMPLE_RATE = 16_000
EXTRA = (("z(2)", "Z EH D"),)  # British "zed"; the dictionary has only "zee"
# Settings found on 200 eSpeak sentences of ten voices, five accents: raw 36 % word errors, with
# the noise 10 %, with these 9.3 %; most of the rest are accents that the model does not know.
SETTINGS = {"topn": 8, "silprob": 0.3, "bestpath": False}
NOISE = 0.0045  # digital silence has no logarithm: noise under the speech, peak at PEAK
PEAK = 0.7
MARGIN = round(0.3 * SAMPLE_RATE)  # samples kept around the sound
LEAD = round(0.3 * SAMPLE_RATE)  # samples of noise alone at both ends
AUDIBLE = 0.02  # of the peak: what is quieter at the ends is cut
JOB = 16  # waves of a job; so few waves are transcribed in this process
SILENT = 1e-4  # peak below which a wave counts as silence
PCM = 32_767


def jsgf() -> str:
    """The grammar in the Java Speech Grammar Format."""
    parts = " ".join(f"({' | '.join(words)})" for words in GRAMMAR)
    return f"#JSGF V1.0;\ngrammar grid;\npublic <sentence> = {parts};\n"


def in_grammar(text: str) -> bool:
    """Whether a text is a sentence of the grammar."""
    words = normalize_words(text)
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


def is_audible(wave: np.ndarray) -> bool:
    """Whether a wave is louder than silence."""
    return float(np.abs(wave).max(initial=0.0)) >= SILENT


def to_pcm(wave: np.ndarray) -> bytes:
    """16-bit samples as bytes: trimmed, scaled, with a little noise, the same each time."""
    if not is_audible(wave):
        return b""
    peak = float(np.abs(wave).max())
    loud = np.flatnonzero(np.abs(wave) > AUDIBLE * peak)
    wave = wave[max(loud[0] - MARGIN, 0) : loud[-1] + MARGIN] * (PEAK / peak)
    wave = np.pad(wave, LEAD)
    wave = wave + np.random.default_rng(0).normal(0, NOISE, len(wave))
    return (np.clip(wave, -1, 1) * PCM).astype("<i2").tobytes()


def transcribe_wave(wave: np.ndarray) -> str:
    """Transcript of float32 [n] at 16 kHz; empty for silence and where nothing matches."""
    data = to_pcm(wave)
    if not data:
        return ""
    decoder = _decoder()
    decoder.reinit_feat()  # drop the noise estimate and the means of the previous wave
    decoder.start_utt()
    decoder.process_raw(data, no_search=False, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis is not None and hypothesis.hypstr else ""


def transcribe(waves: Sequence[np.ndarray], workers: int | None = None) -> list[str]:
    """Transcripts of waves, in order; each depends on its wave alone.

    Args:
      waves: each float32 [n] at 16 kHz.
      workers: processes that share the work (None: all cores); few waves need none.
    """
    if len(waves) <= JOB:
        return [transcribe_wave(wave) for wave in waves]
    jobs = [(first, waves[first : first + JOB]) for first in range(0, len(waves), JOB)]
    transcripts = dict(process_pool.map_unordered(_transcribe_job, jobs, workers))
    return [text for first, _ in jobs for text in transcripts[first]]


def _transcribe_job(job: tuple[int, Sequence[np.ndarray]]) -> tuple[int, list[str]]:
    first, waves = job
    return first, [transcribe_wave(wave) for wave in waves]
