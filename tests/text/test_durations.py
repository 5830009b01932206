"""Durations of phonemes: means, contexts, and what replaces a missing mean."""

import pytest

from vssflow_jax.text import phonemes
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import (
    DEFAULT_DURATIONS,
    measure_durations,
    phoneme_duration,
    predict_durations,
    predict_total,
)

DURATIONS = {"S": 0.1, "EH1": 0.2, "AY1": 0.3}
UTTERANCE = [Interval(0.1, 0.25, "S"), Interval(0.25, 0.5, "EH1"), Interval(0.7, 0.9, "T")]


def test_an_unseen_phoneme_lasts_like_the_closest_one():
    assert phoneme_duration("EH2", DURATIONS) == 0.2, "another stress of the same vowel"
    scale = 0.6 / sum(DEFAULT_DURATIONS[name] for name in DURATIONS)
    assert phoneme_duration("T", DURATIONS) == pytest.approx(DEFAULT_DURATIONS["T"] * scale)
    assert DEFAULT_DURATIONS.keys() == set(phonemes.SYMBOLS) - {"sil", "<blank>"}


def test_durations_are_means():
    means = measure_durations([UTTERANCE, [Interval(0, 0.05, "S")]])
    assert means == pytest.approx({"S": 0.1, "EH1": 0.25, "T": 0.2})


def test_frequent_neighbors_have_means_of_their_own():
    """T is long at the end and short before S; means of rare contexts are drawn to that of T."""
    utterance = [Interval(0, 0.1, "T"), Interval(0.1, 0.3, "S"), Interval(0.3, 0.7, "T")]
    means = measure_durations([utterance] * 100 + [[Interval(0, 1.0, "EH1"), *utterance[:1]]])
    assert means["T"] == pytest.approx(0.25, abs=0.01)
    assert means["# T S"] == pytest.approx(0.1, abs=0.01)
    assert predict_durations("TST", means) == pytest.approx([0.1, 0.2, 0.4], abs=0.01)
    assert "EH1 T" not in means
    assert predict_durations(["EH1", "T"], means)[0] == means["EH1"]
    assert predict_total("TST", means) == pytest.approx(0.7, abs=0.02)
    assert phoneme_duration("EH0", means) == means["EH1"], "contexts do not count as phonemes"
    few = measure_durations([utterance] * 3 + [[Interval(0, 0.5, "T")]] * 20)
    assert 0.1 < few["# T S"] < 0.3, "drawn towards the mean of all T"
