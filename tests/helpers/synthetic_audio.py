"""Speech, struck things and sweeps, made from seeds."""

import numpy as np

from vssflow_jax.corpus import sounds, voices
from vssflow_jax.text import normalize

RATE = 16_000
SENTENCE = "set blue at g nine now"
ESPEAK = voices.load_voices("espeak")
NAMES = tuple(voice.name for voice in ESPEAK.voices)


def say(text=SENTENCE, name="ada"):
    """An utterance of one of eSpeak's voices."""
    return ESPEAK.speak(voices.find_voice(ESPEAK, name), normalize.words(text))


def spoken(text=SENTENCE, name="ada", seconds=4.0):
    wave = say(text, name).wave
    out = sounds.synthesize_room(round(seconds * RATE), np.random.default_rng(0)).astype(np.float32)
    out[4000 : 4000 + len(wave)] += 0.5 * wave
    return out


def reference_voice(name="ada", text=SENTENCE):
    """A voice alone, with half a second of digital silence at both ends."""
    wave = say(text, name).wave
    return np.pad(0.5 * wave, (RATE // 2, RATE // 2)).astype(np.float32)


def struck(name, onsets, seed=0, seconds=3.0):
    rng = np.random.default_rng(seed)
    wave = sounds.synthesize_contacts(
        name, onsets, np.full(len(onsets), 0.6), 1.0, round(seconds * RATE), rng
    )
    return (wave + sounds.synthesize_room(len(wave), rng)).astype(np.float32)


def times(seed, seconds=3.0):
    return np.cumsum(np.random.default_rng(seed).uniform(0.25, 0.6, 4)).tolist()


def chirps(count=4, samples=32_000, seed=0):
    """Sweeps of a few harmonics with pauses: sound that a spectrogram can hold."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    waves = []
    for _ in range(count):
        start, end = rng.uniform(100, 600, 2)
        phase = 2 * np.pi * np.cumsum(np.linspace(start, end, samples)) / 16_000
        tone = sum(np.sin(k * phase) / k for k in range(1, 8))
        waves.append(0.2 * tone * (np.sin(2 * np.pi * 1.5 * time) > -0.3))
    noise = rng.normal(0, 1e-3, (count, samples))
    return (np.stack(waves) + noise).astype(np.float32)
