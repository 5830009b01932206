"""Classifiers of sound classes and voices on new clips."""

import numpy as np
from helpers.synthetic_audio import NAMES, SENTENCE, spoken, struck, times

from vssflow_jax.corpus import sounds
from vssflow_jax.evaluation.metrics import common, sound, speaker
from vssflow_jax.evaluation.metrics.reference_models import fit_classifier

SENTENCES = ("place white with k zero again", "lay green in r two soon", "bin red by x six please")


def test_sound_classes_of_new_clips_are_recognized():
    kinds = tuple(sounds.MATERIALS)
    labels, count = list(kinds) * 8, 6 * len(kinds)
    waves = [struck(kind, times(k // len(kinds)), k // len(kinds)) for k, kind in enumerate(labels)]
    features = [sound.class_features(mel) for mel in common.log_mels(waves)]
    model = fit_classifier(features[:count], labels[:count])
    assert np.mean(model.predict(features[count:]) == np.array(labels[count:])) >= 0.9


def test_speakers_of_new_sentences_are_recognized():
    names = list(NAMES[:4])
    labels = names * 4
    waves = [spoken(text, name) for text in (*SENTENCES, SENTENCE) for name in names]
    features = [speaker.voice_features(mel) for mel in common.log_mels(waves)]
    model = fit_classifier(features[:12], labels[:12])
    assert np.mean(model.predict(features[12:]) == np.array(labels[12:])) >= 0.75


def test_a_classifier_needs_classes_and_examples():
    assert fit_classifier([np.zeros(3)] * 4, ["one"] * 4) is None
    assert fit_classifier([np.zeros(3), np.ones(3)], ["one", "two"]) is None
    assert fit_classifier([], []) is None
    features = np.random.default_rng(0).normal(size=(7, 3))
    model = fit_classifier(features, ["one", "two", "one", "three", "two", "two", "four"])
    assert list(model.classes_) == ["one", "two"]  # a class of one example has no spread
