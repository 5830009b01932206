"""Transcripts of PocketSphinx, and word errors."""

import numpy as np
import pytest
from helpers.synthetic_audio import SENTENCE, spoken, struck, times

from vssflow_jax.evaluation.metrics import speech

CLEAR = ("place white with k zero again", "lay green in r two soon", "bin red by x six please")


@pytest.mark.parametrize(
    ("transcript", "errors"),
    [
        (SENTENCE, 0),
        ("set red at g nine now", 1),
        ("set red by g two soon", 4),
        ("set blue at g nine", 1),
        ("set blue at g nine now now", 1),
        ("", 6),
    ],
)
def test_word_errors_counts_substitutions_deletions_insertions(transcript, errors):
    assert speech.word_errors(SENTENCE, transcript) == (errors, 6)


def test_word_errors_ignore_case_punctuation_and_how_numbers_are_written():
    assert speech.word_errors("Set blue, at G nine: now!", SENTENCE) == (0, 6)
    assert speech.word_errors(SENTENCE, "Set blue at G 9 now.") == (0, 6)
    assert speech.word_errors(SENTENCE, "\u4e00\u4e8c") == (6, 6)


def test_a_reference_without_words_is_an_error():
    with pytest.raises(ValueError, match="no words"):
        speech.word_errors(" ?! ", "set")


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
