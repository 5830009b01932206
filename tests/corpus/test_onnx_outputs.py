"""A value inside a network as its output, without a package that writes ONNX."""

import pytest

from vssflow_jax.corpus import onnx_outputs


def test_long_names_have_lengths_of_two_bytes():
    name = "x" * 300
    appended = onnx_outputs.add_output(b"", name)
    assert appended.endswith(name.encode())
    assert appended[0] == onnx_outputs.MODEL_GRAPH << 3 | 2
    size = (appended[1] & 127) | appended[2] << 7
    assert size == len(appended) - 3


def test_a_value_inside_hibari_s_network_becomes_its_last_output():
    voices = pytest.importorskip("hibari.voices")
    with open(voices.voice_path("heart"), "rb") as file:
        model = file.read()
    from vssflow_jax.corpus.hibari_voices import FRAMES_OUTPUT

    session = onnx_outputs.load_session(model, FRAMES_OUTPUT)
    names = [output.name for output in session.get_outputs()]
    assert names[-1] == FRAMES_OUTPUT and "f0" in names
