"""Forced alignment: accuracy, independence of what came before, and words that do not match."""

import itertools

import numpy as np
import pytest
from helpers.synthetic_audio import NAMES, say

from vssflow_jax.common.errors import InputError
from vssflow_jax.features import speaker
from vssflow_jax.text import aligner, alignment, phonemes
from vssflow_jax.text.durations import measure_durations

pytest.importorskip("pocketsphinx")
SENTENCES = (
    "place blue by c two soon",
    "set white in g nine again",
    "bin green at z five please",
    "lay red with m seven now",
)


@pytest.fixture(scope="module")
def utterances():
    """Sentences by four voices within 3.5 s: wave, words, true intervals."""
    examples = []
    for k, sentence in enumerate(SENTENCES):
        words = sentence.split()
        wave, sounds = say(sentence, NAMES[k])
        start = 0.4 + 0.1 * k
        padded = np.zeros(56_000, np.float32)
        padded[round(start * 16_000) :][: len(wave)] = 0.5 * wave
        truth = [alignment.Interval(a + start, b + start, s) for a, b, s in sounds]
        examples.append((padded, words, truth))
    return examples


def measure_errors(intervals, truth):
    """Absolute errors of all starts and ends, seconds."""
    assert [i.symbol for i in intervals] == [i.symbol for i in truth]
    return np.abs(np.array([i[:2] for i in intervals]) - [i[:2] for i in truth]).ravel()


def test_aligned_boundaries_are_far_better_than_predicted_ones(utterances):
    means = measure_durations([truth for _, _, truth in utterances])
    durations = {name: seconds for name, seconds in means.items() if " " not in name}
    aligned, predicted = [], []
    for wave, words, truth in utterances:
        aligned.append(measure_errors(aligner.align_words(wave, words), truth))
        symbols = [i.symbol for i in truth]
        spread = alignment.place_phonemes(symbols, *speaker.find_voiced_span(wave), durations)
        predicted.append(measure_errors(spread, truth))
    aligned, predicted = np.concatenate(aligned), np.concatenate(predicted)
    assert np.median(aligned) < 0.02 and np.quantile(aligned, 0.95) < 0.12
    assert np.median(aligned) < np.median(predicted) / 2


def test_an_alignment_depends_on_nothing_but_its_sound_and_words(utterances):
    first = aligner.align_words(*utterances[0][:2])
    aligner.align_words(*utterances[1][:2])
    assert aligner.align_words(*utterances[0][:2]) == first
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(first))


def test_words_outside_the_dictionary_and_stress_are_kept():
    words = ["jax", "kubernetes"]
    wave = say("jax kubernetes now at b two").wave
    intervals = aligner.align_words(wave, [*words, "now", "at", "b", "two"])
    expected = phonemes.pronounce(words)
    assert tuple(i.symbol for i in intervals[: len(expected[0])]) == expected[0]
    assert "EH1" in [i.symbol for i in intervals]


def test_words_that_do_not_fit_the_sound_are_an_error(utterances):
    with pytest.raises(InputError, match="found no way to say 'place blue"):
        aligner.align_words(utterances[0][0][:8000], SENTENCES[0].split() * 2)
