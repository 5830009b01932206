"""ONNX networks with one more output: a value inside the graph, by its name.

The output is added to the file's bytes, so no package but onnxruntime is needed: a protobuf
message that is appended to another one of its type is merged into it, repeated fields such as a
graph's outputs being joined (protobuf.dev/programming-guides/encoding, "Last One Wins").
"""

from __future__ import annotations

import onnxruntime

# Numbers of the fields in onnx.proto3.
MODEL_GRAPH, GRAPH_OUTPUT, VALUE_NAME = 7, 12, 1
QUIET = 3  # log level of onnxruntime: errors alone
_LENGTH_DELIMITED = 2


def _encode_field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: its tag, the payload's length as a varint, the payload."""
    length, size = len(payload), bytearray()
    while length >= 128:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | _LENGTH_DELIMITED, *size]) + payload


def add_output(model: bytes, name: str) -> bytes:
    """The model with the value `name` as its last output."""
    value = _encode_field(VALUE_NAME, name.encode())
    return model + _encode_field(MODEL_GRAPH, _encode_field(GRAPH_OUTPUT, value))


def load_session(model: bytes, output: str, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on the processor that gives `output` behind the model's own outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = QUIET
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(add_output(model, output), options, providers=providers)
