"""hibari's natural voice, and speakers derived from it.

hibari (https://pypi.org/project/hibari-tts, Apache-2.0) is one network and a synthesis. Between
them lie, every 12.5 ms, pitch and spectra:

    S = exp(lh) e^{i pi tanh(theta)} STFT(pulses(f0)) + exp(ln) noise + exp(lr) e^{i phi}

Another speaker has another pitch and melody, other resonances, another breath, and another vocal
tract: its wave is played faster or slower, which moves pitch and formants together, after the
network was asked to speak slower or faster. The network learned the harmonics' envelope (lh,
theta) where its own voice has harmonics; for another pitch it is smoothed over frequency.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hibari import dsp
from hibari import voices as hibari_models
from scipy import ndimage, signal

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.corpus import face, misaki, onnx_outputs
from vssflow_jax.corpus.voices import Utterance, Voice, trim_silence

BINS = dsp.N_FFT // 2 + 1
BIN_HERTZ = dsp.SR / dsp.N_FFT
FRAMES_OUTPUT = "/Clip_output_0"  # frames of each token; a value inside the graph
FRAME_SECONDS = 2 * dsp.HOP / dsp.SR  # of those
VOICED = 60.0  # Hz; lower values of f0 mean that there is no voice
LOWEST = 45.0  # Hz, of a derived speaker's melody
OWN_PITCH = 205.0  # Hz, median of hibari's voice
SMOOTHING = 3.0  # bins, standard deviation
FORMANT_KNEE, FORMANT_END = 1500.0, 5000.0  # Hz

NATURAL = "heart"
NATURAL_SHARE = 16  # about one clip in nine
NUM_DERIVED = 144
HELD_OUT_EVERY = 6  # speakers: 24 of 144 are held out
SEED = 2024
PITCHES = (80.0, 260.0)  # Hz
GOLDEN = (5**0.5 - 1) / 2
TRACTS = (0.78, 1.18)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timbre:
    """What makes a speaker differ from hibari's own.

    Attributes:
      pitch: median, Hz.
      tract: how many times shorter the vocal tract is.
      melody: factor of the pitch's distance from its median, in octaves.
      tilt: dB an octave, around 1 kHz.
      resonances: dB of cosines over the mel scale, with 1, 2, .. half periods.
      formant: share by which formants below 1.5 kHz lie higher.
      breath: dB by which the noise of voiced sounds is louder.
      tempo: how much faster it speaks.
    """

    pitch: float
    tract: float
    melody: float
    tilt: float
    resonances: tuple[float, ...]
    formant: float
    breath: float
    tempo: float


def draw_timbre(position: float, rng: np.random.Generator) -> Timbre:
    """A random speaker; `position` in [0, 1) goes from low to high voices."""
    low, high = PITCHES
    tract = 0.8 + 0.34 * position + 0.055 * rng.standard_normal()
    return Timbre(
        pitch=low * (high / low) ** position,
        tract=round(float(np.clip(tract, *TRACTS)), 2),
        melody=rng.uniform(0.6, 1.2),
        tilt=rng.uniform(-2.5, 2.5),
        resonances=tuple(3.8 * rng.standard_normal() / np.sqrt(k) for k in range(1, 7)),
        formant=rng.uniform(-0.09, 0.09),
        breath=rng.uniform(-2.0, 4.0),
        tempo=rng.uniform(0.9, 1.12),
    )


def _derive_voice(number: int) -> Voice:
    rng = np.random.default_rng((SEED, number))
    timbre = draw_timbre(number * GOLDEN % 1, rng)  # evenly spread, however many there are
    return Voice(
        name=f"hibari{number:03d}",
        look=face.draw_look(timbre.pitch < 150, rng),
        settings=timbre,
        held_out=number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
    )


def list_voices(derived: int = NUM_DERIVED) -> tuple[Voice, ...]:
    """hibari's own voice, then as many derived from it, the same ones whatever their number."""
    look = face.Look(skin=face.FAIR, hair=face.AUBURN, shirt=(60, 110, 170), style="long")
    own = Voice(name=NATURAL, look=look, settings=None, share=NATURAL_SHARE)
    return (own, *map(_derive_voice, range(derived)))


# ---- synthesis ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spectra:
    """What the network gives: float32 [BINS, F], f0 [F] in Hz; frames of the tokens."""

    lh: np.ndarray
    theta: np.ndarray
    ln: np.ndarray
    lr: np.ndarray
    phi: np.ndarray
    f0: np.ndarray
    frames: np.ndarray

    def synthesize(self, rng: np.random.Generator) -> np.ndarray:
        """The wave at 24 kHz: float32 [300 F]."""
        spectra = (self.lh, self.theta, self.ln, self.lr, self.phi)
        return dsp.synth(*spectra, self.f0, rng)


@functools.cache
def _load_network():
    """A session on hibari's network that gives the tokens' frames too."""
    model = pathlib.Path(hibari_models.voice_path(NATURAL)).read_bytes()
    return onnx_outputs.load_session(model, FRAMES_OUTPUT)


def predict_spectra(string: str, speed: float) -> Spectra:
    """The spectra of a phoneme string, spoken `speed` times as fast as usual."""
    inputs = {
        "ids": misaki.encode_tokens(string)[None],
        "speed": np.asarray([speed], np.float32),
    }
    *spectra, frames = _load_network().run(None, inputs)
    return Spectra(
        **dict(zip(("lh", "theta", "ln", "lr", "phi", "f0"), (s[0] for s in spectra), strict=True)),
        frames=frames.ravel(),
    )


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log(1 + hertz / 700)


def _shape_gain(timbre: Timbre) -> np.ndarray:
    """Tilt and resonances as natural logarithms of amplitude: float32 [BINS]."""
    hertz = np.arange(BINS) * BIN_HERTZ
    place = _mel(hertz) / _mel(hertz[-1])
    decibels = timbre.tilt * np.log2(np.maximum(hertz, 300) / 1000)
    for k, level in enumerate(timbre.resonances, 1):
        decibels = decibels + level * np.cos(np.pi * k * place)
    return (decibels * np.log(10) / 20).astype(np.float32)


def _warp_bins(timbre: Timbre) -> np.ndarray:
    """Bin of the network's spectrum for each bin of the speaker's: float [BINS]."""
    hertz = np.arange(BINS) * BIN_HERTZ
    knee = FORMANT_KNEE / (1 + timbre.formant)
    source = np.interp(
        hertz, (0, FORMANT_KNEE, FORMANT_END, hertz[-1]), (0, knee, FORMANT_END, hertz[-1])
    )
    return source / BIN_HERTZ


def derive_speaker(spectra: Spectra, timbre: Timbre) -> Spectra:
    """The spectra of another speaker, before its wave is played `timbre.tract` times faster."""
    voiced = spectra.f0 > VOICED
    own_phase = np.pi * np.tanh(spectra.theta)
    lh = np.where(voiced, _smooth(spectra.lh), spectra.lh)
    smoothed = np.arctan2(_smooth(np.sin(own_phase)), _smooth(np.cos(own_phase)))
    phase = np.where(voiced, smoothed, own_phase)
    places = _warp_bins(timbre)
    below, near = np.minimum(places.astype(int), BINS - 2), np.round(places).astype(int)
    share, gain = (places - below)[:, None].astype(np.float32), _shape_gain(timbre)[:, None]

    def warp(rows: np.ndarray) -> np.ndarray:
        return rows[below] * (1 - share) + rows[below + 1] * share + gain

    breath = np.where(voiced, timbre.breath * np.log(10) / 20, 0).astype(np.float32)
    octaves = np.log2(np.maximum(spectra.f0, VOICED) / OWN_PITCH) * timbre.melody
    pitch = np.maximum(timbre.pitch / timbre.tract * 2**octaves, LOWEST)
    return Spectra(
        lh=warp(lh),
        theta=np.arctanh(np.clip(phase[near] / np.pi, -0.9999, 0.9999)).astype(np.float32),
        ln=warp(spectra.ln),
        lr=warp(spectra.lr) + breath,
        phi=spectra.phi[near],
        f0=np.where(voiced, pitch, 0).astype(np.float32),
        frames=spectra.frames,
    )


def _smooth(rows: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter1d(rows, SMOOTHING, axis=0)


class HibariVoices:
    """The voice set `hibari`, or `hibari:COUNT` with the first COUNT derived speakers.

    Raises:
      InputError: a count that is none.
    """

    def __init__(self, count: int | None = None):
        count = NUM_DERIVED if count is None else count
        if not 0 <= count <= NUM_DERIVED:
            raise InputError(f"--voices=hibari:{count}: expected 0 to {NUM_DERIVED} speakers")
        self.voices = list_voices(count)

    def speak(
        self, voice: Voice, words: Sequence[str], tempo: float = 1.0, seed: int = 0
    ) -> Utterance:
        """See `voices.VoiceSet`."""
        timbre: Timbre | None = voice.settings
        tract, usual = (timbre.tract, timbre.tempo) if timbre else (1.0, 1.0)
        strings = misaki.phonemize(words)
        spectra = predict_spectra(misaki.join_words(strings), tempo * usual / tract)
        if timbre:
            spectra = derive_speaker(spectra, timbre)
        wave = spectra.synthesize(np.random.default_rng(seed))
        step = Fraction(SAMPLE_RATE / (dsp.SR * tract)).limit_denominator(300)
        wave = signal.resample_poly(wave, step.numerator, step.denominator)
        sounds = misaki.place_sounds(strings, words, spectra.frames, FRAME_SECONDS / tract)
        return trim_silence(wave, sounds)
