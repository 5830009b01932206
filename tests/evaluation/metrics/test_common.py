"""Values with masks, their intervals, and log-mels."""

import numpy as np
import pytest
from helpers.synthetic_audio import spoken, struck, times

from vssflow_jax.evaluation.metrics import common
from vssflow_jax.evaluation.metrics.common import Shares, Values


def test_interval_contains_the_mean_and_shrinks_with_more_examples():
    rng = np.random.default_rng(0)
    few, many = (Values.of(rng.uniform(0, 1, n).tolist()) for n in (20, 2000))
    widths = []
    for values in (few, many):
        low, high = values.interval()
        assert low <= values.mean() <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [Values.of(rng.normal(3, 1, 60).tolist()).interval() for _ in range(200)]
    covered = np.mean([low <= 3 <= high for low, high in intervals])
    assert 0.88 <= covered <= 0.99


def test_masked_examples_do_not_count():
    some = Values.of([1.0, None, 0.0, None])
    assert some.count == 2
    assert some.mean() == 0.5
    assert some.interval() == Values.of([1.0, 0.0]).interval()


def test_interval_of_a_share_has_a_width_where_every_example_is_right():
    right, wrong = Shares.of([1.0] * 128), Shares.of([0.0] * 128 + [None])
    assert right.mean() == 1
    assert right.interval() == pytest.approx((128 / (128 + 1.959964**2), 1))
    assert wrong.interval() == pytest.approx((0, 1 - right.interval()[0]))
    assert Shares.of([None]).interval() is None


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_interval_of_a_share_covers_the_truth_about_as_often_as_it_says(share):
    rng = np.random.default_rng(2)
    hits = rng.random((300, 64)) < share
    intervals = [Shares.of(row.astype(float).tolist()).interval() for row in hits]
    assert np.mean([low <= share <= high for low, high in intervals]) >= 0.92


def test_no_values_have_no_mean_and_no_interval():
    empty = Values.of([None, None])
    assert empty.mean() is None
    assert empty.interval() is None


def test_word_error_rate_weighs_sentences_by_their_words():
    rate = Values.of([1 / 2, 0 / 8], weights=[2, 8])
    assert rate.mean() == pytest.approx(1 / 10)


def test_log_mels_do_not_depend_on_the_batch():
    short, long = spoken()[:20_000], struck("bell", times(0))
    alone, together = common.log_mels([short])[0], common.log_mels([long, short])[1]
    assert alone.shape == (125, 64)
    # near the end the padding differs from the reflected edge of the codec's own analysis
    np.testing.assert_allclose(alone[:120], together[:120], atol=1e-3)
