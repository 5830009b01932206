"""The page's work: from a form to progress and a result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.generation.background import BackgroundGeneration
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import load_recognizer, rerank
from vssflow_jax.generation.synthesis import Progress
from vssflow_jax.reports import html, plots
from vssflow_jax.text.normalize import REFUSE
from vssflow_jax.web.files import delete
from vssflow_jax.web.form import (
    Form,
    can_have_stems,
    copy_upload,
    list_speakers,
    parse_form,
    plain_errors,
    request_folder,
)
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.results import Result, save_result, to_sentences

NUM_STILLS = 8  # frames of the video over time


class Studio:
    """Generates what forms ask for, one request at a time.

    Args:
      generator: the model.
      limits: of files and fields.
      text_policy: of characters that cannot be read, where a form does not say it.
      recognizer: ranks candidates, a name that `asr.load` knows; None: its default.

    Raises:
      InputError: the recognizer is not usable.
    """

    def __init__(
        self,
        generator: Generator,
        limits: Limits | None = None,
        text_policy: str = REFUSE,
        recognizer: str | None = None,
    ):
        self.generator = generator
        self.recognizer = load_recognizer(recognizer)
        self.text_policy = text_policy
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._visitors: dict[BackgroundGeneration[Result], str] = {}

    def preview(self, video: str | None) -> tuple[str, float, list[str]]:
        """Frames of a video over time as HTML, its seconds, and sentences on missing pictures.

        Raises:
          InputError: a sentence on what is wrong with the video.
        """
        if video is None:
            return "", 0.0, []
        with request_folder() as folder, plain_errors(folder):
            path = copy_upload(video, folder / "video", self.limits, "The video")
            seconds = self.limits.check_video(path).duration
            frames = media.read_video(path, rate=max(NUM_STILLS / seconds, 0.1))
            strip = plots.plot_strip(frames.frames[:NUM_STILLS], seconds)
            image = html.embed_image(strip, "Frames of the video over time", "image/jpeg")
            return (
                html.render("image.html", image=image),
                seconds,
                to_sentences(frames.notes, folder),
            )

    def list_speakers(self, subtitles: str) -> list[str]:
        """The names of the speakers of subtitles.

        Raises:
          InputError: a sentence on what is wrong with the file.
        """
        with request_folder() as folder, plain_errors(folder):
            path = copy_upload(subtitles, folder / "subtitles", self.limits, "The subtitles")
            return list_speakers(path)

    def generate(self, form: Form, out: Path, visitor: str = "") -> Iterator[float | Result]:
        """Progress from 0 to 1, then the result.

        When the iterator is closed early, or by `cancel`, the solver stops after its step. Copies
        of the uploads are deleted when the work has ended, and with them a result without reader.

        Args:
          form: the fields.
          out: an empty folder for the result's files.
          visitor: whose request it is.

        Raises:
          InputError: a sentence on the first thing that is wrong.
          Stopped: it was cancelled.
        """
        running: BackgroundGeneration[Result]

        def work(report: Progress) -> Result:
            try:
                return self._fulfill(form, out, report)
            finally:
                self._visitors.pop(running)

        running = BackgroundGeneration(work)
        self._visitors[running] = visitor
        try:
            yield from running
            yield running.result
        finally:
            running.stop()

    def cancel(self, visitor: str) -> None:
        """Stops the request of a visitor, if there is one; returns at once."""
        for running, owner in list(self._visitors.items()):
            if owner == visitor:
                running.stop()

    def close(self) -> None:
        """Stops all requests, and waits until their files are deleted."""
        for running in list(self._visitors):
            running.stop()
            running.join()

    def _fulfill(self, form: Form, out: Path, report: Progress) -> Result:
        """The result of a form; the report raises an exception once the request is cancelled."""
        try:
            with request_folder() as folder, plain_errors(folder, out):
                report(0.0)
                form.check(self.limits, self.max_steps)
                request, notes = parse_form(form, folder, self.limits, self.text_policy)
                outputs = self._generate_outputs(request, form, report)
                result = save_result(outputs, form.mix, out, folder, form.format, notes)
                report(1.0)
            return result
        except BaseException:
            delete(out)
            raise

    @property
    def max_steps(self) -> int:
        """Most solver steps; the model's own number is always among them."""
        return max(self.limits.steps, self.generator.config.sample.steps)

    def _generate_outputs(self, request: Request, form: Form, report: Progress) -> list[Output]:
        """Outputs, best first; they wait until the request before has ended."""
        with self._lock:
            arguments = {"stems": can_have_stems(request), "progress": report}
            if form.candidates == 1 and not form.one_draw:
                return [self.generator.generate(request, form.seed, form.sampling, **arguments)]
            outputs = self.generator.generate_candidates(
                request, form.seeds, form.sampling, **arguments
            )
            if len(outputs) == 1:
                return outputs
            return rerank(outputs, request, self.generator.encoder_set, self.recognizer)
