"""The page's handlers: fields to a form, and what is left of a request. Without a browser."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.studio import Form, Result

layout = pytest.importorskip("vssflow_jax.web.layout", exc_type=ImportError)

VALUES = {
    "task": "speech", "text": "set blue", "timed": False, "start": 0, "end": 2, "voice 1": None,
    "voice 2": "b.wav", "voice 3": None, "seed": 3.0, "candidates": 2, "guidance": 2.5,
    "steps": None, "duration": "", "lines": "", "clip": "", "sync": "0", "phonemes": " 1,5 ",
}  # fmt: skip


def test_an_empty_field_is_the_default_and_0_is_0():
    form = layout.make_form("a.mp4", VALUES)
    assert form.scales == {"clip": None, "sync": 0.0, "phonemes": 1.5}
    assert form.duration is None and form.steps is None
    assert (form.seed, form.candidates, form.guidance) == (3, 2, 2.5)
    assert form.video == "a.mp4" and form.voices == [None, "b.wav", None]
    assert layout.make_form(None, VALUES | {"duration": "0"}).duration == 0


def test_text_in_place_of_a_number_is_an_error():
    with pytest.raises(InputError, match=r"The guidance \(clip\) is 'much'"):
        layout.make_form(None, VALUES | {"clip": "much"})


class FileStudio:
    """Writes a file after one step, then ends as it should."""

    def __init__(self, error=None):
        self.error = error

    def generate(self, form: Form, out):
        yield 0.5
        (out / "result.wav").touch()
        if self.error:
            raise self.error
        yield Result(video=None, sounds={}, files=[], spectrograms="", summary="")


def test_a_result_stays_until_the_next_one(tmp_path):
    files = VisitorFiles(tmp_path)
    for _ in range(2):
        progress, done = layout.run_form(FileStudio(), files, "visitor", None, VALUES)
        assert "50 %" in progress[0] and "Done." in done[0]
        assert len(progress) == len(done) == 1 + layout.NUM_RESULTS
        assert len(list(tmp_path.rglob("result.wav"))) == 1
    files.leave("visitor")
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_fails_leaves_nothing(tmp_path):
    files = VisitorFiles(tmp_path)
    studio = FileStudio(InputError("too <long>"))
    *_, last = layout.run_form(studio, files, "visitor", None, VALUES)
    assert "too &lt;long&gt;" in last[0] and "wrong" in last[0]
    with pytest.raises(RuntimeError):
        list(layout.run_form(FileStudio(RuntimeError()), files, "visitor", None, VALUES))
    (last,) = layout.run_form(FileStudio(), files, "visitor", None, VALUES | {"duration": "x"})
    assert "The duration is" in last[0]
    assert list(tmp_path.iterdir()) == []


def test_a_visitor_who_leaves_leaves_nothing(tmp_path):
    running = layout.run_form(FileStudio(), VisitorFiles(tmp_path), "visitor", None, VALUES)
    next(running)
    running.close()
    assert list(tmp_path.iterdir()) == []
