"""Predictors of mean opinion scores by name, with a stand-in for DNSMOS."""

import sys

import numpy as np
import pytest
from helpers import stand_ins
from helpers.synthetic_audio import say

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics import mos

LOUD = np.full(16_000, 0.1, np.float32)


def test_predictors_are_loaded_by_name(monkeypatch):
    assert mos.load("") == []
    assert mos.predict_scores([], LOUD) == {}
    with pytest.raises(InputError, match="--mos: found 'mos'"):
        mos.load("mos")
    monkeypatch.setitem(sys.modules, "speechmos.dnsmos", None)
    with pytest.raises(InputError, match="pip install speechmos"):
        mos.load("dnsmos")
    stand_ins.install(
        monkeypatch,
        "speechmos.dnsmos",
        run=lambda wave, rate: {"ovrl_mos": wave.max() + 3, "rate": rate},
    )
    (predictor,) = mos.load("dnsmos")
    assert predictor.package == "speechmos 1.0"
    assert mos.predict_scores([predictor], LOUD) == {"dnsmos": pytest.approx(3.1)}
    assert mos.predict_scores([predictor], LOUD[:0]) == {}


def test_dnsmos_prefers_speech_to_noise():
    pytest.importorskip("speechmos.dnsmos")
    voice = np.tile(0.5 * say().wave, 5)
    clean = voice[: 10 * 16_000].astype(np.float32)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, len(clean)).astype(np.float32)
    (predictor,) = mos.load("dnsmos")
    assert predictor.predict(clean) > predictor.predict(noisy) + 0.5
