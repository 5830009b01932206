"""What the page does: previews, fields to a form, a form to progress and a result, edits of it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import gradio as gr
from gradio.route_utils import API_PREFIX

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.background import Stopped
from vssflow_jax.generation.mixing import MixOptions
from vssflow_jax.reports import html
from vssflow_jax.text.normalize import REFUSE, SKIP
from vssflow_jax.web.files import VisitorFiles, delete
from vssflow_jax.web.form import BOTH, NUM_SPEAKERS, SOUND, SPEECH, Form
from vssflow_jax.web.limits import Limits, describe_failure, fit_times, parse_number
from vssflow_jax.web.results import Candidate, Result, View, describe_scores, render_view
from vssflow_jax.web.studio import Studio

NUM_VOICES = 3
NUM_VIEW = 6  # components, see `show_view`
NUM_RESULTS = NUM_VIEW + 7  # components, see `run_form`
TIME_STEP = 0.05  # seconds, of the sliders for times
VOICES = tuple(f"voice {number}" for number in range(1, NUM_VOICES + 1))  # fields
SPEAKERS = tuple(f"speaker {number}" for number in range(1, NUM_SPEAKERS + 1))
UPLOADS = ("video", "subtitles", *VOICES, *SPEAKERS)
GENERATE, REDO, EXTEND = "generate", "redo", "extend"  # what the buttons do
NUMBERS = {  # fields, as errors call them, and whether they are whole numbers
    "start": ("The start of the speech", False),
    "end": ("The end of the speech", False),
    "audio_track": ("The audio track", True),
    "duration": ("The duration", False),
    "steps": ("The number of steps", True),
    "seed": ("The seed", True),
    "candidates": ("The number of candidates", True),
    "guidance": ("The guidance", False),
    "extend": ("The end of the longer sound", False),
}
LEVELS = {  # of the mix
    "original_level": "The level of the video's own sound",
    "generated_level": "The level of the generated sound",
    "duck_level": "The level during speech",
    "loudness": "The loudness",
}
DONE, CANCELLED = "Done.", "Cancelled."
MAX_LINK_TEXT = 5000  # characters of a field in a link; the form has limits of its own
LOG = logging.getLogger(__name__)


# ---- status -------------------------------------------------------------------------------


def render_status(text: str, *, error: bool = False) -> str:
    """The status line, announced by screen readers."""
    return html.render("status.html", text=text, error=error)


def render_summary(result: Result, notes: Sequence[str] = (), link: str = "") -> str:
    """What was used and what was left out, under the status line, and a link to the settings."""
    notes = [*notes, *result.notes]
    return html.render("summary.html", summary=result.summary, notes=notes, link=link)


def render_candidates(candidates: Sequence[Candidate]) -> str:
    """Players of candidates side by side with their scores, where there are several."""
    cards = [
        {
            "scores": describe_scores(candidate.report),
            "transcripts": candidate.report.get("transcripts", ()),
            "address": f"{API_PREFIX[1:]}/file={quote(str(candidate.sounds[BOTH]))}",
        }
        for candidate in candidates
    ]
    return html.render("candidates.html", candidates=cards)


def render_progress(fraction: float) -> str:
    """The status line while the solver runs."""
    return html.render("progress.html", percent=round(100 * fraction))


def render_failure(error: Exception) -> str:
    """The status line for a failure of the server, whose log gets its trace."""
    LOG.exception("a request failed", exc_info=error)
    return render_status(describe_failure(error), error=True)


# ---- events -------------------------------------------------------------------------------


def preview(studio: Studio, files: VisitorFiles, upload: Mapping | None, *times):
    """Frames over time, seconds, sliders as long as the clip, status; or what is wrong.

    Args:
      studio: reads the video.
      files: of the visitors.
      upload: the video.
      *times: as those of `fit_sliders`.
    """
    nothing = "", None, gr.skip(), gr.skip()
    try:
        path = files.find_upload(upload)
        strip, seconds, losses = studio.preview(path)
    except InputError as error:
        return *nothing, render_status(str(error), error=True)
    except Exception as error:
        return *nothing, render_failure(error)
    start, end, notes = fit_sliders(studio.limits, seconds, *times)
    lines = [f"The video lasts {seconds:.2f} s."] if path else []
    lines += [*losses, *(f"{note[:1].upper()}{note[1:]}." for note in notes)]
    return strip, seconds, start, end, render_status(" ".join(lines) or "Ready.")


def fit_sliders(limits: Limits, seconds: float | None, duration, start, end, is_timed):
    """Updates of the two sliders for a clip, and a line about each time that had to change.

    Args:
      limits: of the page.
      seconds: of the video; None without one.
      duration: what the field for the clip's duration says.
      start: of the speech.
      end: of the speech.
      is_timed: whether the visitor chose the times.
    """
    with contextlib.suppress(InputError):  # the request will say what is wrong with it
        seconds = parse_number("", duration) or seconds
    longest = max(round(min(seconds or limits.seconds, limits.seconds), 2), TIME_STEP)
    notes: list[str] = []
    if is_timed:
        start, end, notes = fit_times(start, end, longest)
    elif seconds:
        start, end = 0, longest
    return gr.update(maximum=longest, value=start), gr.update(maximum=longest, value=end), notes


def show_speakers(studio: Studio, files: VisitorFiles, upload: Mapping | None) -> list:
    """Updates of the fields for the voices of subtitles' speakers, and the status."""
    hidden = gr.update(visible=False, value=None)
    try:
        path = files.find_upload(upload)
        names = studio.list_speakers(path) if path else []
    except InputError as error:
        return [*[hidden] * NUM_SPEAKERS, render_status(str(error), error=True)]
    except Exception as error:
        return [*[hidden] * NUM_SPEAKERS, render_failure(error)]
    fields = [gr.update(visible=True, label=f"Voice of {name}") for name in names[:NUM_SPEAKERS]]
    fields += [hidden] * (NUM_SPEAKERS - len(fields))
    status = f"Speakers: {', '.join(names)}." if names else "Ready."
    if len(names) > NUM_SPEAKERS:
        status += f" The page has voices for the first {NUM_SPEAKERS}."
    return [*fields, render_status(status)]


def make_form(values: Mapping, files: VisitorFiles) -> Form:
    """A form from the values of the fields; an empty field has its default.

    Raises:
      InputError: a text in place of a number, or a file that is no upload.
    """
    values = {name: value for name, value in values.items() if value is not None}
    uploads = {name: files.find_upload(values.pop(name, None)) for name in UPLOADS}
    numbers = {
        name: parse_number(label, values.pop(name), is_whole=is_whole)
        for name, (label, is_whole) in NUMBERS.items()
        if name in values
    }
    levels = {
        name: parse_number(label, values.pop(name))
        for name, label in LEVELS.items()
        if name in values
    }
    levels = {name: level for name, level in levels.items() if level is not None}
    scales = {
        name: parse_number(f"The guidance ({name})", values.pop(name))
        for name in conditions.NAMES
        if name in values
    }
    return Form(
        video=uploads["video"],
        subtitles=uploads["subtitles"],
        voices=[uploads[name] for name in VOICES],
        speakers=[uploads[name] for name in SPEAKERS],
        text_policy=SKIP if values.pop("skips", False) else REFUSE,
        mix=MixOptions(mode=values.pop("mix", MixOptions.mode), **levels),
        scales=scales,
        **{name: number for name, number in numbers.items() if number is not None},
        **values,
    )


def make_edit(form: Form, candidate: Candidate, action: str) -> tuple[Form, list[str]]:
    """A form that keeps a candidate but for spans, or that goes on where it ends; and notes.

    Spans sound as before with the candidate's seed, so they get the next one.
    """
    if action == EXTEND:
        if form.extend is None:
            raise InputError("There is no end of the longer sound; write its seconds.")
        return dataclasses.replace(form, keep=str(candidate.kept), redo=""), []
    form, seed = dataclasses.replace(form, keep=str(candidate.kept), extend=None), form.seed
    if candidate.report["seed"] not in form.seeds:
        return form, []
    form = dataclasses.replace(form, seed=candidate.report["seed"] + 1)
    return form, [f"The seed is {form.seed} instead of {seed}, so that the spans change."]


def run_form(
    studio: Studio,
    files: VisitorFiles,
    visitor: str,
    values: Mapping,
    action: str = GENERATE,
    link: str = "",
) -> Iterator[list]:
    """Progress, then the result; an error is a sentence, and leaves an earlier result in place.

    Args:
      studio: that generates.
      files: of the visitors.
      visitor: whose page it is.
      values: of the fields by name, and `chosen`, the number of the candidate that is edited.
      action: GENERATE, REDO or EXTEND.
      link: to the settings.

    Yields:
      The status, and the values of the page's results.
    """
    unchanged = [gr.skip()] * NUM_RESULTS
    is_shown = False
    with files.open_result() as folder:
        try:
            values = {**values}
            chosen = values.pop("chosen", None) or 1
            form, notes = make_form(values, files), []
            if action == GENERATE:
                form = dataclasses.replace(form, redo="", extend=None, said="")
            else:
                candidate = files.find_result(visitor).candidates[int(chosen) - 1]
                form, notes = make_edit(form, candidate, action)
            for step in studio.generate(form, folder, visitor):
                if isinstance(step, Result):
                    files.show_result(visitor, folder, step)
                    is_shown = True
                    yield [
                        render_status(DONE),
                        render_summary(step, notes, link),
                        form.seed,
                        *show_result(step),
                    ]
                else:
                    yield [render_progress(step), *unchanged]
        except InputError as error:
            yield [render_status(str(error), error=True), *unchanged]
        except Stopped:
            yield [render_status(CANCELLED), *unchanged]
        except Exception as error:
            yield [render_failure(error), *unchanged]
        finally:
            if not is_shown:  # an error, or a visitor who left
                delete(folder)


def cancel(studio: Studio, visitor: str, status: str) -> list:
    """Stops a visitor's request; updates of the status, unless a result came first, and the button.

    Args:
      studio: that generates.
      visitor: whose request it is.
      status: that the page shows.
    """
    studio.cancel(visitor)
    is_done = status == render_status(DONE)
    return [gr.skip() if is_done else render_status(CANCELLED), gr.update(interactive=False)]


def choose_candidate(files: VisitorFiles, visitor: str, number: int) -> list:
    """The status, and the values of the components that show one candidate."""
    try:
        candidate = files.find_result(visitor).candidates[int(number) - 1]
        return [render_status(f"Candidate {number}."), *show_view(render_view(candidate))]
    except InputError as error:
        return [render_status(str(error), error=True), *[gr.skip()] * NUM_VIEW]
    except Exception as error:
        return [render_failure(error), *[gr.skip()] * NUM_VIEW]


def show_result(result: Result) -> list:
    """The values of the components that show a result, behind its summary and seed."""
    candidates = result.candidates
    choices = [
        (f"{number}: {describe_scores(candidate.report)}", number)
        for number, candidate in enumerate(candidates, 1)
    ]
    return [
        render_candidates(candidates),
        gr.update(choices=choices, value=1, visible=len(candidates) > 1),
        *show_view(result.view),
        gr.update(visible=True),  # what edits it
        "",  # spans
        gr.File([str(path) for path in result.files], visible=True),
    ]


def show_view(view: View) -> list:
    """The values of the components that show one candidate."""
    sounds = [view.sounds.get(task) for task in (BOTH, SPEECH, SOUND)]
    return [
        gr.Video(_to_name(view.video), visible=view.video is not None),
        *(gr.Audio(_to_name(path), visible=path is not None) for path in sounds),
        view.timeline,
        view.spectrograms,
    ]


def _to_name(path: Path | None) -> str | None:
    return None if path is None else str(path)


# ---- links --------------------------------------------------------------------------------


def make_link(values: Mapping, defaults: Mapping) -> str:
    """A link to the page with settings: those that are not the defaults, as a query.

    Args:
      values: of the fields by name.
      defaults: of the fields that a link can have.
    """
    changed = {
        name: int(values[name]) if isinstance(values[name], bool) else values[name]
        for name, default in defaults.items()
        if values.get(name) is not None and values[name] != default
    }
    return f"?{urlencode(changed)}"


def read_link(query: Mapping[str, str], fields: Mapping[str, gr.components.Component]) -> list:
    """Values of fields from the query of a link, and the status; other fields stay as they are.

    Args:
      query: by name, from the visitor.
      fields: those that a link can have.
    """
    values, wrong = [], []
    for name, field in fields.items():
        value = parse_setting(field, query[name]) if name in query else None
        if name in query and value is None:
            wrong.append(name)
        values.append(gr.skip() if value is None else value)
    status = gr.skip()
    if wrong:
        status = render_status(f"Left out of the link: {', '.join(wrong)}.", error=True)
    elif query.keys() & fields.keys():
        status = render_status("These are the settings of the link; files are not part of it.")
    return [*values, status]


def parse_setting(field: gr.components.Component, text: str) -> str | float | bool | None:
    """The value of a field that a text of a link says; None if it can have no such value."""
    if isinstance(field, gr.Checkbox):
        return {"1": True, "0": False}.get(text)
    if isinstance(field, gr.Radio | gr.Dropdown):
        return text if text in [value for _, value in field.choices] else None
    if isinstance(field, gr.Slider | gr.Number):
        try:
            number = parse_number("", text, is_whole=isinstance(field, gr.Number))
        except InputError:
            return None
        low, high = (field.minimum, field.maximum) if isinstance(field, gr.Slider) else (None, None)
        is_in_range = number is not None and (low is None or low <= number <= high)
        return number if is_in_range else None
    return text if len(text) <= MAX_LINK_TEXT else None
