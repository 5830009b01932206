"""The page's layout (Gradio): fields on the left, progress, results and edits on the right."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.flow.grids import GRIDS
from vssflow_jax.flow.solvers import SOLVERS
from vssflow_jax.generation.mixing import ADD, DUCK, REPLACE, MixOptions
from vssflow_jax.generation.sampling import read_student
from vssflow_jax.text.normalize import SKIP
from vssflow_jax.web import api, handlers
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.form import BOTH, FORMATS, TASKS
from vssflow_jax.web.handlers import (
    EXTEND,
    GENERATE,
    NUM_VOICES,
    REDO,
    SPEAKERS,
    TIME_STEP,
    UPLOADS,
    render_status,
)
from vssflow_jax.web.limits import SKIP_LABEL, Limits
from vssflow_jax.web.studio import Studio

TITLE = "Sound and speech for silent video"
FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
LINE = "start,end,text,voice"
MIX_LABELS = {REPLACE: "replaced", ADD: "kept below", DUCK: "kept, quieter while somebody speaks"}
QUIET = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private"}
QUEUE = {"concurrency_limit": 1, "concurrency_id": "generate"}  # one request runs at a time


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
                results, edits, buttons = _make_results()
        seconds = gr.State(None)  # of the video
        fields |= edits
        _connect_uploads(files, {"video": video, **fields})
        _connect_video(studio, files, video, strip, seconds, fields, status)
        _connect_subtitles(studio, files, fields, status)
        _connect_link(blocks, fields, status)
        outputs = [status, results["summary"], fields["seed"]]
        outputs += [part for name, part in results.items() if name != "summary"]
        inputs = {"video": video, **fields, "chosen": results["chosen"]}
        starts = {start: GENERATE, **buttons}
        _connect_buttons(studio, files, starts, cancel, inputs, outputs)
        _connect_candidates(files, results, status)
        api.define_endpoint(studio, files, QUEUE)

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
    fields["voice 1"] = _make_voice("voice1", "Voice to imitate: a file or a recording")
    with gr.Accordion("Subtitles: several speakers, each at their times", open=False):
        fields |= _make_subtitle_fields()
    with gr.Accordion("The video's own sound, loudness", open=False):
        fields |= _make_mix_fields()
    with gr.Row():
        fields["seed"] = gr.Number(0, label="Seed", precision=0)
        fields["candidates"] = gr.Slider(
            1, limits.candidates, 1, step=1, label="Candidates, best first"
        )
        low, high = _find_guidance_range(studio.generator.config)
        fields["guidance"] = gr.Slider(low, high, sample.guidance, step=0.1, label="Guidance")
    with gr.Accordion("More", open=False):
        fields |= _make_more_fields(studio)
    return video, strip, fields


def _find_guidance_range(config) -> tuple[float, float]:
    """The least and the largest guidance scale on offer: of a student, those that it learned."""
    student, own = read_student(config), config.sample.guidance
    low, high = (0, 8) if student is None else (student.min_scale, student.max_scale)
    return min(low, own), max(high, own)


def _make_more_fields(studio: Studio) -> dict[str, gr.components.Component]:
    """The fields that are hidden at first."""
    config, fields = studio.generator.config, {}
    with gr.Row():
        fields["steps"] = gr.Slider(1, studio.max_steps, config.sample.steps, step=1, label="Steps")
        solvers = list(SOLVERS) if read_student(config) is None else [config.sample.solver]
        fields["solver"] = gr.Dropdown(solvers, value=config.sample.solver, label="Solver")
        grids = dict.fromkeys((*GRIDS, config.sample.grid))  # the model's may be a list of times
        fields["grid"] = gr.Dropdown(list(grids), value=config.sample.grid, label="Time grid")
    with gr.Row():
        fields["duration"] = _make_optional_number("Duration (s); empty: the video's")
        fields["format"] = gr.Dropdown(list(FORMATS), value=FORMATS[0], label="Format of the video")
    fields["loop"] = gr.Checkbox(label="Loop: the end joins the start", value=False)
    fields["one_draw"] = gr.Checkbox(
        label="Loop of this seed, not the best of several", value=False
    )
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
            fields[f"voice {number}"] = _make_voice(f"voice{number}", f"Voice {number}")
    fields["prompt_text"] = gr.Textbox(
        label="What the voice to imitate says in its recording; the speech then goes on from it",
        elem_id="prompt_text",
    )
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


def _make_voice(name: str, label: str, *, visible: bool = True) -> gr.Audio:
    return gr.Audio(
        label=label,
        visible=visible,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],  # one of the default buttons sends the voice to another site
        min_width=160,
        elem_id=name,
    )


def _make_subtitle_fields() -> dict[str, gr.components.Component]:
    """A file, and the voices of its speakers, hidden until it names them."""
    fields = {
        "subtitles": gr.File(
            label="Subtitles (.srt, .vtt, .ass), in place of what is said above",
            file_types=[".srt", ".vtt", ".ass", ".ssa"],
            height=110,
            elem_id="subtitles",
        )
    }
    for name in SPEAKERS:
        fields[name] = _make_voice(f"voice-of-{name.replace(' ', '')}", name, visible=False)
    return fields


def _make_mix_fields() -> dict[str, gr.components.Component]:
    """What becomes of the video's own sound, levels, loudness."""
    choices, options = [(label, mode) for mode, label in MIX_LABELS.items()], MixOptions()
    fields = {"mix": gr.Radio(choices, value=REPLACE, label="The video's own sound is")}
    with gr.Row():
        fields["original_level"] = _make_optional_number("Its level (dB)", options.original_level)
        fields["duck_level"] = _make_optional_number("During speech (dB)", options.duck_level)
        fields["generated_level"] = _make_optional_number(
            "The generated sound (dB)", options.generated_level
        )
    fields["loudness"] = _make_optional_number(
        "Loudness of the result (LUFS): -23 for broadcast, -14 for the web; empty: as it is"
    )
    return fields


def _make_results() -> tuple[dict, dict, dict]:
    """Components of the result in the order of `handlers.run_form`; fields and buttons of edits."""
    hidden = {"interactive": False, "visible": False, "buttons": ["download"]}
    results = {
        "summary": gr.HTML(elem_id="summary"),
        "candidates": gr.HTML(elem_id="candidates"),
        "chosen": gr.Radio(
            [], label="Candidate that is shown below, and edited", visible=False, elem_id="chosen"
        ),
        "video": gr.Video(label="Result", height=360, elem_id="result", **hidden),
        "both": gr.Audio(label="Sound", elem_id="both", **hidden),
    }
    timeline = gr.HTML(elem_id="timeline")
    with gr.Column(visible=False, elem_id="edit") as group:
        edits, buttons = _make_edit_fields()
    results |= {
        "speech": gr.Audio(label="Speech alone", elem_id="speech", **hidden),
        "sound": gr.Audio(label="Other sounds alone", elem_id="sound", **hidden),
        "timeline": timeline,
        "spectrograms": gr.HTML(elem_id="spectrograms"),
        "edit": group,
        "redo": edits["redo"],
        "files": gr.File(
            label="Downloads", file_count="multiple", visible=False, interactive=False,
            elem_id="files",
        ),
    }  # fmt: skip
    return results, edits, buttons


def _make_edit_fields() -> tuple[dict, dict]:
    """Fields and buttons that change a result."""
    edits = {
        "redo": gr.Textbox(
            label="Spans to make anew (s); the rest is kept",
            placeholder="1.20:2.40, 3:3.5",
            elem_id="redo",
        ),
        "said": gr.Textbox(
            label="Said there instead; empty: the same words in the span, none in a longer end",
            elem_id="said",
        ),
    }
    with gr.Row():
        redo = gr.Button("Make spans anew", elem_id="redo-button")
    with gr.Row(equal_height=True):
        edits["extend"] = _make_optional_number("Or go on where it ends, up to (s)")
        extend = gr.Button("Extend", elem_id="extend-button")
    return edits, {redo: REDO, extend: EXTEND}


# ---- events -------------------------------------------------------------------------------


def _connect_uploads(files: VisitorFiles, fields) -> None:
    """Deletes the uploads that a page removes or replaces."""
    for slot in UPLOADS:
        fields[slot].change(_make_upload_handler(files, slot), [fields[slot]], **QUIET)


def _make_upload_handler(files: VisitorFiles, slot: str):
    def show_upload(upload: dict | None, request: gr.Request) -> None:
        try:
            path = files.find_upload(upload)
        except InputError:  # the request will say so
            return
        files.show(request.session_hash, slot, [Path(path)] if path else [])

    return show_upload


def _connect_video(studio: Studio, files: VisitorFiles, video, strip, seconds, fields, status):
    """Previews the video; keeps the sliders for times within the clip."""
    times = [fields[name] for name in ("duration", "start", "end", "timed")]
    sliders = [fields["start"], fields["end"]]

    def change_video(upload: dict | None, *values):
        return handlers.preview(studio, files, upload, *values)

    def change_duration(seconds: float | None, *values):
        return handlers.fit_sliders(studio.limits, seconds, *values)[:2]

    video.change(change_video, [video, *times], [strip, seconds, *sliders, status], **QUIET)
    fields["duration"].blur(change_duration, [seconds, *times], sliders, **QUIET)


def _connect_subtitles(studio: Studio, files: VisitorFiles, fields, status) -> None:
    """Shows a field for the voice of each speaker whom the subtitles name."""

    def change_subtitles(upload: dict | None):
        return handlers.show_speakers(studio, files, upload)

    voices = [fields[name] for name in SPEAKERS]
    fields["subtitles"].change(change_subtitles, [fields["subtitles"]], [*voices, status], **QUIET)


def find_settings(fields) -> dict[str, gr.components.Component]:
    """The fields that a link can have: no files, and nothing of a result."""
    left_out = {*UPLOADS, "redo", "said", "extend", "chosen"}
    return {name: field for name, field in fields.items() if name not in left_out}


def _connect_link(blocks: gr.Blocks, fields, status) -> None:
    """Fills in the settings of a link when the page is opened by it."""
    settings = find_settings(fields)

    def restore(request: gr.Request):
        return handlers.read_link(dict(request.query_params), settings)

    blocks.load(restore, None, [*settings.values(), status], **QUIET)


def _connect_candidates(files: VisitorFiles, results, status) -> None:
    """Shows the candidate that is chosen."""

    def choose(number: int, request: gr.Request):
        return handlers.choose_candidate(files, request.session_hash, number)

    names = ("video", "both", "speech", "sound", "timeline", "spectrograms")
    view = [results[name] for name in names]
    results["chosen"].input(choose, [results["chosen"]], [status, *view], **QUIET)


def _connect_buttons(studio: Studio, files: VisitorFiles, starts, cancel, fields, outputs) -> None:
    """Generates, edits and cancels. One request of a page runs or waits at a time."""
    options, status = {**QUIET, "queue": False}, outputs[0]
    defaults = {name: field.value for name, field in find_settings(fields).items()}

    def make_handler(action: str):
        def run(request: gr.Request, *values):
            named = dict(zip(fields, values, strict=True))
            link = handlers.make_link(named, defaults)
            visitor = request.session_hash
            yield from handlers.run_form(studio, files, visitor, named, action, link)

        return run

    def stop(shown: str, request: gr.Request):
        return handlers.cancel(studio, request.session_hash, shown)

    requests = []
    for button, action in starts.items():
        button.click(lambda: gr.update(interactive=True), None, [cancel], **options)
        running = button.click(
            make_handler(action),
            list(fields.values()),
            outputs,
            preprocess=False,
            show_progress="minimal",
            show_progress_on=[status],
            api_visibility="private",
            **QUEUE,
        )
        running.then(lambda: gr.update(interactive=False), None, [cancel], **options)
        requests.append(running)
    # The studio stops a request that runs; Gradio drops one that waits in its queue.
    cancel.click(stop, [status], [status, cancel], cancels=requests, **options)
