"""What the page does: previews, fields to a form, a form to progress and a result."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.background import Stopped
from vssflow_jax.reports import html
from vssflow_jax.text.normalize import REFUSE, SKIP
from vssflow_jax.web.files import VisitorFiles, delete
from vssflow_jax.web.limits import Limits, describe_failure, fit_times, parse_number
from vssflow_jax.web.studio import BOTH, SOUND, SPEECH, Form, Result, Studio

NUM_VOICES = 3
NUM_RESULTS = 7  # components, see `show_result`
TIME_STEP = 0.05  # seconds, of the sliders for times
UPLOADS = ("video", *(f"voice {number}" for number in range(1, NUM_VOICES + 1)))  # fields
NUMBERS = {  # fields, as errors call them, and whether they are whole numbers
    "start": ("The start of the speech", False),
    "end": ("The end of the speech", False),
    "audio_track": ("The audio track", True),
    "duration": ("The duration", False),
    "steps": ("The number of steps", True),
    "seed": ("The seed", True),
    "candidates": ("The number of candidates", True),
    "guidance": ("The guidance", False),
}
CANCELLED = "Cancelled."
LOG = logging.getLogger(__name__)


# ---- status -------------------------------------------------------------------------------


def render_status(text: str, *, error: bool = False) -> str:
    """The status line, announced by screen readers."""
    return html.render("status.html", text=text, error=error)


def render_summary(result: Result) -> str:
    """What was used and what was left out, under the status line."""
    return html.render("summary.html", summary=result.summary, notes=result.notes)


def render_progress(fraction: float) -> str:
    """The status line while the solver runs."""
    return html.render("progress.html", percent=round(100 * fraction))


def render_failure(error: Exception) -> str:
    """The status line for a failure of the server, whose log gets its trace."""
    LOG.exception("a request failed", exc_info=error)
    return render_status(describe_failure(error), error=True)


# ---- events -------------------------------------------------------------------------------


def read_path(upload: dict | None) -> str | None:
    """The path of an upload, as Gradio describes it."""
    return upload["path"] if upload else None


def preview(studio: Studio, path: str | None, *times):
    """Frames over time, seconds, sliders as long as the clip, status; or what is wrong.

    Args:
      studio: reads the video.
      path: the video.
      *times: as those of `fit_sliders`.
    """
    nothing = "", None, gr.skip(), gr.skip()
    try:
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


def make_form(values: dict) -> Form:
    """A form from the values of the fields; an empty field has its default.

    Raises:
      InputError: a text in place of a number.
    """
    values = {name: value for name, value in values.items() if value is not None}
    uploads = {name: read_path(values.pop(name, None)) for name in UPLOADS}
    numbers = {
        name: parse_number(label, values.pop(name), is_whole=is_whole)
        for name, (label, is_whole) in NUMBERS.items()
        if name in values
    }
    scales = {
        name: parse_number(f"The guidance ({name})", values.pop(name))
        for name in conditions.NAMES
        if name in values
    }
    return Form(
        video=uploads.pop("video"),
        voices=list(uploads.values()),
        text_policy=SKIP if values.pop("skips", False) else REFUSE,
        scales=scales,
        **{name: number for name, number in numbers.items() if number is not None},
        **values,
    )


def run_form(studio: Studio, files: VisitorFiles, visitor: str, values: dict) -> Iterator[list]:
    """Progress, then the result; an error is a sentence, and leaves an earlier result in place.

    Args:
      studio: that generates.
      files: of the visitors.
      visitor: whose page it is.
      values: of the fields by name.

    Yields:
      The status, and the values of the page's results.
    """
    unchanged = [gr.skip()] * NUM_RESULTS
    folder, is_shown = files.make_folder(), False
    try:
        for step in studio.generate(make_form(values), folder, visitor):
            if isinstance(step, Result):
                files.show(visitor, "result", [folder])
                is_shown = True
                yield [render_status("Done."), *show_result(step)]
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


def show_result(result: Result) -> Sequence:
    """The values of the page's results."""
    sounds = [result.sounds.get(task) for task in (BOTH, SPEECH, SOUND)]
    return [
        render_summary(result),
        gr.Video(_to_name(result.video), visible=result.video is not None),
        *(gr.Audio(_to_name(path), visible=path is not None) for path in sounds),
        result.spectrograms,
        gr.File([str(path) for path in result.files], visible=True),
    ]


def _to_name(path: Path | None) -> str | None:
    return None if path is None else str(path)
