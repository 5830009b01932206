"""Sounds of the event classes: modal synthesis and filtered noise.

A struck object is a sum of decaying sinusoids, its modes (the frequency ratios of bars, shells and
membranes are those of Fletcher and Rossing, The Physics of Musical Instruments), behind a short
noise burst, the contact. Samples start exactly at the time of contact: the nearest sample.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import signal

from vssflow_jax.conditions import SAMPLE_RATE

ROOM_NOISE = 7e-4  # standard deviation of the noise of the room, -63 dB of full scale
ATTACK = 0.0015  # seconds from nothing to full


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """How a struck object rings.

    Attributes:
      pitch: lowest mode in Hz of an object of size 1; it goes with 1 / size.
      ratios, levels: the modes' frequencies over the lowest, and their amplitudes.
      decay: seconds in which the lowest mode falls to 1/e; higher modes fall faster.
      click: amplitude of the contact's noise; click_decay in seconds; click_band in Hz.
      glide: share by which the pitch starts higher (below 0: lower) and glide_time, seconds.
    """

    pitch: float
    ratios: tuple[float, ...]
    levels: tuple[float, ...]
    decay: float
    click: float
    click_decay: float
    click_band: tuple[float, float]
    glide: float = 0.0
    glide_time: float = 0.03


MATERIALS = {
    "wood": Material(
        pitch=330, ratios=(1, 2.57, 4.8), levels=(1, 0.6, 0.3), decay=0.03,
        click=0.9, click_decay=0.006, click_band=(500, 3000)),
    "metal": Material(
        pitch=900, ratios=(1, 2.756, 5.404), levels=(1, 0.9, 0.6), decay=0.16,
        click=0.3, click_decay=0.004, click_band=(2500, 7500)),
    "glass": Material(
        pitch=2600, ratios=(1, 1.62, 2.32), levels=(1, 0.5, 0.5), decay=0.07,
        click=0.4, click_decay=0.003, click_band=(4000, 7800)),
    "drum": Material(
        pitch=95, ratios=(1, 1.59, 2.14, 2.65), levels=(1, 0.5, 0.35, 0.2), decay=0.11,
        click=0.5, click_decay=0.02, click_band=(100, 1200), glide=0.5),
    "bell": Material(
        pitch=520, ratios=(1, 1.2, 2.0, 3.0, 4.2), levels=(0.8, 0.6, 1, 0.6, 0.3), decay=0.33,
        click=0.25, click_decay=0.003, click_band=(2000, 6000)),
    "drop": Material(
        pitch=1250, ratios=(1,), levels=(1,), decay=0.045,
        click=0.12, click_decay=0.004, click_band=(3000, 7800), glide=-0.6, glide_time=0.04),
    "wheel": Material(
        pitch=4200, ratios=(1, 1.4), levels=(0.5, 0.3), decay=0.006,
        click=1.3, click_decay=0.005, click_band=(2500, 7800)),
}  # fmt: skip
RAIN = "rain"
CLASSES = (*MATERIALS, RAIN)


def synthesize_strike(material: Material, size: float, rng: np.random.Generator) -> np.ndarray:
    """One contact, peak 1: float64 [samples], silent at its end (-50 dB)."""
    count = int(SAMPLE_RATE * max(5.8 * material.decay, 0.12))
    t = np.arange(count) / SAMPLE_RATE
    pitch = material.pitch / size
    gone = material.glide_time * -np.expm1(-t / material.glide_time)  # integral of the glide
    cycles = pitch * (t + material.glide * gone)
    wave = np.zeros(count)
    for ratio, level in zip(material.ratios, material.levels, strict=True):
        if pitch * ratio < 0.48 * SAMPLE_RATE:
            envelope = np.exp(-t / (material.decay / ratio**0.6))
            wave += level * rng.uniform(0.85, 1.15) * envelope * np.sin(2 * np.pi * ratio * cycles)
    wave /= sum(material.levels)
    wave += material.click * _synthesize_click(material, rng, t)
    wave *= np.minimum(t / ATTACK, 1.0)
    return wave / np.abs(wave).max()


def _synthesize_click(material: Material, rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    burst = rng.standard_normal(len(t)) * np.exp(-t / material.click_decay)
    return signal.sosfilt(_design_band(*material.click_band), burst)


def _design_band(low: float, high: float) -> np.ndarray:
    return signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")


def synthesize_contacts(name: str, times, strengths, size: float, samples: int, rng) -> np.ndarray:
    """All contacts of a clip. times in seconds, strengths in (0, 1]: float64 [samples]."""
    wave, hit = np.zeros(samples), synthesize_strike(MATERIALS[name], size, rng)
    for time, strength in zip(times, strengths, strict=True):
        start = round(time * SAMPLE_RATE)
        tail = hit[: samples - start]
        wave[start : start + len(tail)] += strength * tail
    return wave


def synthesize_rain(density: np.ndarray, rate: float, size: float, samples: int, rng) -> np.ndarray:
    """Noise whose loudness follows `density`, values in [0, 1] at `rate` a second."""
    times = np.arange(samples) / SAMPLE_RATE
    level = np.interp(times, np.arange(len(density)) / rate, density)
    hiss = signal.sosfilt(_design_band(1200 / size, 7000), rng.standard_normal(samples))
    return 0.25 * level * hiss / hiss.std()


def synthesize_room(samples: int, rng: np.random.Generator) -> np.ndarray:
    """The faint steady noise under every clip: float64 [samples]."""
    return ROOM_NOISE * rng.standard_normal(samples)
