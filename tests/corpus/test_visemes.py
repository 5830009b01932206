"""Mouth shapes."""

import numpy as np

from vssflow_jax.corpus import visemes
from vssflow_jax.text import phonemes


def test_lips_close_for_m_and_open_for_aa():
    said = [(0.0, 0.3, "AA1"), (0.3, 0.42, "M"), (0.42, 0.8, "UW1")]
    path = visemes.trace_mouth(said, 25, 25.0)
    opened, wide = path[:, 0], path[:, 1]
    assert opened[4] > 0.9 and opened[8] < 0.1
    assert wide[14] < -0.8
    assert np.abs(path[-1]).max() < 1e-6


def test_every_phoneme_has_a_mouth():
    for symbol in phonemes.SYMBOLS:
        if symbol not in ("sil", "<blank>"):
            assert symbol.rstrip("012") in visemes.SHAPES
