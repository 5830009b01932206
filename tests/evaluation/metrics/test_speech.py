"""Transcripts of PocketSphinx."""

import numpy as np
from helpers.synthetic_audio import spoken, struck, times

from vssflow_jax.evaluation.metrics import speech

CLEAR = ("place white with k zero again", "lay green in r two soon", "bin red by x six please")


def test_clear_speech_is_transcribed():
    transcripts = [speech.transcribe_wave(spoken(text)) for text in CLEAR]
    assert transcripts == list(CLEAR)


def test_silence_has_an_empty_transcript():
    waves = [np.zeros(16_000, np.float32), np.zeros(0, np.float32)]
    assert speech.transcribe(waves) == ["", ""]


def test_a_transcript_depends_on_its_wave_alone():
    waves = [spoken(), struck("drum", times(1)), 0.3 * spoken("lay green in b two soon", "ben")]
    transcripts = speech.transcribe(waves)
    assert speech.transcribe(waves[::-1])[::-1] == transcripts
    repeated = waves * 6  # more than one job: other processes
    assert speech.transcribe(repeated, workers=2) == transcripts * 6


def test_sentences_of_the_grammar():
    assert speech.in_grammar("Set blue at G nine now.")
    assert not speech.in_grammar("set blue at w nine now")
    assert not speech.in_grammar("hello")
