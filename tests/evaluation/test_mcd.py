"""Mel-cepstral distortion: identity, a shifted and a slower copy, numbers made by hand."""

import numpy as np
import pytest

from vssflow_jax.evaluation.metrics import mcd


def mel(frames=60, seed=0):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(0, 0.3, (frames, 1)), 0)
    return smooth + np.cumsum(rng.normal(0, 0.3, (frames, 64)), 1)


def test_a_clip_is_not_distorted_against_itself_whatever_its_level():
    assert mcd.of_mels(mel(), mel()) == 0
    assert mcd.of_mels(mel(), mel() + 1.5) == pytest.approx(0, abs=1e-9)


def test_a_later_and_a_slower_copy_are_forgiven():
    still = np.repeat(mel(1, seed=9), 20, 0)
    early, late = np.concatenate([mel(), still]), np.concatenate([still[:1], mel(), still])
    unwarped = np.abs(mcd.cepstra(early) - mcd.cepstra(late)[: len(early)]).mean()
    assert unwarped > 0.01
    assert mcd.of_mels(mel(), np.repeat(mel(), 2, 0)) == 0
    assert mcd.of_mels(early, late) < 0.2


def test_a_known_difference_of_one_coefficient():
    """A cosine of height a over the bands is c_3 = a: 10 sqrt(2) / ln 10 decibels times a."""
    flat = np.zeros((30, 64))
    ripple = 0.2 * np.cos(np.pi * 3 * (np.arange(64) + 0.5) / 64)
    assert mcd.cepstra(flat + ripple)[0] == pytest.approx(0.2 * np.eye(13)[2], abs=1e-12)
    expected = 10 * np.sqrt(2) / np.log(10) * 0.2
    assert mcd.of_mels(flat, flat + ripple) == pytest.approx(expected)


def warped(a, b):
    """Least mean distance along a warping path, searched as a textbook does it."""
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    best = {(-1, -1): (0.0, 0)}
    for i in range(len(a)):
        for j in range(len(b)):
            before = [best[p] for p in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if p in best]
            total, steps = min(before)
            best[i, j] = (total + distance[i, j], steps + 1)
    total, steps = best[len(a) - 1, len(b) - 1]
    return total / steps


def test_the_path_is_the_best_one():
    a, b = mel(25, 1), mel(31, 2)
    by_hand = mcd.DECIBELS * warped(mcd.cepstra(a), mcd.cepstra(b))
    assert mcd.of_mels(a, b) == pytest.approx(by_hand, rel=1e-9)


def test_the_spoken_part_and_too_little_of_it():
    assert len(mcd.cut(mel(), (0.1, 0.3))) == 20
    assert len(mcd.cut(mel(), None)) == 60
    assert mcd.of_mels(mel()[:1], mel()) is None


def test_a_wave_is_like_itself_and_less_like_noise():
    time = np.arange(16_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert mcd.distortion(tone, 0.5 * tone) < 0.5
    assert mcd.distortion(tone, noise) > 5
