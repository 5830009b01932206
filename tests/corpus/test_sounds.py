"""Sounds of the event classes."""

import numpy as np

from vssflow_jax.corpus import render, scenes, sounds


def centroid(wave: np.ndarray) -> float:
    """Mean frequency of a wave's power, Hz."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float(np.average(np.fft.rfftfreq(len(wave), 1 / 16_000), weights=power))


def test_larger_objects_sound_lower():
    rng = np.random.default_rng(0)
    for material in sounds.MATERIALS.values():
        small, large = (
            centroid(sounds.synthesize_strike(material, size, rng)) for size in scenes.SIZES
        )
        if material.click < 1:  # the wheel's tick is mostly noise
            assert large < small


def test_rain_is_as_loud_and_as_full_as_it_is_dense():
    rng = np.random.default_rng(0)
    scene = scenes.draw_scene(sounds.RAIN, 4.0, render.RATE, rng)
    assert not len(scene.onsets)
    wave = scenes.synthesize_scene(scene, 64_000, render.RATE, rng)
    loud = np.sqrt((wave.reshape(100, -1) ** 2).mean(1))
    assert np.corrcoef(loud, scene.density)[0, 1] > 0.95
