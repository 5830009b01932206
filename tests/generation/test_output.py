"""Files of an output."""

import av
import numpy as np
import pytest
from helpers import odd_media

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.output import TIME_FORMATS, Output, list_files
from vssflow_jax.generation.provenance import describe_origin
from vssflow_jax.text.alignment import read_alignment
from vssflow_jax.text.script import Utterance, align_script
from vssflow_jax.text.word_times import time_words


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


@pytest.fixture
def spoken(tmp_path):
    """An output of one second with a video and two words."""
    source = odd_media.write_media(tmp_path / "in.mp4", pictures=25)
    script = [Utterance(text="set blue", start=0.2, end=0.8)]
    lines = time_words(script, align_script(script, 1.0, {}).intervals, {})
    report = {"model": "0123456789abcdef", "seed": 3}
    wave = np.zeros(16_000, np.float32)
    return Output(wave, 16_000, report, source, {"speech": wave}, lines)


def test_files_with_times_and_a_subtitle_track(tmp_path, spoken):
    paths = spoken.save(tmp_path / "out.mp4", TIME_FORMATS)
    assert paths == list_files(tmp_path / "out.mp4", ["speech"], TIME_FORMATS)
    names = {"in.mp4", "out.mp4", "out.wav", "out.speech.wav"}
    names |= {"out.srt", "out.TextGrid", "out.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert read_alignment(tmp_path / "out.TextGrid")[0].start == pytest.approx(0.2)
    assert "00:00:00,200 --> 00:00:00,800\nset blue" in (tmp_path / "out.srt").read_text()
    assert '"word": "blue"' in (tmp_path / "out.json").read_text()
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert len(file.streams.subtitles) == 1


def test_all_sound_files_say_that_they_are_generated(tmp_path, spoken):
    comment = describe_origin(spoken.report)
    for path in spoken.save(tmp_path / "out.mkv"):
        with av.open(str(path)) as file:
            assert {key.lower(): value for key, value in file.metadata.items()}[
                "comment"
            ] == comment
            assert not file.streams.subtitles


def test_an_output_without_speech_has_no_times(tmp_path):
    paths = Output(np.zeros(10, np.float32), 16_000, {}).save(tmp_path / "out.wav", ["srt", "json"])
    assert paths == [tmp_path / "out.wav"] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "times", "message"),
    [
        ("out.mp4", ["sbv"], "--times_out: found 'sbv'"),
        ("out.avi", ["track"], "without subtitle tracks"),
        ("out.wav", ["track"], r"found the suffix '\.wav'"),
    ],
)
def test_formats_of_times_that_are_refused(tmp_path, spoken, name, times, message):
    with pytest.raises(InputError, match=message):
        spoken.save(tmp_path / name, times)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
