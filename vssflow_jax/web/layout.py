"""The page's layout (Gradio): fields on the left, progress and results on the right."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.reports import html
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.studio import TASKS, Form, Result, Studio

TITLE = "Sound and speech for silent video"
FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
LINE = "start,end,text,voice"
VOICES = 3  # that lines may call by their numbers
WHOLE = ("seed", "candidates", "steps")  # fields of whole numbers


def theme() -> gr.themes.Base:
    """A plain theme whose fonts are the visitor's own: nothing is loaded from elsewhere."""
    return gr.themes.Soft(font=FONT, font_mono=MONO, primary_hue="blue")


def render_status(text: str, *, error: bool = False) -> str:
    """The status line, announced by screen readers."""
    return html.render("status.html", text=text, error=error)


def render_progress(fraction: float) -> str:
    """The status line while the solver runs."""
    return html.render("progress.html", percent=round(100 * fraction))


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio."""
    limits, sample = studio.limits, studio.generator.config.sample
    keep = (max(limits.keep // 4, 1), limits.keep)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=keep) as blocks:
        gr.Markdown(f"# {TITLE}\n{_limits_told(limits)}")
        with gr.Row():
            with gr.Column():
                video, strip, form = _fields(limits, sample, studio.generator.config.model.route)
            with gr.Column():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                status = gr.HTML(render_status("Ready."), elem_id="status")
                shown = _results()
        timed = {name: form[name] for name in ("start", "end")}
        video.change(
            lambda path: _look(studio, path),
            [video],
            [strip, *timed.values(), status],
            show_progress="hidden",
            api_visibility="private",
        )

        def make(path: str | None, *values):
            yield from _make(studio, path, dict(zip(form, values, strict=True)))

        go.click(
            make,
            [video, *form.values()],
            [status, *shown],
            show_progress="minimal",
            show_progress_on=[status],
            concurrency_limit=1,
            concurrency_id="generate",
            api_visibility="private",
        )
    blocks.queue(max_size=limits.queue, default_concurrency_limit=4)
    return blocks


def _limits_told(limits: Limits) -> str:
    return (
        "Drop a video, type what is said, or both. "
        f"Up to {limits.megabytes:g} MB, {limits.seconds:g} s, {limits.side} pixels a side. "
        "Files are deleted from this computer after use."
    )


def _fields(limits: Limits, sample, route: str):
    """The fields: the video, its strip, and the rest by the names of `Form`."""
    video = gr.Video(label="Video", sources=["upload"], height=260, elem_id="video")
    strip = gr.HTML(elem_id="strip")
    form = {
        "task": gr.Radio(list(TASKS), value=TASKS[0], label="Task"),
        "text": gr.Textbox(label="What is said", lines=2, elem_id="text"),
    }
    form["timed"] = gr.Checkbox(label="Choose when the speech starts and ends", value=False)
    with gr.Row():
        top = limits.seconds
        form["start"] = gr.Slider(0, top, 0, step=0.05, label="Speech starts (s)")
        form["end"] = gr.Slider(0, top, 2, step=0.05, label="Speech ends (s)")
    form["voice 1"] = _voice(1, "Voice to imitate: a file or a recording")
    with gr.Row():
        form["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0)
        form["candidates"] = gr.Slider(
            1, limits.candidates, 1, step=1, label="Candidates, best first"
        )
        form["guidance"] = gr.Slider(0, 8, sample.guidance, step=0.1, label="Guidance")
    with gr.Accordion("More", open=False):
        with gr.Row():
            form["steps"] = gr.Slider(1, limits.steps, sample.steps, step=1, label="Steps")
            form["duration"] = gr.Number(None, label="Duration (s); empty: the video's", minimum=0)
        form["lines"] = gr.Textbox(
            label=f"Several utterances instead, a line each: {LINE}",
            lines=3,
            placeholder="0.5,2.0,bin red by k two soon\n3.0,,set blue at g nine now,2",
            elem_id="lines",
        )
        gr.Markdown("The voice is a number; without one it is the voice above.")
        with gr.Row():
            for number in range(2, VOICES + 1):
                form[f"voice {number}"] = _voice(number, f"Voice {number}")
        gr.Markdown("Guidance of single conditions; empty: the one above.")
        with gr.Row():
            for name in conditions.ROUTES[route].used:
                own = sample.scales[name]
                form[name] = gr.Number(
                    own, label=name.capitalize(), minimum=0, maximum=8, step=0.1, min_width=160
                )
    return video, strip, form


def _voice(number: int, label: str) -> gr.Audio:
    return gr.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],  # by default one that sends the voice to another site
        min_width=160,
        elem_id=f"voice{number}",
    )


def _results() -> list[gr.components.Component]:
    """Line, video, three sounds, picture, files."""
    closed = {"interactive": False, "visible": False, "buttons": ["download"]}
    return [
        gr.Markdown(elem_id="line"),
        gr.Video(label="Result", height=360, elem_id="result", **closed),
        gr.Audio(label="Sound", elem_id="whole", **closed),
        gr.Audio(label="Speech alone", elem_id="speech", **closed),
        gr.Audio(label="Other sounds alone", elem_id="sound", **closed),
        gr.HTML(elem_id="picture"),
        gr.File(label="Downloads", file_count="multiple", visible=False, interactive=False,
                elem_id="files"),
    ]  # fmt: skip


def _look(studio: Studio, path: str | None):
    """Strip, sliders as long as the video, status; a wrong video is said so."""
    try:
        strip, seconds = studio.look(path)
    except InputError as error:
        return "", gr.skip(), gr.skip(), render_status(str(error), error=True)
    if not seconds:
        return "", gr.skip(), gr.skip(), render_status("Ready.")
    start = gr.Slider(maximum=round(seconds, 2))
    end = gr.Slider(maximum=round(seconds, 2), value=round(seconds, 2))
    return strip, start, end, render_status(f"The video lasts {seconds:.2f} s.")


def _make(studio: Studio, path: str | None, values: dict) -> Iterator[list]:
    """Progress, then the result; what is wrong in a sentence, with what was shown before kept."""
    nothing = [gr.skip()] * 7
    given = {name: value for name, value in values.items() if value is not None}
    scales = {name: values.get(name) for name in conditions.NAMES if name in values}
    given = {name: value for name, value in given.items() if name not in scales}
    voices = [given.pop(f"voice {number}", None) for number in range(1, VOICES + 1)]
    whole = {name: int(given.pop(name)) for name in WHOLE if name in given}
    form = Form(video=path, voices=voices, scales=scales, **whole, **given)
    try:
        for found in studio.make(form):
            if isinstance(found, Result):
                yield [render_status("Done."), *_shown(found)]
            else:
                yield [render_progress(found), *nothing]
    except InputError as error:
        yield [render_status(str(error), error=True), *nothing]


def _shown(result: Result) -> list:
    stems = [result.stems.get(name) for name in ("speech and sound", "speech", "sound")]
    return [
        result.line,
        gr.Video(_name(result.video), visible=result.video is not None),
        *(gr.Audio(_name(path), visible=path is not None) for path in stems),
        result.picture,
        gr.File([str(path) for path in result.files], visible=True),
    ]


def _name(path) -> str | None:
    return None if path is None else str(path)
