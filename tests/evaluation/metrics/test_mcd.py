"""Mel-cepstral distortion: identity, a shifted and a slower copy, values computed by hand."""

import numpy as np
import pytest

from vssflow_jax.evaluation.metrics import mcd


def mel(frames=60, seed=0):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(0, 0.3, (frames, 1)), 0)
    return smooth + np.cumsum(rng.normal(0, 0.3, (frames, 64)), 1)


def test_distortion_of_a_clip_from_itself_is_zero_at_any_level():
    assert mcd.mel_distortion(mel(), mel()) == 0
    assert mcd.mel_distortion(mel(), mel() + 1.5) == pytest.approx(0, abs=1e-9)


def test_warping_compensates_a_shift_and_a_slower_pace():
    silence = np.repeat(mel(1, seed=9), 20, 0)
    early, late = np.concatenate([mel(), silence]), np.concatenate([silence[:1], mel(), silence])
    unwarped = np.abs(mcd.cepstra(early) - mcd.cepstra(late)[: len(early)]).mean()
    assert unwarped > 0.01
    assert mcd.mel_distortion(mel(), np.repeat(mel(), 2, 0)) == 0
    assert mcd.mel_distortion(early, late) < 0.2


def test_a_known_difference_of_one_coefficient():
    """A cosine of height a over the bands is c_3 = a: 10 sqrt(2) / ln 10 decibels times a."""
    flat = np.zeros((30, 64))
    ripple = 0.2 * np.cos(np.pi * 3 * (np.arange(64) + 0.5) / 64)
    assert mcd.cepstra(flat + ripple)[0] == pytest.approx(0.2 * np.eye(13)[2], abs=1e-12)
    expected = 10 * np.sqrt(2) / np.log(10) * 0.2
    assert mcd.mel_distortion(flat, flat + ripple) == pytest.approx(expected)


def warped(a, b):
    """Least mean distance along a warping path, by plain dynamic programming."""
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    best = {(-1, -1): (0.0, 0)}
    for i in range(len(a)):
        for j in range(len(b)):
            before = [best[p] for p in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if p in best]
            total, steps = min(before)
            best[i, j] = (total + distance[i, j], steps + 1)
    total, steps = best[len(a) - 1, len(b) - 1]
    return total / steps


def test_warping_path_has_the_least_mean_distance():
    a, b = mel(25, 1), mel(31, 2)
    expected = mcd.DECIBELS * warped(mcd.cepstra(a), mcd.cepstra(b))
    assert mcd.mel_distortion(a, b) == pytest.approx(expected, rel=1e-9)


def test_spoken_interval_is_cropped_and_one_frame_is_too_few():
    assert len(mcd.crop_mel(mel(), (0.1, 0.3))) == 20
    assert len(mcd.crop_mel(mel(), None)) == 60
    assert mcd.mel_distortion(mel()[:1], mel()) is None


def test_a_wave_is_closer_to_itself_than_to_noise():
    time = np.arange(16_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert mcd.distortion(tone, 0.5 * tone) < 0.5
    assert mcd.distortion(tone, noise) > 5
