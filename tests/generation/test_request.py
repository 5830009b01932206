"""Requests: which fields go together, and their ranges."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.request import Request
from vssflow_jax.text.script import Utterance


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "neither --video nor --text"),
        ({"video": np.zeros(3)}, "--video: found a ndarray, expected the path of a file"),
        ({"text": 5}, "--text: found 5"),
        ({"text": "set blue", "script": [{"text": "bin red"}]}, "--script"),
        ({"text": "set blue", "duration": "3"}, "--duration: found '3', expected seconds"),
        ({"text": "set blue", "duration": True}, "--duration: found True, expected seconds"),
        ({"text": "set blue", "duration": 0.0}, "--duration: found 0 s, expected more"),
        ({"video": "in.mp4", "duration": 0}, "--duration: found 0 s, expected more"),
        (
            {"video": "in.mp4", "duration": 0.01},
            "--duration: found 0.01 s, expected at least 0.04 s",
        ),
        ({"text": "set blue", "duration": 1e9}, "--duration"),
        ({"text": "set blue", "speech_end": float("nan")}, "--speech_end"),
        ({"text": "set blue", "speech_end": 0}, "--speech_end: found 0 s, expected more"),
        ({"text": "set blue", "speech_start": -1.0}, "--speech_start"),
        ({"video": "in.mp4", "speech_start": 1.0}, "without --text"),
        ({"text": "set blue", "task": "song"}, "--task: found 'song'"),
        ({"video": "in.mp4", "task": "speech"}, "--task=speech"),
        ({"text": "set blue", "task": "sound"}, "--task=sound"),
        ({"script": 5}, "--script: found 5, expected a file or utterances"),
        ({"script": "a.srt", "voices": ["a.wav"]}, r"--voice: found \['a.wav'\], expected"),
        ({"script": [5]}, "script, line 1: found 5, expected start, end, text, speaker, name"),
        ({"script": [{"text": "a"}, {"txt": "a"}]}, "script, line 2: found {'txt': 'a'}, expected"),
        ({"script": [{"text": 5}]}, "script, line 1, field text: found 5, expected text"),
        ({"script": [{"text": "a", "start": "0"}]}, "field start: found '0', expected seconds"),
        ({"script": [{"text": "a", "end": float("nan")}]}, "field end: found nan, expected"),
        ({"script": [{"text": "a", "speaker": 5}]}, "--speaker: found a int, expected the path"),
        ({"keep": "a.wav", "redo": 5}, "--redo: found 5, expected spans such as 2.0:3.5,6:7"),
    ],
)
def test_wrong_fields_are_errors(fields, message):
    with pytest.raises(InputError, match=message):
        Request.parse(**fields)


def test_a_text_is_a_script_of_one_line():
    request = Request.parse(text="set blue", speech_start=0, speech_end=2.0, speaker="ada.wav")
    assert request.script == (Utterance(text="set blue", start=0, end=2.0),)
    assert [speaker.name for speaker in request.speakers] == ["ada.wav"]


def test_an_unknown_field_is_a_type_error():
    with pytest.raises(TypeError, match="length"):
        Request.parse(text="set blue", length=3.0)
