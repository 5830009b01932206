"""Speech recognizers by name, with stand-ins for optional packages."""

import sys
import types

import numpy as np
import pytest
from helpers import stand_ins

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics import asr, speech

LOUD = np.full(16_000, 0.1, np.float32)


@pytest.fixture
def stand_in(monkeypatch):
    """Installs a module with some attributes in place of a package of version 1.0."""

    def install(module, **attributes):
        stand_ins.install(monkeypatch, module, **attributes)
        asr.load.cache_clear()

    yield install
    asr.load.cache_clear()


def test_pocketsphinx_rejects_texts_outside_the_grammar():
    recognizer = asr.load("pocketsphinx")
    assert recognizer.rejects("set blue at g nine now") is None
    assert "grammar" in recognizer.rejects("hello there")
    assert recognizer.transcribe([np.zeros(16_000, np.float32)]) == [""]


def test_whisper_transcribes_any_text_and_nothing_in_silence(stand_in):
    loaded = []

    class WhisperModel:
        def __init__(self, model, **options):
            loaded.append(model)

        def transcribe(self, wave, **options):
            parts = (types.SimpleNamespace(text=f" {word}") for word in ("Set blue", "at G 9."))
            return parts, None

    stand_in("faster_whisper", WhisperModel=WhisperModel)
    recognizer = asr.load("faster-whisper:tiny.en")
    assert (recognizer.name, recognizer.version, loaded) == (
        "faster-whisper:tiny.en",
        "1.0",
        ["tiny.en"],
    )
    assert recognizer.rejects("hello there") is None
    transcripts = recognizer.transcribe([LOUD, 0 * LOUD])
    assert transcripts == ["Set blue at G 9.", ""]
    assert speech.word_errors("set blue at g nine", transcripts[0]) == (0, 5)
    assert speech.word_errors("set blue at g nine", transcripts[1]) == (5, 5)


def test_the_package_openai_whisper(stand_in):
    def load_model(model, device):
        return types.SimpleNamespace(transcribe=lambda wave, **_: {"text": f" by {model} "})

    stand_in("whisper", load_model=load_model)
    assert asr.load("whisper").transcribe([LOUD]) == [f"by {asr.WHISPER}"]


def test_errors_name_the_flag(stand_in, monkeypatch):
    with pytest.raises(InputError, match="--recognizer: found 'ears'"):
        asr.load("ears")
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match="pip install faster-whisper"):
        asr.load("faster-whisper")

    def load_model(model, device):
        raise RuntimeError("no such model")

    stand_in("whisper", load_model=load_model)
    with pytest.raises(InputError, match="huge"):
        asr.load("whisper:huge")
