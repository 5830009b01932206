"""eSpeak NG's shared library: speech with phoneme times, and pronunciations of any word.

The library and its data come from the `espeakng-loader` wheel, so no system package is needed.
eSpeak keeps global state (the phase of its pitch flutter, among others) that no call resets, so
the same sentence would sound a little different each time. `speak` therefore unloads and loads
the library first, about a millisecond, and seeds its noise (the breath of some voices), so that
its result depends on its arguments alone. One user a process: the library is not thread safe.
"""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22_050  # samples a second, fixed by eSpeak's data
DEFAULT_VOICE = "en-us"

_RETRIEVAL, _PHONEME_EVENTS, _DONT_EXIT = 1, 0x0001, 0x8000  # speak_lib.h
_UTF8, _PHONEMES_IN_BRACKETS, _BY_CHARACTER = 1, 0x0100, 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
_GAP_UNIT = 0.010  # seconds of one unit of eSpeak's word gap

# eSpeak's phoneme mnemonics (docs/phonemes.md of eSpeak NG), every English accent, in ARPAbet;
# vowels get their stress digit later.
_CONSONANTS = {
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "g": "G", "f": "F", "v": "V", "T": "TH",
    "D": "DH", "s": "S", "z": "Z", "S": "SH", "Z": "ZH", "h": "HH", "m": "M", "n": "N", "N": "NG",
    "l": "L", "r": "R", "j": "Y", "w": "W", "tS": "CH", "dZ": "JH", "?": "T", "x": "K", "C": "K",
    "R": "R", "Q": "G", "W": "W", "H": "HH", "c": "K", "B": "V",
}  # fmt: skip
_VOWELS = {
    "@": "AH", "3": "ER", "3:": "ER", "a": "AE", "aa": "AE", "a@": "AA", "A": "AA", "A:": "AA",
    "A@": "AA R", "E": "EH", "e": "EH", "e@": "EH R", "e:": "EY", "eI": "EY", "I": "IH",
    "i": "IY", "i:": "IY", "i@": "IH R", "0": "AA", "O": "AO", "O:": "AO", "O@": "AO R",
    "o": "OW", "o:": "OW", "o@": "AO R", "oU": "OW", "V": "AH", "u": "UW", "u:": "UW", "U": "UH",
    "U@": "UH R", "aI": "AY", "aI@": "AY ER", "aI3": "AY ER", "aU": "AW", "aU@": "AW ER",
    "OI": "OY", "@L": "AH L", "IR": "ER", "VR": "ER", "i@3": "IH R", "y": "UW", "Y": "ER",
    "W": "ER",
}  # fmt: skip
_SYLLABIC = {"n-": "AH N", "m-": "AH M", "N-": "AH NG", "l-": "AH L", "r-": "ER"}
_STRESS = {"'": "1", ",": "2"}
_LONGEST = max(map(len, {**_CONSONANTS, **_VOWELS, **_SYLLABIC}))


class Phone(NamedTuple):
    """One sound: start and end in seconds, eSpeak's mnemonic, index of its word."""

    start: float
    end: float
    mnemonic: str
    word: int


class Speech(NamedTuple):
    """wave: float32 [samples] in [-1, 1] at 22,050 Hz; phones: in order of time, without pauses."""

    wave: np.ndarray
    phones: list[Phone]


class _Id(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def _load_library() -> ctypes.CDLL:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_RETRIEVAL, 0, data, _PHONEME_EVENTS | _DONT_EXIT)
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"eSpeak NG: {data.decode()} gave rate {rate}, not {SAMPLE_RATE}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # otherwise it is the time of day
    return library


class _Engine:
    """The process's one copy of the library."""

    def __init__(self):
        self.library = _load_library()

    def reload(self) -> ctypes.CDLL:
        """The library in the state of a fresh process."""
        self.library.espeak_Terminate()
        _ctypes.dlclose(self.library._handle)
        self.library = _load_library()
        return self.library

    def set_voice(self, voice: str) -> None:
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}")


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def speak(
    words: Sequence[str],
    voice: str = DEFAULT_VOICE,
    rate: int = 170,
    pitch: int = 50,
    pitch_range: int = 50,
    word_gap: float = 0.0,
) -> Speech:
    """Speaks `words` as one sentence.

    Args:
      words: spellings; one may be eSpeak mnemonics in double square brackets, as `[['eI]]`.
      voice: eSpeak's name, with `+variant` if wanted.
      rate: words a minute. pitch, pitch_range: 0 to 100, 50 is the voice's own.
      word_gap: extra pause between words, seconds.

    Raises:
      ValueError: a voice that eSpeak NG does not have.
    """
    engine = _engine()
    library = engine.reload()
    engine.set_voice(voice)
    gap = round(word_gap / _GAP_UNIT)
    for parameter, value in (
        (_RATE, rate),
        (_PITCH, pitch),
        (_RANGE, pitch_range),
        (_WORD_GAP, gap),
    ):
        library.espeak_SetParameter(parameter, value, 0)
    pieces: list[np.ndarray] = []
    events: list[tuple[int, int, int, str]] = []

    def receive(samples, count, event):
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while event[index].kind != _END_OF_LIST:
            e = event[index]
            name = e.id.string.decode("ascii", "replace") if e.kind == _PHONEME else ""
            events.append((e.kind, e.position, e.sample, name))
            index += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    text = " ".join(words).encode()
    flags = _UTF8 | _PHONEMES_IN_BRACKETS
    library.espeak_Synth(text, len(text) + 1, 0, _BY_CHARACTER, 0, flags, None, None)
    library.espeak_Synchronize()
    wave = np.concatenate(pieces).astype(np.float32) / 32768 if pieces else np.zeros(0, np.float32)
    return Speech(wave, _collect_phones(events, words, len(wave)))


def _collect_phones(events, words: Sequence[str], samples: int) -> list[Phone]:
    """Phoneme events with ends and word indices; without pauses (their mnemonics start with _)."""
    starts = np.cumsum([0] + [len(word) + 1 for word in words[:-1]])
    word, marks = 0, []
    for kind, position, sample, name in events:
        if kind == _WORD:
            word = int(np.searchsorted(starts, position - 1, side="right")) - 1
        elif kind == _PHONEME:
            marks.append((sample / SAMPLE_RATE, name, word))
    ends = [start for start, _, _ in marks[1:]] + [samples / SAMPLE_RATE]
    return [
        Phone(start, end, name, word)
        for (start, name, word), end in zip(marks, ends, strict=True)
        if name and not name.startswith("_") and end > start
    ]


def to_arpabet(mnemonic: str) -> tuple[str, ...]:
    """ARPAbet symbols of one eSpeak mnemonic with its stress mark; empty for pauses and marks.

    Mnemonics of single accents are spelled as a known one with digits or signs behind it
    (`aI2`, `t#`), so the longest known beginning counts.
    """
    stress = _STRESS.get(mnemonic[:1], "0")
    bare = mnemonic.lstrip("',%=_|")
    for length in range(min(len(bare), _LONGEST), 0, -1):
        head = bare[:length]
        if head in _VOWELS:
            first, *rest = _VOWELS[head].split()
            # A second vowel in one mnemonic ("aI3" in "fire") is never the stressed one.
            return (first + stress, *(s + "0" if s == "ER" else s for s in rest))
        if head in _SYLLABIC:
            first, *rest = _SYLLABIC[head].split()
            return (first + "0", *rest)
        if head in _CONSONANTS:
            return (_CONSONANTS[head],)
    return ()


@functools.lru_cache(maxsize=4096)
def pronounce(word: str) -> tuple[str, ...]:
    """ARPAbet with stress of any English word, by eSpeak's letter-to-sound rules (American).

    Empty if eSpeak has nothing to say. Example: pronounce("vssflow") ends in F, L, OW1.
    """
    engine = _engine()
    engine.set_voice(DEFAULT_VOICE)
    text = ctypes.c_char_p(word.encode())
    parts = []
    while text.value:  # each call takes one clause and moves the pointer on
        clause = engine.library.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, ord("_") << 8)
        parts += re.split(r"[_\s]+", (clause or b"").decode("ascii", "replace"))
    return tuple(symbol for part in parts for symbol in to_arpabet(part))
