"""Recognisers and opinion predictors by name; packages that are not there are stood in for."""

import importlib.metadata
import sys
import types

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics import asr, mos, speech

LOUD = np.full(16_000, 0.1, np.float32)


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a module with some attributes where a package would be, version 1.0."""

    def put(module, **attributes):
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**attributes))
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
        asr.load.cache_clear()

    yield put
    asr.load.cache_clear()


def test_the_embedded_recogniser_hears_the_grammar_alone():
    listener = asr.load("pocketsphinx")
    assert listener.refuses("set blue at g nine now") is None
    assert "grammar" in listener.refuses("hello there")
    assert listener.recognise([np.zeros(16_000, np.float32)]) == [""]


def test_whisper_hears_any_text_and_nothing_in_silence(stand_in):
    asked = []

    class WhisperModel:
        def __init__(self, model, **options):
            asked.append(model)

        def transcribe(self, wave, **options):
            parts = (types.SimpleNamespace(text=f" {word}") for word in ("Set blue", "at G 9."))
            return parts, None

    stand_in("faster_whisper", WhisperModel=WhisperModel)
    listener = asr.load("faster-whisper:tiny.en")
    assert (listener.name, listener.version, asked) == (
        "faster-whisper:tiny.en",
        "1.0",
        ["tiny.en"],
    )
    assert listener.refuses("hello there") is None
    heard = listener.recognise([LOUD, 0 * LOUD])
    assert heard == ["Set blue at G 9.", ""]
    assert speech.word_errors("set blue at g nine", heard[0]) == (0, 5)
    assert speech.word_errors("set blue at g nine", heard[1]) == (5, 5)


def test_the_other_whisper_package(stand_in):
    def load_model(model, device):
        return types.SimpleNamespace(transcribe=lambda wave, **_: {"text": f" by {model} "})

    stand_in("whisper", load_model=load_model)
    assert asr.load("whisper").recognise([LOUD]) == [f"by {asr.WHISPER}"]


def test_what_cannot_be_had_is_said_with_the_flag(stand_in, monkeypatch):
    with pytest.raises(InputError, match="--recogniser: found 'ears'"):
        asr.load("ears")
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match="pip install faster-whisper"):
        asr.load("faster-whisper")

    def load_model(model, device):
        raise RuntimeError("no such model")

    stand_in("whisper", load_model=load_model)
    with pytest.raises(InputError, match="huge"):
        asr.load("whisper:huge")


def test_opinions_are_asked_for_by_name(stand_in, monkeypatch):
    assert mos.load("") == []
    assert mos.scores([], LOUD) == {}
    with pytest.raises(InputError, match="--opinions: found 'mos'"):
        mos.load("mos")
    monkeypatch.setitem(sys.modules, "speechmos.dnsmos", None)
    with pytest.raises(InputError, match="pip install speechmos"):
        mos.load("dnsmos")
    stand_in("speechmos.dnsmos", run=lambda wave, rate: {"ovrl_mos": wave.max() + 3, "rate": rate})
    (found,) = mos.load("dnsmos")
    assert found.package == "speechmos 1.0"
    assert mos.scores([found], LOUD) == {"dnsmos": pytest.approx(3.1)}
    assert mos.scores([found], LOUD[:0]) == {}


def test_dnsmos_prefers_speech_to_noise():
    pytest.importorskip("speechmos.dnsmos")
    from vssflow_jax.corpus import voices

    words = ["set", "blue", "at", "g", "nine", "now"]
    voice = np.tile(0.5 * voices.speak(voices.BY_NAME["ada"], words, 1.0).wave, 5)
    clean = voice[: 10 * 16_000].astype(np.float32)
    noisy = clean + np.random.default_rng(0).normal(0, 0.1, len(clean)).astype(np.float32)
    (found,) = mos.load("dnsmos")
    assert found.predict(clean) > found.predict(noisy) + 0.5
