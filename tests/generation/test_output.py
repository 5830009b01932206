"""Files of an output."""

import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.output import Output


def test_a_wave_that_is_not_finite_is_not_saved(tmp_path):
    wave = np.full(10, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        Output(wave, 16_000, {}).save(tmp_path / "out.wav")
    assert not list(tmp_path.iterdir())


def test_a_video_name_needs_a_video(tmp_path):
    with pytest.raises(InputError, match=r"expected a \.wav name"):
        Output(np.zeros(10, np.float32), 16_000, {}).save(tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())
