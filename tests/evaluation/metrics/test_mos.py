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
    stand_ins.install(
        monkeypatch,
        "speechmos.dnsmos",
        run=lambda wave, rate: {"ovrl_mos": wave.max() + 3, "rate": rate},
    )
    (predictor,) = mos.load("dnsmos")
    assert predictor.package == "speechmos 1.0"
    assert mos.predict_scores([predictor], LOUD) == {"dnsmos": pytest.approx(3.1)}
    assert mos.predict_scores([predictor], LOUD[:0]) == {}


def test_a_predictor_that_is_not_installed_is_left_out_with_a_line(monkeypatch, capsys):
    stand_ins.install(monkeypatch, "speechmos.dnsmos", run=None)
    monkeypatch.setitem(sys.modules, "distillmos", None)
    assert [one.name for one in mos.load("dnsmos,distillmos")] == ["dnsmos"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: --mos=distillmos is left out: ")
    assert "pip install distillmos" in line


def test_a_network_that_does_not_load_is_an_error(monkeypatch):
    def fail():
        raise OSError("no network")

    stand_ins.install(monkeypatch, "speechmos.dnsmos", run=None)
    monkeypatch.setitem(mos.PREDICTORS, "dnsmos", ("speechmos", fail))
    with pytest.raises(InputError, match="--mos=dnsmos: no network"):
        mos.load("dnsmos")


@pytest.mark.parametrize("name", ["dnsmos", "distillmos"])
def test_a_network_prefers_speech_to_noise(name):
    pytest.importorskip({"dnsmos": "speechmos.dnsmos", "distillmos": "distillmos"}[name])
    voice = np.tile(0.5 * say().wave, 5)
    clean = voice[: 10 * 16_000].astype(np.float32)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, len(clean)).astype(np.float32)
    (predictor,) = mos.load(name)
    assert predictor.predict(clean) > predictor.predict(noisy) + 0.5
