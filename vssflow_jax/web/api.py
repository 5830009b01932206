"""The page's call for programs, such as `gradio_client`."""

from __future__ import annotations

import logging
import numbers
import sys
from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from vssflow_jax.common.errors import InputError
from vssflow_jax.config.rules import Rule
from vssflow_jax.generation.background import Stopped
from vssflow_jax.generation.mixing import MixOptions
from vssflow_jax.web.files import VisitorFiles, delete
from vssflow_jax.web.form import BOTH, FORMATS, Form
from vssflow_jax.web.handlers import CANCELLED
from vssflow_jax.web.limits import describe_failure
from vssflow_jax.web.results import Result, to_words
from vssflow_jax.web.studio import Studio

LOG = logging.getLogger(__name__)
SLOT = "call"  # of a visitor's files
MAX_NUMBER = sys.float_info.max


def _is_number(value: object) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and -MAX_NUMBER <= value <= MAX_NUMBER


TEXT = Rule("a text", lambda value: isinstance(value, str))
SWITCH = Rule("true or false", lambda value: isinstance(value, bool))
NUMBER = Rule("a number", _is_number)
WHOLE_NUMBER = Rule("a whole number", lambda value: _is_number(value) and value == int(value))
UPLOAD = Rule(
    "an uploaded file",
    lambda value: isinstance(value, Mapping) and isinstance(value.get("path"), str),
)
UPLOADS = Rule(
    "a list of uploaded files",
    lambda value: isinstance(value, list) and all(map(or_null(UPLOAD).holds, value)),
)


def define_endpoint(studio: Studio, files: VisitorFiles, queue: Mapping) -> None:
    """Adds `/generate` to the page that is being built.

    Args:
      studio: that generates.
      files: of the visitors.
      queue: in which the page's requests wait.
    """

    def generate(
        request: gr.Request,
        text: str = "",
        video: gr.FileData | None = None,
        voice: gr.FileData | None = None,
        subtitles: gr.FileData | None = None,
        speakers: list[gr.FileData] | None = None,
        task: str = BOTH,
        duration: float | None = None,
        loop: bool = False,
        one_draw: bool = False,
        mix: str = MixOptions.mode,
        loudness: float | None = None,
        keep: gr.FileData | None = None,
        redo: str = "",
        extend: float | None = None,
        said: str = "",
        seed: int = 0,
        candidates: int = 1,
        steps: int | None = None,
        guidance: float | None = None,
        format: str = FORMATS[0],
    ) -> tuple[list[gr.FileData], dict]:
        """Generates; see docs/app.md for the arguments. Returns all files, and a report."""
        visitor = request.session_hash
        with files.open_result() as folder:
            try:
                texts = {"text": text, "task": task, "mix": mix, "redo": redo, "said": said}
                check_values(texts | {"format": format}, TEXT)
                check_values({"loop": loop, "one_draw": one_draw}, SWITCH)
                check_values({"seed": seed, "candidates": candidates}, WHOLE_NUMBER)
                check_values({"steps": steps}, or_null(WHOLE_NUMBER))
                optional = {"duration": duration, "loudness": loudness, "extend": extend}
                check_values(optional | {"guidance": guidance}, or_null(NUMBER))
                files_by_name = {
                    "video": video,
                    "voice": voice,
                    "subtitles": subtitles,
                    "keep": keep,
                }
                check_values(files_by_name, or_null(UPLOAD))
                check_values({"speakers": speakers}, or_null(UPLOADS))
                if keep is None:
                    edit = {"redo": redo.strip(), "said": said.strip(), "extend": extend}
                    check_absent(edit, "keep")
                if subtitles is None:
                    check_absent({"speakers": speakers}, "subtitles")
                uploads = [find_upload(files, *item) for item in files_by_name.items()]
                uploads += [find_upload(files, "speakers", x) for x in speakers or ()]
                files.show(visitor, SLOT, [folder, *(Path(x) for x in uploads if x)])
                video, voice, subtitles, keep, *speakers = uploads
                form = Form(
                    text=text,
                    video=video,
                    voices=[voice],
                    subtitles=subtitles,
                    speakers=speakers,
                    task=task,
                    duration=duration,
                    loop=loop,
                    one_draw=one_draw,
                    mix=MixOptions(mode=mix, loudness=loudness),
                    keep=keep,
                    redo=redo,
                    extend=extend,
                    said=said,
                    seed=int(seed),
                    candidates=int(candidates),
                    steps=None if steps is None else int(steps),
                    guidance=guidance,
                    format=format,
                )
                *_, result = studio.generate(form, folder, visitor)
            except Exception as error:
                delete(folder)
                raise gr.Error(describe_error(error), print_exception=False) from error
        return [describe_file(path) for path in result.files], describe_result(result)

    gr.api(generate, api_name="generate", **queue)


def or_null(rule: Rule) -> Rule:
    """What a rule allows, or None."""
    return Rule(f"{rule.expected} or null", lambda value: value is None or rule.holds(value))


def check_values(values: Mapping[str, object], rule: Rule) -> None:
    """Raises an InputError for the first value of a call that is not allowed."""
    for name, value in values.items():
        if not rule.holds(value):
            raise InputError(f"{name}: found {value!r:.40}, expected {rule.expected}")


def check_absent(values: Mapping[str, object], missing: str) -> None:
    """Raises an InputError if there are values that have no effect where another is missing."""
    names = [name for name, value in values.items() if value not in (None, "", [])]
    if names:
        raise InputError(f"{', '.join(names)}: found without {missing}, expected with it")


def find_upload(files: VisitorFiles, name: str, upload: Mapping | None) -> str | None:
    """The path of an upload; an error names the value that describes it."""
    try:
        return files.find_upload(upload)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def describe_error(error: Exception) -> str:
    """A sentence on what ended a call; the server's log has the trace of its failures."""
    if isinstance(error, Stopped):
        return CANCELLED
    if isinstance(error, InputError):
        return str(error)
    LOG.exception("a call failed", exc_info=error)
    return describe_failure(error)


def describe_file(path: Path) -> dict:
    """A file as Gradio describes it to its clients."""
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def describe_result(result: Result) -> dict:
    """What a call returns beside its files, as JSON: words with their times, scores, notes."""
    candidates = [
        {
            "file": (candidate.video or candidate.kept).name,
            "seed": candidate.report["seed"],
            "scores": candidate.report.get("scores", {}),
            "transcripts": list(candidate.report.get("transcripts", ())),
        }
        for candidate in result.candidates
    ]
    return {
        "summary": result.summary,
        "notes": list(result.notes),
        "candidates": candidates,
        "words": to_words(result.candidates[0].utterances),
    }
