"""Distances between sets: known values, and values of torch-fidelity."""

import numpy as np
import pytest
from scipy.stats import entropy

from vssflow_jax.evaluation.metrics import distances

# torch-fidelity 0.4.0 and torch 2.13.0 on the arrays of `arrays()`: fid_statistics_to_metric,
# isc_features_to_metric(splits=1), torch.nn.functional.kl_div(reduction="batchmean").
FID, ISC, KL = 36.84421521828361, 2.4505052594071235, 2.2571016976934235


def arrays():
    rng = np.random.default_rng(7)
    reference = rng.normal(0, 1, (200, 16)) @ rng.normal(0, 0.5, (16, 16))
    generated = rng.normal(0.2, 1.1, (150, 16)) @ rng.normal(0, 0.5, (16, 16))
    return reference, generated, rng.normal(0, 2, (150, 10)), rng.normal(0, 2, (150, 10))


def test_distances_equal_torch_fidelity():
    reference, generated, logits, other = arrays()
    assert distances.frechet(reference, generated) == pytest.approx(FID, abs=1e-6)
    assert distances.inception_score(logits) == pytest.approx(ISC, abs=1e-6)
    assert distances.kl(other, logits).mean() == pytest.approx(KL, abs=1e-6)


def test_kl_equals_scipys_entropy():
    *_, p, q = arrays()
    softmax = [np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (p, q)]
    np.testing.assert_allclose(distances.kl(p, q), entropy(*softmax, axis=-1), rtol=1e-9)


def test_frechet_of_equal_and_of_shifted_sets():
    x = arrays()[0]
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-9)
    shift = np.linspace(-1, 1, 16)
    assert distances.frechet(x, x + shift) == pytest.approx(shift @ shift)
    assert distances.frechet(x, 2 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(
        np.trace(np.cov(x, rowvar=False))  # (2 - 1)^2 times the variance
    )


def test_frechet_of_fewer_clips_than_features():
    x = np.random.default_rng(0).normal(size=(5, 16))
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(distances.frechet(x, x[:2]))


def test_frechet_in_a_subspace_equals_frechet_of_its_coordinates():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(12, 5)), rng.normal(0.5, 2, size=(9, 5))
    rotation = np.linalg.qr(rng.normal(size=(300, 5)))[0].T
    expected = distances.frechet(first, second)
    assert distances.frechet(first @ rotation, second @ rotation) == pytest.approx(
        expected, rel=1e-9
    )


def test_inception_score_is_between_one_and_the_number_of_classes():
    assert distances.inception_score(np.ones((8, 4))) == pytest.approx(1)
    assert distances.inception_score(100 * np.eye(4)) == pytest.approx(4)


def test_jackknife_interval_contains_the_score_and_narrows():
    rng = np.random.default_rng(1)
    widths = []
    for count in (20, 320):
        x, y = rng.normal(size=(count, 3)), rng.normal(0.5, 1, size=(count, 3))
        low, high = distances.jackknife(distances.frechet, (x, y))
        assert low <= distances.frechet(x, y) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert distances.jackknife(distances.frechet, (x[:2], y[:2])) is None


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(2).normal(size=50)
    low, high = distances.jackknife(lambda values: float(values.mean()), (x,))
    assert (high - low) / 2 == pytest.approx(distances.Z95 * x.std(ddof=1) / np.sqrt(50))


def test_large_sets_are_left_out_in_groups():
    x, calls = np.random.default_rng(3).normal(size=1000), []

    def mean(values):
        calls.append(len(values))
        return float(values.mean())

    low, high = distances.jackknife(mean, (x,))
    assert len(calls) == distances.GROUPS + 1 and set(calls) == {990, 1000}
    # The standard error of 100 groups is itself known to 7 %.
    assert (high - low) / 2 == pytest.approx(distances.Z95 * x.std() / np.sqrt(1000), rel=0.21)
