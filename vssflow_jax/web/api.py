"""The page's call for programs, such as `gradio_client`."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Mapping
from pathlib import Path

import gradio as gr

from vssflow_jax.common.errors import InputError
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
                check_types(texts | {"format": format}, str, "a text")
                check_types({"seed": seed, "candidates": candidates}, numbers.Real, "a number")
                optional = {"duration": duration, "loudness": loudness, "extend": extend}
                optional |= {"steps": steps, "guidance": guidance}
                check_types(optional, numbers.Real | None, "a number or null")
                if keep is None and (redo.strip() or said.strip()):
                    raise InputError("redo, said: found without keep, expected a sound to keep")
                uploads = [files.find_upload(x) for x in (video, voice, subtitles, keep)]
                uploads += [files.find_upload(x) for x in speakers or ()]
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
                    seed=seed,
                    candidates=candidates,
                    steps=steps,
                    guidance=guidance,
                    format=format,
                )
                *_, result = studio.generate(form, folder, visitor)
            except Exception as error:
                delete(folder)
                raise gr.Error(describe_error(error), print_exception=False) from error
        return [describe_file(path) for path in result.files], describe_result(result)

    gr.api(generate, api_name="generate", **queue)


def check_types(values: Mapping[str, object], kind: object, expected: str) -> None:
    """Raises an InputError for the first value of a call that is of no such kind."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise InputError(f"{name}: found {value!r:.40}, expected {expected}")


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
