"""Files of an output."""

import numpy as np
import pytest
from helpers import odd_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.output import Output


def test_a_wave_that_is_not_finite_is_not_saved(tmp_path):
    wave = np.full(10, np.nan, np.float32)
    with pytest.raises(InputError, match="not finite"):
        Output(wave, 16_000, {}).save(tmp_path / "out.wav")
    assert not list(tmp_path.iterdir())


def test_what_had_to_change_is_a_warning(tmp_path):
    source = odd_media.write_media(tmp_path / "in.gif", codec="gif", pixels="rgb8")
    output = Output(np.zeros(48_000, np.float32), 16_000, {"warnings": ["one"]}, video=source)
    for _ in range(2):
        output.save(tmp_path / "out.mp4")
    assert output.report["warnings"][0] == "one" and len(output.report["warnings"]) == 3
    assert "encoded again as H.264" in output.report["warnings"][1]
    assert "the last picture is held" in output.report["warnings"][2]


def test_a_video_name_needs_a_video(tmp_path):
    with pytest.raises(InputError, match=r"expected a \.wav name"):
        Output(np.zeros(10, np.float32), 16_000, {}).save(tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_a_stereo_wave_is_saved_with_its_stems(tmp_path):
    source = odd_media.write_media(tmp_path / "in.mp4", pictures=25)
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 2)).astype(np.float32)
    output = Output(wave, 48_000, {}, video=source, stems={"speech": wave, "sound": 0 * wave})
    output.save(tmp_path / "out.mp4")
    for name in ("out.mp4", "out.wav", "out.speech.wav", "out.sound.wav"):
        header = media.read_header(tmp_path / name)
        assert header.sample_rate == 48_000
        assert media.read_audio(tmp_path / name, 48_000, channels=2).shape == (48_000, 2)
    back = media.read_audio(tmp_path / "out.wav", 48_000, channels=2)
    np.testing.assert_allclose(back, wave, atol=1e-4)
