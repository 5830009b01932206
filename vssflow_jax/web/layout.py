"""The page's layout (Gradio): fields on the left, progress and results on the right."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from vssflow_jax import conditions
from vssflow_jax.flow.grids import GRIDS
from vssflow_jax.flow.solvers import SOLVERS
from vssflow_jax.text.normalize import SKIP
from vssflow_jax.web import handlers
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.handlers import NUM_VOICES, TIME_STEP, read_path, render_status
from vssflow_jax.web.limits import SKIP_LABEL, Limits
from vssflow_jax.web.studio import BOTH, FORMATS, TASKS, Studio

TITLE = "Sound and speech for silent video"
FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
LINE = "start,end,text,voice"


def make_theme() -> gr.themes.Base:
    """A plain theme with the visitor's own fonts: nothing is loaded from elsewhere."""
    return gr.themes.Soft(font=FONT, font_mono=MONO, primary_hue="blue")


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
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", elem_id="generate")
                    cancel = gr.Button("Cancel", interactive=False, elem_id="cancel")
                status = gr.HTML(render_status("Ready."), elem_id="status")
                results = _make_results()
        seconds = gr.State(None)  # of the video
        _connect_uploads(files, video, fields)
        _connect_times(studio, video, strip, seconds, fields, status)
        inputs = {"video": video, **fields}
        _connect_buttons(studio, files, (start, cancel), inputs, [status, *results])

        def forget_visitor(request: gr.Request) -> None:
            studio.cancel(request.session_hash)
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
        fields["start"] = gr.Slider(0, longest, 0, step=TIME_STEP, label="Speech starts (s)")
        fields["end"] = gr.Slider(0, longest, 2, step=TIME_STEP, label="Speech ends (s)")
    fields["voice 1"] = _make_voice(1, "Voice to imitate: a file or a recording")
    with gr.Row():
        fields["seed"] = gr.Number(0, label="Seed", precision=0)
        fields["candidates"] = gr.Slider(
            1, limits.candidates, 1, step=1, label="Candidates, best first"
        )
        fields["guidance"] = gr.Slider(
            min(0, sample.guidance), max(8, sample.guidance), sample.guidance, step=0.1,
            label="Guidance",
        )  # fmt: skip
    with gr.Accordion("More", open=False):
        fields |= _make_more_fields(studio)
    return video, strip, fields


def _make_more_fields(studio: Studio) -> dict[str, gr.components.Component]:
    """The fields that are hidden at first."""
    config, fields = studio.generator.config, {}
    with gr.Row():
        fields["steps"] = gr.Slider(1, studio.max_steps, config.sample.steps, step=1, label="Steps")
        fields["solver"] = gr.Dropdown(list(SOLVERS), value=config.sample.solver, label="Solver")
        grids = dict.fromkeys((*GRIDS, config.sample.grid))  # the model's may be a list of times
        fields["grid"] = gr.Dropdown(list(grids), value=config.sample.grid, label="Time grid")
    with gr.Row():
        fields["duration"] = _make_optional_number("Duration (s); empty: the video's")
        fields["format"] = gr.Dropdown(list(FORMATS), value=FORMATS[0], label="Format of the video")
    fields["skips"] = gr.Checkbox(label=SKIP_LABEL, value=studio.text_policy == SKIP)
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
    fields["audio_track"] = _make_optional_number(
        "Audio track of the voices' files, from 1; empty: the default one of each"
    )
    gr.Markdown("Guidance of single conditions; empty: the common guidance above; 0 is 0.")
    with gr.Row():
        for name in conditions.ROUTES[config.model.route].used:
            fields[name] = _make_optional_number(name.capitalize(), config.sample.scales[name])
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
        gr.HTML(elem_id="summary"),
        gr.Video(label="Result", height=360, elem_id="result", **hidden),
        gr.Audio(label="Sound", elem_id="both", **hidden),
        gr.Audio(label="Speech alone", elem_id="speech", **hidden),
        gr.Audio(label="Other sounds alone", elem_id="sound", **hidden),
        gr.HTML(elem_id="spectrograms"),
        gr.File(label="Downloads", file_count="multiple", visible=False, interactive=False,
                elem_id="files"),
    ]  # fmt: skip


# ---- events -------------------------------------------------------------------------------


def _connect_uploads(files: VisitorFiles, video, fields) -> None:
    """Deletes the uploads that a page removes or replaces."""
    uploads = {name: field for name, field in fields.items() if name.startswith("voice ")}
    for slot, field in {"video": video, **uploads}.items():
        field.change(
            _make_upload_handler(files, slot),
            [field],
            preprocess=False,
            show_progress="hidden",
            api_visibility="private",
        )


def _make_upload_handler(files: VisitorFiles, slot: str):
    def show_upload(upload: dict | None, request: gr.Request) -> None:
        path = read_path(upload)
        files.show(request.session_hash, slot, [Path(path)] if path else [])

    return show_upload


def _connect_times(studio: Studio, video, strip, seconds, fields, status) -> None:
    """Previews the video; keeps the sliders for times within the clip."""
    times = [fields[name] for name in ("duration", "start", "end", "timed")]
    sliders = [fields["start"], fields["end"]]

    def change_video(upload: dict | None, *values):
        return handlers.preview(studio, read_path(upload), *values)

    def change_duration(seconds: float | None, *values):
        return handlers.fit_sliders(studio.limits, seconds, *values)[:2]

    quiet = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
    video.change(change_video, [video, *times], [strip, seconds, *sliders, status], **quiet)
    fields["duration"].blur(change_duration, [seconds, *times], sliders, **quiet)


def _connect_buttons(studio: Studio, files: VisitorFiles, buttons, fields, outputs) -> None:
    """Generates and cancels. One request of a page runs or waits at a time."""
    (start, cancel), status = buttons, outputs[0]
    options = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

    def generate(request: gr.Request, *values):
        named = dict(zip(fields, values, strict=True))
        yield from handlers.run_form(studio, files, request.session_hash, named)

    def stop(request: gr.Request):
        studio.cancel(request.session_hash)
        return render_status(handlers.CANCELLED), gr.update(interactive=False)

    start.click(lambda: gr.update(interactive=True), None, [cancel], **options)
    running = start.click(
        generate,
        list(fields.values()),
        outputs,
        preprocess=False,
        show_progress="minimal",
        show_progress_on=[status],
        concurrency_limit=1,
        concurrency_id="generate",
        api_visibility="private",
    )
    running.then(lambda: gr.update(interactive=False), None, [cancel], **options)
    # The studio stops a request that runs; Gradio drops one that waits in its queue.
    cancel.click(stop, None, [status, cancel], cancels=[running], **options)
