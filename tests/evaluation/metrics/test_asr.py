"""Speech recognizers by name, with a stand-in for faster-whisper, and with a real model."""

import os
import sys
import types

import numpy as np
import pytest
from helpers import stand_ins

from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import voices
from vssflow_jax.evaluation.metrics import asr, word_errors

LOUD = np.full(16_000, 0.1, np.float32)
FOLDER_VARIABLE = "VSSFLOW_WHISPER"  # a folder with an English Whisper model for CTranslate2


@pytest.fixture
def whisper_package(monkeypatch):
    """Installs a stand-in for faster-whisper 1.0; returns the models that it was asked for."""
    loaded = []

    class WhisperModel:
        def __init__(self, model, **options):
            if "huge" in model:
                raise RuntimeError("no such\nmodel")
            loaded.append(model)

        def transcribe(self, wave, **options):
            parts = (types.SimpleNamespace(text=f" {word}") for word in ("Set blue", "at G 9."))
            return parts, None

    stand_ins.install(monkeypatch, "faster_whisper", WhisperModel=WhisperModel)
    asr.load.cache_clear()
    yield loaded
    asr.load.cache_clear()


def test_pocketsphinx_rejects_texts_outside_the_grammar():
    recognizer = asr.load("pocketsphinx")
    assert recognizer.rejects("set blue at g nine now") is None
    assert "grammar" in recognizer.rejects("hello there")
    assert recognizer.transcribe([np.zeros(16_000, np.float32)]) == [""]


def test_whisper_transcribes_any_text_and_nothing_in_silence(whisper_package):
    recognizer = asr.load("whisper:tiny.en")
    assert (recognizer.name, recognizer.version) == ("whisper:tiny.en", "1.0")
    assert whisper_package == ["tiny.en"]
    assert recognizer.rejects("hello there") is None
    assert "no words" in recognizer.rejects("?!")
    transcripts = recognizer.transcribe([LOUD, 0 * LOUD])
    assert transcripts == ["Set blue at G 9.", ""]
    errors = [word_errors.count_word_errors("set blue at g nine", t).errors for t in transcripts]
    assert errors == [0, 5]


def test_a_folder_is_loaded_where_it_has_every_file(whisper_package, tmp_path):
    for name in asr.WHISPER_FILES:
        with pytest.raises(InputError, match=f"found no {name} in it"):
            asr.load_whisper(str(tmp_path))
        (tmp_path / name).touch()
    assert asr.load(f"whisper:{tmp_path}").name == f"whisper:{tmp_path}"
    assert whisper_package == [str(tmp_path)]


def test_errors_name_the_flag(whisper_package, monkeypatch):
    with pytest.raises(InputError, match="--recognizer: found 'ears'"):
        asr.load("ears")
    with pytest.raises(InputError, match="found no model, expected a folder"):
        asr.load("whisper")
    with pytest.raises(InputError, match="found no model 'huge': no such model"):
        asr.load("whisper:huge")
    with pytest.raises(InputError, match=r"evaluate\.recognizer=whisper:huge"):
        asr.load_whisper("huge", "evaluate.recognizer")
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(InputError, match="pip install faster-whisper"):
        asr.load("whisper:tiny.en")


@pytest.mark.skipif(
    FOLDER_VARIABLE not in os.environ,
    reason=f"{FOLDER_VARIABLE} names no folder with a Whisper model in CTranslate2's format",
)
def test_a_real_model_transcribes_a_natural_voice():
    pytest.importorskip("faster_whisper")
    pytest.importorskip("hibari")
    recognizer = asr.load(f"whisper:{os.environ[FOLDER_VARIABLE]}")
    voice_set = voices.load_voices("hibari")
    numbers = range(len(voices.REFERENCES))
    waves = [voices.record_reference(voice_set, voice_set.voices[0], number) for number in numbers]
    transcripts = recognizer.transcribe([*waves, np.zeros(16_000)])
    counts = [
        word_errors.count_word_errors(text, transcript)
        for text, transcript in zip(voices.REFERENCES, transcripts, strict=False)
    ]
    assert sum(one.errors for one in counts) <= 2
    assert transcripts[-1] == ""
