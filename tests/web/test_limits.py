"""Limits of the page, and errors as it words them."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.web.limits import Limits, format_error


def test_errors_of_the_library_name_fields_and_roles_of_files(tmp_path):
    error = InputError(f"--speech_end: found 2 s\n in {tmp_path}/video.mp4, expected 1 s")
    assert format_error(error, [tmp_path]) == "Speech end: found 2 s in the video, expected 1 s"
    error = InputError(f"--speaker={tmp_path}/voice/2.mp3: audio track 1: found silence")
    assert format_error(error, [tmp_path]) == "Voice 2: audio track 1: found silence"
    error = InputError("text: found 'x', expected y (--text_policy=skip leaves others out)")
    assert format_error(error) == (
        "Text: found 'x', expected y (\"Skip characters that cannot be read\" leaves others out)"
    )
    error = InputError("found 1 track, expected number 2 among them (--audio_track)")
    assert format_error(error) == "Found 1 track, expected number 2 among them (audio track)"


@pytest.mark.parametrize("name", ["megabytes", "seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_limits_are_finite(name, value):
    with pytest.raises(InputError, match=f"--{name}: found {value}, expected a finite number"):
        Limits(**{name: value})
