"""The page's layout (Gradio): fields on the left, progress and results on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.reports import html
from vssflow_jax.web.files import VisitorFiles, delete
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.studio import BOTH, SOUND, SPEECH, TASKS, Form, Result, Studio

TITLE = "Sound and speech for silent video"
FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
LINE = "start,end,text,voice"
NUM_VOICES = 3
NUM_RESULTS = 7  # components, see `show_result`
INTEGERS = ("seed", "candidates", "steps")  # fields


def make_theme() -> gr.themes.Base:
    """A plain theme with the visitor's own fonts: nothing is loaded from elsewhere."""
    return gr.themes.Soft(font=FONT, font_mono=MONO, primary_hue="blue")


def render_status(text: str, *, error: bool = False) -> str:
    """The status line, announced by screen readers."""
    return html.render("status.html", text=text, error=error)


def render_progress(fraction: float) -> str:
    """The status line while the solver runs."""
    return html.render("progress.html", percent=round(100 * fraction))


# ---- components ---------------------------------------------------------------------------


def build_page(studio: Studio, files: VisitorFiles) -> gr.Blocks:
    """The page of a studio, whose uploads and results are in `files`."""
    limits = studio.limits
    # Gradio deletes files older than `age` each `interval`: none gets older than `keep`.
    interval = max(limits.keep // 4, 1)
    age = max(limits.keep - interval, 1)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(interval, age)) as blocks:
        gr.Markdown(f"# {TITLE}\n{describe_limits(limits)}")
        with gr.Row():
            with gr.Column():
                video, strip, fields = _make_fields(studio)
            with gr.Column():
                button = gr.Button("Generate", variant="primary", elem_id="generate")
                status = gr.HTML(render_status("Ready."), elem_id="status")
                results = _make_results()
        _connect_uploads(studio, files, video, strip, fields, status)

        def generate(request: gr.Request, path: str | None, *values):
            named = dict(zip(fields, values, strict=True))
            yield from run_form(studio, files, request.session_hash, path, named)

        button.click(
            generate,
            [video, *fields.values()],
            [status, *results],
            show_progress="minimal",
            show_progress_on=[status],
            concurrency_limit=1,
            concurrency_id="generate",
            api_visibility="private",
        )

        def forget_visitor(request: gr.Request) -> None:
            files.leave(request.session_hash)

        blocks.unload(forget_visitor)
    blocks.queue(max_size=limits.queue, default_concurrency_limit=4)
    return blocks


def describe_limits(limits: Limits) -> str:
    """What the page takes, and how long it keeps it."""
    return (
        "Drop a video, type what is said, or both. "
        f"Up to {limits.megabytes:g} MB, {limits.seconds:g} s, {limits.side} pixels a side. "
        "Your files and results are deleted from this computer when you remove or replace them, "
        f"when you leave the page, and after {limits.keep / 60:.3g} minutes in any case."
    )


def _make_fields(studio: Studio):
    """The video, its frames, and the other fields by the names of `Form`."""
    limits, sample = studio.limits, studio.generator.config.sample
    video = gr.Video(label="Video", sources=["upload"], height=260, elem_id="video")
    strip = gr.HTML(elem_id="strip")
    fields = {
        "task": gr.Radio(list(TASKS), value=BOTH, label="Task"),
        "text": gr.Textbox(label="What is said", lines=2, elem_id="text"),
        "timed": gr.Checkbox(label="Choose when the speech starts and ends", value=False),
    }
    with gr.Row():
        longest = limits.seconds
        fields["start"] = gr.Slider(0, longest, 0, step=0.05, label="Speech starts (s)")
        fields["end"] = gr.Slider(0, longest, 2, step=0.05, label="Speech ends (s)")
    fields["voice 1"] = _make_voice(1, "Voice to imitate: a file or a recording")
    with gr.Row():
        fields["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0)
        fields["candidates"] = gr.Slider(
            1, limits.candidates, 1, step=1, label="Candidates, best first"
        )
        fields["guidance"] = gr.Slider(0, 8, sample.guidance, step=0.1, label="Guidance")
    with gr.Accordion("More", open=False):
        fields |= _make_more_fields(limits, sample, studio.generator.config.model.route)
    return video, strip, fields


def _make_more_fields(limits: Limits, sample, route: str) -> dict[str, gr.components.Component]:
    """The fields that are hidden at first."""
    fields = {}
    with gr.Row():
        fields["steps"] = gr.Slider(1, limits.steps, sample.steps, step=1, label="Steps")
        fields["duration"] = _make_optional_number("Duration (s); empty: the video's")
    fields["lines"] = gr.Textbox(
        label=f"Several utterances instead, a line each: {LINE}",
        lines=3,
        placeholder="0.5,2.0,bin red by k two soon\n3.0,,set blue at g nine now,2",
        elem_id="lines",
    )
    gr.Markdown("The voice is a number; a line without one has the voice above.")
    with gr.Row():
        for number in range(2, NUM_VOICES + 1):
            fields[f"voice {number}"] = _make_voice(number, f"Voice {number}")
    gr.Markdown("Guidance of single conditions; empty: the common guidance above; 0 is 0.")
    with gr.Row():
        for name in conditions.ROUTES[route].used:
            fields[name] = _make_optional_number(name.capitalize(), sample.scales[name])
    return fields


def _make_optional_number(label: str, value: float | None = None) -> gr.Textbox:
    """A number or nothing. Gradio's own field for numbers turns an empty one into 0."""
    return gr.Textbox("" if value is None else f"{value:g}", label=label, min_width=160)


def _make_voice(number: int, label: str) -> gr.Audio:
    return gr.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],  # one of the default buttons sends the voice to another site
        min_width=160,
        elem_id=f"voice{number}",
    )


def _make_results() -> list[gr.components.Component]:
    """Summary, video, three sounds, spectrograms, files; hidden but for the text."""
    hidden = {"interactive": False, "visible": False, "buttons": ["download"]}
    return [
        gr.Markdown(elem_id="summary"),
        gr.Video(label="Result", height=360, elem_id="result", **hidden),
        gr.Audio(label="Sound", elem_id="both", **hidden),
        gr.Audio(label="Speech alone", elem_id="speech", **hidden),
        gr.Audio(label="Other sounds alone", elem_id="sound", **hidden),
        gr.HTML(elem_id="spectrograms"),
        gr.File(label="Downloads", file_count="multiple", visible=False, interactive=False,
                elem_id="files"),
    ]  # fmt: skip


# ---- events -------------------------------------------------------------------------------


def _connect_uploads(studio: Studio, files: VisitorFiles, video, strip, fields, status) -> None:
    """Follows the uploads of a page: previews the video, deletes what is removed or replaced."""

    def change_video(path: str | None, request: gr.Request):
        _show_upload(files, request, "video", path)
        return preview(studio, path)

    video.change(
        change_video,
        [video],
        [strip, fields["start"], fields["end"], status],
        show_progress="hidden",
        api_visibility="private",
    )
    for number in range(1, NUM_VOICES + 1):
        voice = fields[f"voice {number}"]
        voice.change(
            _make_voice_handler(files, f"voice {number}"),
            [voice],
            show_progress="hidden",
            api_visibility="private",
        )


def _make_voice_handler(files: VisitorFiles, slot: str):
    def change_voice(path: str | None, request: gr.Request) -> None:
        _show_upload(files, request, slot, path)

    return change_voice


def _show_upload(files: VisitorFiles, request: gr.Request, slot: str, path: str | None) -> None:
    files.show(request.session_hash, slot, [Path(path)] if path else [])


def preview(studio: Studio, path: str | None):
    """Frames over time, sliders as long as the video, status; or what is wrong with the video."""
    try:
        strip, seconds = studio.preview(path)
    except InputError as error:
        return "", gr.skip(), gr.skip(), render_status(str(error), error=True)
    if not seconds:
        return "", gr.skip(), gr.skip(), render_status("Ready.")
    start = gr.Slider(maximum=round(seconds, 2))
    end = gr.Slider(maximum=round(seconds, 2), value=round(seconds, 2))
    return strip, start, end, render_status(f"The video lasts {seconds:.2f} s.")


def make_form(path: str | None, values: dict) -> Form:
    """A form from the values of the fields; an empty field has its default.

    Raises:
      InputError: a text in place of a number.
    """
    values = values | {"duration": parse_number("The duration", values["duration"])}
    scales = {
        name: parse_number(f"The guidance ({name})", values[name])
        for name in conditions.NAMES
        if name in values
    }
    voices = [values.get(f"voice {number}") for number in range(1, NUM_VOICES + 1)]
    others = {
        name: int(value) if name in INTEGERS else value
        for name, value in values.items()
        if name not in scales and not name.startswith("voice ") and value is not None
    }
    return Form(video=path, voices=voices, scales=scales, **others)


def parse_number(name: str, text: str) -> float | None:
    """The number in a field that may be empty; None for an empty one."""
    if not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise InputError(f"{name} is {text.strip()!r}; this page takes numbers.") from None


def run_form(
    studio: Studio, files: VisitorFiles, visitor: str, path: str | None, values: dict
) -> Iterator[list]:
    """Progress, then the result; an error is a sentence, and leaves an earlier result in place.

    Args:
      studio: that generates.
      files: of the visitors.
      visitor: whose page it is.
      path: the video.
      values: of the other fields by name.

    Yields:
      The status, and the values of the page's results.
    """
    unchanged = [gr.skip()] * NUM_RESULTS
    folder, is_shown = files.make_folder(), False
    try:
        for step in studio.generate(make_form(path, values), folder):
            if isinstance(step, Result):
                files.show(visitor, "result", [folder])
                is_shown = True
                yield [render_status("Done."), *show_result(step)]
            else:
                yield [render_progress(step), *unchanged]
    except InputError as error:
        yield [render_status(str(error), error=True), *unchanged]
    finally:
        if not is_shown:  # an error, or a visitor who left
            delete(folder)


def show_result(result: Result) -> Sequence:
    """The values of the page's results."""
    sounds = [result.sounds.get(task) for task in (BOTH, SPEECH, SOUND)]
    return [
        result.summary,
        gr.Video(_to_name(result.video), visible=result.video is not None),
        *(gr.Audio(_to_name(path), visible=path is not None) for path in sounds),
        result.spectrograms,
        gr.File([str(path) for path in result.files], visible=True),
    ]


def _to_name(path: Path | None) -> str | None:
    return None if path is None else str(path)
