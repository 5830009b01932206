"""Onset matching, onset detection and peak picking on sounds with known onsets."""

import itertools

import numpy as np
import pytest
from helpers.synthetic_audio import spoken, struck, times

from vssflow_jax.evaluation.metrics import common, sound

SENTENCES = ("place white with k zero again", "lay green in r two soon", "bin red by x six please")


@pytest.mark.parametrize(("shift", "score"), [(0.0, 1.0), (0.02, 1.0), (-0.02, 1.0), (0.2, 0.0)])
def test_onset_f1_of_shifted_onsets(shift, score):
    truth = [0.5, 1.0, 1.9, 2.6]
    estimated = [t + shift for t in truth]
    assert sound.onset_f1(truth, estimated) == score
    error = sound.onset_mae_ms(truth, estimated)
    assert error is None if score == 0 else error == pytest.approx(abs(shift) * 1000)


def test_an_onset_is_matched_once():
    assert sound.onset_f1([1.0], [0.99, 1.01]) == pytest.approx(2 / 3)
    assert sound.onset_f1([0.99, 1.01], [1.0]) == pytest.approx(2 / 3)


def test_matching_takes_the_largest_set_of_pairs():
    # 1.00 is nearest to 1.03, but only without that pair can both be matched
    assert len(sound.matched_errors([1.0, 1.06], [0.96, 1.03])) == 2
    assert sound.onset_f1([1.0, 1.06], [0.96, 1.03]) == 1.0


@pytest.mark.parametrize("seed", range(40))
def test_errors_are_those_of_the_best_among_the_largest_matchings(seed):
    rng = np.random.default_rng(seed)
    reference, estimated = (np.sort(rng.uniform(0, 0.4, n)) for n in rng.integers(1, 5, 2))
    shorter, longer = sorted((reference, estimated), key=len)
    matchings = []
    for row in itertools.permutations(longer, len(shorter)):
        errors = [abs(a - b) for a, b in zip(shorter, row, strict=True)]
        pairs = [error for error in errors if error <= sound.TOLERANCE]
        matchings.append((-len(pairs), sum(pairs)))
    count, total = min(matchings)
    errors = sound.matched_errors(reference, estimated)
    assert (len(errors), errors.sum()) == (-count, pytest.approx(total))
    assert sound.onset_f1(reference, estimated) == -2 * count / (len(reference) + len(estimated))


def test_a_distance_of_exactly_the_tolerance_is_a_match():
    assert sound.onset_f1([1.0], [1.05]) == sound.onset_f1([1.05], [1.0]) == 1.0


def test_f1_without_reference_is_none_and_without_estimates_zero():
    assert sound.onset_f1([], [1.0]) is None
    assert sound.onset_f1([1.0], []) == 0.0


def test_the_detector_reports_events_and_not_words():
    kinds = ("wood", "metal", "bell", "drop")
    talk = [0.3 * spoken(text, name, 3.0) for text in SENTENCES for name in ("ada", "ben")]
    waves, truth = [], []
    for seed in range(40):
        event = struck(kinds[seed % 4], times(seed), seed)
        waves.append(event + talk[seed % 6] if seed % 5 else event)
        truth.append(times(seed))
    detector = sound.OnsetDetector.fit(common.log_mels(waves + talk), truth + [[]] * 6)
    other = 0.3 * spoken(seconds=3.0)
    seeds = range(101, 109)
    events = [struck(kinds[seed % 4], times(seed), seed) for seed in seeds]
    alone = [detector(mel) for mel in common.log_mels(events)]
    beside = [detector(mel) for mel in common.log_mels([event + other for event in events])]

    def mean_f1(detections):
        scores = [sound.onset_f1(times(s), d) for s, d in zip(seeds, detections, strict=True)]
        return np.mean(scores)

    assert mean_f1(alone) > 0.95
    assert mean_f1(beside) > 0.6
    assert len(detector(common.log_mels([other])[0])) <= 1


def test_a_detector_needs_onsets_in_its_training_clips():
    assert sound.OnsetDetector.fit(common.log_mels([spoken()]), [[]]) is None
    assert sound.OnsetDetector.fit([], []) is None


def test_peaks_lie_between_frames_and_apart():
    curve = np.zeros(100)
    curve[20:23] = [0.5, 0.9, 0.9]
    curve[60] = 0.3
    (onset,) = sound.pick_peaks(curve, 0.4)
    assert 0.21 <= onset <= 0.23
