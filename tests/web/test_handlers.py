"""The page's handlers: fields to a form, and what is left of a request. Without a browser."""

import errno

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.background import Stopped
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.studio import Form, Result

handlers = pytest.importorskip("vssflow_jax.web.handlers", exc_type=ImportError)

VALUES = {
    "video": {"path": "a.mp4"}, "task": "speech", "text": "set blue", "timed": False, "start": 0,
    "end": 2, "voice 1": None, "voice 2": {"path": "b.wav"}, "voice 3": None, "seed": 3.0,
    "candidates": 2, "guidance": 2.5, "steps": None, "duration": "", "lines": "", "skips": True,
    "audio_track": " 2", "solver": "heun", "grid": "sway", "format": "mkv",
    "clip": "", "sync": "0", "phonemes": " 1,5 ",
}  # fmt: skip


def test_an_empty_field_is_the_default_and_0_is_0():
    form = handlers.make_form(VALUES)
    assert form.scales == {"clip": None, "sync": 0.0, "phonemes": 1.5}
    assert form.duration is None and form.steps is None
    assert (form.seed, form.candidates, form.guidance) == (3, 2, 2.5)
    assert form.video == "a.mp4" and form.voices == [None, "b.wav", None]
    assert (form.audio_track, form.solver, form.grid, form.format) == (2, "heun", "sway", "mkv")
    assert form.text_policy == "skip"
    assert handlers.make_form(VALUES | {"skips": False}).text_policy == "refuse"
    assert handlers.make_form(VALUES | {"duration": "0", "video": None}).duration == 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("clip", "much", r"The guidance \(clip\) is 'much'; this page takes numbers"),
        ("duration", "a while", "The duration is 'a while'"),
        ("start", "soon", "The start of the speech is 'soon'"),
        ("seed", 1.5, "The seed is 1.5; this page takes whole numbers"),
        ("steps", "1e400", "The number of steps is 1e400; this page takes whole numbers"),
        ("audio_track", "nan", "The audio track is nan; this page takes whole numbers"),
    ],
)
def test_text_in_place_of_a_number_is_an_error(field, value, words):
    with pytest.raises(InputError, match=words):
        handlers.make_form(VALUES | {field: value})


# ---- times --------------------------------------------------------------------------------


def fit(seconds, start, end, duration="", is_timed=True):
    """Maximum, values and lines of the two sliders."""
    first, last, notes = handlers.fit_sliders(
        Limits(seconds=60), seconds, duration, start, end, is_timed
    )
    assert first["maximum"] == last["maximum"]
    assert 0 <= first["value"] <= first["maximum"] >= last["value"]
    return first["maximum"], first["value"], last["value"], notes


def test_times_of_a_longer_video_are_fitted_and_a_line_says_so():
    assert fit(4.0, 1.0, 3.5) == (4.0, 1.0, 3.5, [])
    maximum, start, end, notes = fit(2.0, 1.0, 3.5)
    assert (maximum, start, end) == (2.0, 1.0, 2.0)
    assert notes == ["speech ends at 2.00 s instead of 3.50 s, since the clip ends there"]
    _, start, end, notes = fit(1.0, 3.0, 3.5)
    assert (start, end) == (0.0, 1.0)
    assert "speech starts at 0 s instead of 3.00 s" in notes[1]


def test_times_that_nobody_chose_are_those_of_the_video():
    assert fit(1.0, 3.0, 3.5, is_timed=False) == (1.0, 0, 1.0, [])
    assert fit(None, 0, 2, is_timed=False) == (60, 0, 2, [])


def test_a_duration_of_its_own_is_that_of_the_sliders():
    assert fit(2.0, 1.0, 3.5, duration="5") == (5.0, 1.0, 3.5, [])
    assert fit(2.0, 1.0, 1.5, duration="what")[0] == 2.0
    assert fit(0.004, 0, 0.004)[0] == handlers.TIME_STEP  # a slider has some length


# ---- requests -----------------------------------------------------------------------------


class FileStudio:
    """Writes a file after one step, then ends as it should."""

    def __init__(self, error=None):
        self.error = error

    def generate(self, form: Form, out, visitor):
        yield 0.5
        (out / "result.wav").touch()
        if self.error:
            raise self.error
        yield Result(video=None, sounds={}, files=[], spectrograms="", summary="")


def test_a_result_stays_until_the_next_one(tmp_path):
    files = VisitorFiles(tmp_path)
    for _ in range(2):
        progress, done = handlers.run_form(FileStudio(), files, "visitor", VALUES)
        assert "50 %" in progress[0] and "Done." in done[0]
        assert len(progress) == len(done) == 1 + handlers.NUM_RESULTS
        assert len(list(tmp_path.rglob("result.wav"))) == 1
    files.leave("visitor")
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_fails_leaves_nothing(tmp_path):
    files = VisitorFiles(tmp_path)
    studio = FileStudio(InputError("too <long>"))
    *_, last = handlers.run_form(studio, files, "visitor", VALUES)
    assert "too &lt;long&gt;" in last[0] and "wrong" in last[0]
    (last,) = handlers.run_form(FileStudio(), files, "visitor", VALUES | {"duration": "x"})
    assert "The duration is" in last[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("/secret/place"), "The server failed (RuntimeError); its log says where."),
        (OSError(errno.ENOSPC, "full"), "The server cannot write its files: no space left"),
        (MemoryError(), "The server ran out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), "The server ran out of memory"),
        (Stopped(), "Cancelled."),
    ],
)
def test_a_failure_of_the_server_is_a_sentence_and_its_trace_is_in_the_log(
    tmp_path, caplog, error, words
):
    *_, last = handlers.run_form(FileStudio(error), VisitorFiles(tmp_path), "visitor", VALUES)
    assert words in last[0] and "secret" not in last[0]
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == (not isinstance(error, Stopped))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_a_preview_is_a_sentence(caplog):
    class BrokenStudio:
        limits = Limits()

        def preview(self, path):
            raise ZeroDivisionError

    *_, status = handlers.preview(BrokenStudio(), "a.mp4", "", 0, 2, False)
    assert "The server failed (ZeroDivisionError)" in status and caplog.records


def test_notes_are_lines_of_their_own_and_no_markup():
    result = Result(
        video=None, sounds={}, files=[], spectrograms="", summary="2 s", notes=["<b>*a*", "b"]
    )
    shown = handlers.render_summary(result)
    assert "Note: &lt;b&gt;*a*" in shown and shown.count("<p") == 3


def test_a_visitor_who_leaves_leaves_nothing(tmp_path):
    running = handlers.run_form(FileStudio(), VisitorFiles(tmp_path), "visitor", VALUES)
    next(running)
    running.close()
    assert list(tmp_path.iterdir()) == []
