"""The page's handlers: fields to a form, and what is left of a request. Without a browser."""

import errno
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.background import Stopped
from vssflow_jax.generation.mixing import MixOptions
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.form import BOTH, Form
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.results import Candidate, Result, View

handlers = pytest.importorskip("vssflow_jax.web.handlers", exc_type=ImportError)

VALUES = {
    "video": {"path": "a.mp4"}, "task": "speech", "text": "set blue", "timed": False, "start": 0,
    "end": 2, "voice 1": None, "voice 2": {"path": "b.wav"}, "voice 3": None,
    "subtitles": {"path": "c.srt"}, "speaker 2": {"path": "d.wav"}, "seed": 3.0,
    "candidates": 2, "guidance": 2.5, "steps": None, "duration": "", "lines": "", "skips": True,
    "audio_track": " 2", "mix": "duck", "loudness": "-23", "duck_level": "", "loop": True,
    "one_draw": True, "redo": "", "said": "", "extend": "", "prompt_text": "",
    "solver": "heun", "grid": "sway", "format": "mkv",
    "clip": "", "sync": "0", "phonemes": " 1,5 ",
}  # fmt: skip


class AnyFiles(VisitorFiles):
    """Takes every path as that of an upload."""

    def find_upload(self, upload):
        return upload and upload["path"]


FILES = AnyFiles(None)


def test_an_empty_field_is_the_default_and_0_is_0():
    form = handlers.make_form(VALUES, FILES)
    assert form.scales == {"clip": None, "sync": 0.0, "phonemes": 1.5}
    assert form.duration is None and form.steps is None
    assert (form.seed, form.candidates, form.guidance) == (3, 2, 2.5)
    assert form.video == "a.mp4" and form.voices == [None, "b.wav", None]
    assert (form.audio_track, form.solver, form.grid, form.format) == (2, "heun", "sway", "mkv")
    assert form.text_policy == "skip" and form.loop and form.one_draw
    assert form.mix == MixOptions(mode="duck", loudness=-23.0)
    assert form.subtitles == "c.srt" and form.speakers == [None, "d.wav", *[None] * 4]
    assert handlers.make_form(VALUES | {"skips": False}, FILES).text_policy == "refuse"
    assert handlers.make_form(VALUES | {"duration": "0", "video": None}, FILES).duration == 0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("clip", "much", r"The guidance \(clip\) is 'much'; this page takes numbers"),
        ("duration", "a while", "The duration is 'a while'"),
        ("start", "soon", "The start of the speech is 'soon'"),
        ("seed", 1.5, "The seed is 1.5; this page takes whole numbers"),
        ("steps", "1e400", "The number of steps is 1e400; this page takes whole numbers"),
        ("loudness", "loud", "The loudness is 'loud'; this page takes numbers"),
        ("audio_track", "nan", "The audio track is nan; this page takes whole numbers"),
    ],
)
def test_text_in_place_of_a_number_is_an_error(field, value, words):
    with pytest.raises(InputError, match=words):
        handlers.make_form(VALUES | {field: value}, FILES)


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


def make_result(folder, **values):
    """A result of two candidates with one file."""
    path = folder / "result.wav"
    candidates = [
        Candidate(video=None, sounds={BOTH: path}, kept=path, report={"seed": seed})
        for seed in (3, 4)
    ]
    view = View(video=None, sounds={BOTH: path})
    return Result(candidates=candidates, view=view, files=[path], **{"summary": "", **values})


class FileStudio:
    """Writes a file after one step, then ends as it should."""

    def __init__(self, error=None):
        self.error = error

    def generate(self, form: Form, out, visitor):
        yield 0.5
        (out / "result.wav").touch()
        if self.error:
            raise self.error
        yield make_result(out)


def test_a_result_stays_until_the_next_one(tmp_path):
    files = AnyFiles(tmp_path)
    for _ in range(2):
        progress, done = handlers.run_form(FileStudio(), files, "visitor", VALUES)
        assert "50 %" in progress[0] and "Done." in done[0]
        assert len(progress) == len(done) == 1 + handlers.NUM_RESULTS
        assert len(list(tmp_path.rglob("result.wav"))) == 1
    files.leave("visitor")
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_fails_leaves_nothing(tmp_path):
    files = AnyFiles(tmp_path)
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
    *_, last = handlers.run_form(FileStudio(error), AnyFiles(tmp_path), "visitor", VALUES)
    assert words in last[0] and "secret" not in last[0]
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == (not isinstance(error, Stopped))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_a_preview_is_a_sentence(caplog):
    class BrokenStudio:
        limits = Limits()

        def preview(self, path):
            raise ZeroDivisionError

    *_, status = handlers.preview(BrokenStudio(), FILES, {"path": "a.mp4"}, "", 0, 2, False)
    assert "The server failed (ZeroDivisionError)" in status and caplog.records


def test_notes_are_lines_of_their_own_and_no_markup():
    result = make_result(Path(), summary="2 s", notes=["<b>*a*", "b"])
    shown = handlers.render_summary(result)
    assert "Note: &lt;b&gt;*a*" in shown and shown.count("<p") == 3


def test_a_visitor_who_leaves_leaves_nothing(tmp_path):
    running = handlers.run_form(FileStudio(), AnyFiles(tmp_path), "visitor", VALUES)
    next(running)
    running.close()
    assert list(tmp_path.iterdir()) == []


# ---- edits and candidates -------------------------------------------------------------------


class EditStudio(FileStudio):
    """Keeps the forms that it was asked for."""

    def __init__(self):
        super().__init__()
        self.forms = []

    def generate(self, form, out, visitor):
        self.forms.append(form)
        yield from super().generate(form, out, visitor)


@pytest.fixture
def edited(tmp_path):
    """A studio and files after one request, and what runs another one on its result."""
    studio, files = EditStudio(), AnyFiles(tmp_path)

    def run(action, **values):
        *_, last = handlers.run_form(studio, files, "visitor", VALUES | values, action)
        return studio.forms[-1], last

    run(handlers.GENERATE, redo="1:2", said="red", extend="9")
    return run


def test_a_new_request_keeps_nothing(edited):
    form, _ = edited(handlers.GENERATE, redo="1:2", said="red", extend="9")
    assert (form.keep, form.redo, form.said, form.extend) == (None, "", "", None)


def test_spans_get_the_seed_behind_that_of_the_candidate_and_a_line_says_so(edited):
    form, shown = edited(handlers.REDO, redo="1:2", said="red", extend="9", chosen=2)
    assert form.keep.endswith("result.wav") and (form.redo, form.said) == ("1:2", "red")
    assert form.extend is None and form.seed == 5
    assert "The seed is 5 instead of 3" in shown[1] and shown[2] == 5
    form, shown = edited(handlers.REDO, redo="1:2", seed=8)
    assert form.seed == 8 and "instead" not in shown[1]


def test_a_sound_goes_on_up_to_a_second_alone(edited):
    form, _ = edited(handlers.EXTEND, redo="1:2", extend="9")
    assert form.keep and (form.redo, form.extend, form.seed) == ("", 9.0, 3)
    _, shown = edited(handlers.EXTEND, redo="1:2", extend="")
    assert "There is no end of the longer sound" in shown[0]


def test_there_is_nothing_to_edit_before_the_first_result(tmp_path):
    files = AnyFiles(tmp_path)
    *_, last = handlers.run_form(FileStudio(), files, "visitor", VALUES, handlers.REDO)
    assert "There is no result yet" in last[0] and list(tmp_path.iterdir()) == []


def test_candidates_are_side_by_side_with_their_scores():
    result = make_result(Path("/tmp/a b"))
    result.candidates[0].report.update(scores={"wer": 0.25}, transcripts=["<set> blue"])
    shown = handlers.render_candidates(result.candidates)
    assert shown.count("<audio controls") == 2 and "seed 3, word errors 0.25" in shown
    assert "heard: &lt;set&gt; blue" in shown and "seed 4, no score applies" in shown
    assert 'src="gradio_api/file=/tmp/a%20b/result.wav"' in shown
    assert handlers.render_candidates(result.candidates[:1]).strip() == ""


def test_a_visitor_without_a_result_has_no_candidate_to_choose(tmp_path):
    status, *view = handlers.choose_candidate(VisitorFiles(tmp_path), "visitor", 2)
    assert "There is no result yet" in status and len(view) == handlers.NUM_VIEW


# ---- links ----------------------------------------------------------------------------------


def make_settings():
    gr = pytest.importorskip("gradio")
    return {
        "text": gr.Textbox(""), "timed": gr.Checkbox(False), "seed": gr.Number(0),
        "steps": gr.Slider(1, 200, 8), "mix": gr.Radio(["replace", "duck"], value="replace"),
    }  # fmt: skip


def test_a_link_brings_back_the_settings_that_were_changed():
    fields = make_settings()
    values = {"text": "a & b=c \u00e9", "timed": True, "seed": 0, "steps": 9, "mix": "duck"}
    link = handlers.make_link(values, {name: field.value for name, field in fields.items()})
    query = dict(parse_qsl(link.removeprefix("?")))
    assert query.keys() == {"text", "timed", "steps", "mix"}
    *restored, status = handlers.read_link(query, fields)
    assert restored[0] == values["text"] and restored[1] is True and restored[3:] == [9, "duck"]
    assert "settings of the link" in status


@pytest.mark.parametrize(
    ("name", "text"),
    [("steps", "999"), ("steps", "nan"), ("seed", "x"), ("mix", "loud"), ("timed", "yes"),
     ("text", "x" * 6000)],
)  # fmt: skip
def test_what_a_link_cannot_set_is_named(name, text):
    *restored, status = handlers.read_link({name: text, "other": "1"}, make_settings())
    assert all(value == handlers.gr.skip() for value in restored)
    assert f"Left out of the link: {name}." in status
