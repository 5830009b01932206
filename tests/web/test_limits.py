"""Limits of the page, and errors as it words them."""

from vssflow_jax.common.errors import InputError
from vssflow_jax.web.limits import format_error


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
