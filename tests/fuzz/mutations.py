"""Strategies for damaged files, JSON documents and texts."""

# ruff: noqa: RUF001

import json
import re
import struct

from hypothesis import strategies as st

EXTREMES = (0, 1, -1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
            1 << 40, (1 << 63) - 1, (1 << 64) - 1)  # fmt: skip
MAX_LANDMARKS = 300
_LANDMARK = re.compile(rb"[A-Za-z_]{4}")  # names of boxes, chunks and fields
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**30, -(10**30)]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "../x", "/tmp/x", "\x00", "\ud800", "a" * 5000, "NaN", "é", "1e999"]),
)
JSON_VALUES = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
BRACKETS = (b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"id": ' + b"9" * 5000 + b"}")


@st.composite
def damaged_bytes(draw, data: bytes, others: tuple[bytes, ...] = ()):
    """A file with a few changes, most of them near its start or the name of a part."""
    landmarks = [match.start() for match in _LANDMARK.finditer(data)][:MAX_LANDMARKS]
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        place = draw(_places(len(data), landmarks))
        kind = draw(st.sampled_from(("set", "number", "number", "cut", "repeat", "insert", "zero",
                                     "truncate", "splice")))  # fmt: skip
        size = draw(st.sampled_from((1, 2, 3, 4, 8, 16, 100, 1000)))
        if kind == "set":
            data[place] = draw(st.integers(0, 255))
        elif kind == "number":
            number = draw(st.sampled_from(EXTREMES)) % (1 << 64)
            form = draw(st.sampled_from(("<H", ">H", "<I", ">I", "<Q", ">Q")))
            bits = 8 * struct.calcsize(form)
            data[place : place + bits // 8] = struct.pack(form, number % (1 << bits))
        elif kind == "cut":
            del data[place : place + size]
        elif kind == "repeat":
            data[place:place] = data[place : place + size]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "zero":
            data[place : place + size] = bytes(min(size, len(data) - place))
        elif kind == "truncate":
            del data[place:]
        elif others:
            other = draw(st.sampled_from(others))
            data[place : place + size] = other[place : place + size]
    return bytes(data)


def _places(length: int, landmarks: list[int]):
    places = st.integers(0, length - 1) | st.integers(0, min(length - 1, 256))
    if not landmarks:
        return places
    near = st.tuples(st.sampled_from(landmarks), st.integers(-8, 40))
    return places | near.map(lambda pair: min(max(sum(pair), 0), length - 1))


@st.composite
def damaged_json(draw, data: bytes):
    """A JSON document some of whose values are others or missing; or damaged text."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(data) | st.sampled_from(BRACKETS))
    document = json.loads(data)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(_walk(document))
        if not paths:
            break
        parent, key = draw(st.sampled_from(paths))
        if draw(st.integers(0, 3)) == 0:
            del parent[key]
        else:
            parent[key] = draw(JSON_VALUES)
    return json.dumps(document).encode()


def _walk(document):
    """(parent, key) of every value below a document."""
    items = ()
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))
    for key, value in items:
        yield document, key
        yield from _walk(value)


PIECES = [
    *"0123456789", "007", "1,234,567.89", "1 000 000", "3½", "10²", "1e-5", "9" * 400, ".5", "1/2",
    "24/7", "1/2/2024", "12:30", "25:61", "1:02:03", "5%", "-3", "±5", "10^100", "1990s", "'60s",
    "$", "£3.50/kg", "US$50", "5'11\"", "98.6°F", "−5°C", "30s", "16mm", "60fps", "4K", "1080p",
    "XIV", "VII", "Henry VIII", "Dr.", "St.", "No. 5", "pp. 3–7", "e.g.", "a.m.", "U.S.A.", "A.I.",
    "Ph.D.", "COVID-19", "R2-D2", "H2O", "CO₂", "C#", "C++", "AT&T", "rock'n'roll", "don’t", "’tis",
    "http://example.com/a_b?c=1#x", "me@x.org", "@user", "#ThrowbackThursday", "www.x.de", "::1",
    "🙂", "👨\u200d👩\u200d👧", "🇺🇸", "1️⃣", "♪", "[laughs]", "(sighs)", "*cough*", ":-)", "¹", "†",
    "&amp;", "&lt;", "&#x41;", "&#99999999;", "&nonsense;", "<i>", "</i>", "<script>",
    "<a href='",
    "**bold**", "# ", "- ", "> ", "[x](y)", "`code`", "\u00ad", "\u200b", "\u202e", "\ufeff",
    "\x00", "\ud800", "e\u0301", "ﬁ", "Ａ", "𝐛", "٣", "Привет", "世界", "سلام", "а", "\n", "\r\n",
    "\t", "\x0b", "\u2028", " ", "  ", "...", "—", "–", "/", "\\", "_", "|", "~", "^", "√2",
    "≠", "π", "hello", "the", "a", "A", "I", "read", "pfft", "zzz", "sooooo", "WORLD",
    "x" * 300, "ab" * 100,
]  # fmt: skip
TEXTS = (
    st.text(max_size=60)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    | st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
    | st.tuples(st.sampled_from(PIECES), st.sampled_from([50, 1000])).map(lambda p: p[0] * p[1])
    | st.tuples(st.sampled_from(PIECES), st.text(max_size=10)).map("".join)
)
