"""The page's work: from a form to progress and a result."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.generation.conditioning import STEMS
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import load_recognizer, rerank
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions
from vssflow_jax.reports import html, plots
from vssflow_jax.text.normalize import REFUSE
from vssflow_jax.text.script import Utterance, parse_script
from vssflow_jax.web.limits import Limits, format_error

BOTH, SPEECH, SOUND = "speech and sound", "speech", "sound"
TASKS = (BOTH, SPEECH, SOUND)
NUM_STILLS = 8  # frames of the video over time
MAX_GUIDANCE = 20
POLL_SECONDS = 0.2  # between two checks of a running generation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """The fields that a visitor filled in; files are paths on the server.

    Attributes:
      video: upload.
      text: what is said.
      lines: several utterances instead, a line each; they name voices by number.
      timed: whether `start` and `end`, seconds, apply to the text.
      voices: uploads, numbered from 1; the first is also the voice of lines without a number.
      task: one of TASKS.
      duration: seconds; None: the video's.
      steps: of the solver.
      guidance: scale of all conditions.
      scales: of single conditions; where None, `guidance`.
      seed: of the first candidate; the others count on.
      candidates: how many, best first.
    """

    video: str | None = None
    text: str = ""
    lines: str = ""
    timed: bool = False
    start: float = 0.0
    end: float = 0.0
    voices: Sequence[str | None] = ()
    task: str = BOTH
    duration: float | None = None
    steps: int | None = None
    guidance: float | None = None
    scales: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    seed: int = 0
    candidates: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What the page shows of a request.

    Attributes:
      video: the video with its sound, or None.
      sounds: wav files by task.
      files: everything that can be downloaded.
      spectrograms: HTML.
      summary: conditions used and missing, scores.
    """

    video: Path | None
    sounds: Mapping[str, Path]
    files: Sequence[Path]
    spectrograms: str
    summary: str


class Studio:
    """Generates what forms ask for, one request at a time.

    Args:
      generator: the model.
      limits: of files and fields.
      text_policy: of characters that cannot be read (text.normalize).
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

    def preview(self, video: str | None) -> tuple[str, float]:
        """Frames of a video over time as HTML, and its seconds.

        Raises:
          InputError: a sentence on what is wrong with the video.
        """
        if video is None:
            return "", 0.0
        with request_folder() as folder, plain_errors(folder):
            path = copy_upload(video, folder / "video", self.limits, "The video")
            seconds = self.limits.check_video(path).duration
            frames = media.read_video(path, rate=max(NUM_STILLS / seconds, 0.1)).frames
            strip = plots.plot_strip(frames[:NUM_STILLS], seconds)
            image = html.embed_image(strip, "Frames of the video over time", "image/jpeg")
            return html.render("image.html", image=image), seconds

    def generate(self, form: Form, out: Path) -> Iterator[float | Result]:
        """Progress from 0 to 1, then the result.

        Copies of the uploads are deleted when the iterator ends, by itself, by an error or early.

        Args:
          form: the fields.
          out: an empty folder for the result's files.

        Raises:
          InputError: a sentence on the first thing that is wrong.
        """
        with request_folder() as folder, plain_errors(folder, out):
            request = self.parse_form(form, folder)
            self._check_numbers(form)
            messages: queue.Queue = queue.Queue()
            work = threading.Thread(target=self._run, args=(messages, request, form))
            work.start()
            try:
                outputs = yield from _read_progress(messages, work)
            finally:
                work.join()
            yield save_result(outputs, out, uploads=folder)

    def parse_form(self, form: Form, folder: Path) -> Request:
        """The request of a form, with copies of its files in `folder`."""
        if form.task not in TASKS:
            raise InputError(f"The task is {form.task!r}; this page knows {', '.join(TASKS)}.")
        self.limits.check_text(form.text)
        self.limits.check_text(form.lines)
        video = None
        if form.video is not None:
            video = copy_upload(form.video, folder / "video", self.limits, "The video")
            self.limits.check_video(video)
        voices = self._copy_voices(form.voices, folder / "voice")
        script = []
        if form.task != SOUND:
            script = parse_utterances(form, folder / "voice", voices.values())
        if form.task == SPEECH and not script:
            raise InputError("There is no text; speech needs one.")
        if video is None and not script:
            raise InputError("There is neither a video nor a text; at least one is needed.")
        return Request.parse(
            video,
            script=script,
            speaker=voices.get(1),
            duration=form.duration,
            task="speech" if form.task == SPEECH else None,
            text_policy=self.text_policy,
        )

    def _copy_voices(self, uploads: Sequence[str | None], folder: Path) -> dict[int, Path]:
        """Copies of voices by their numbers, which are also their names in `folder`."""
        folder.mkdir()
        return {
            number: copy_upload(upload, folder / str(number), self.limits, f"Voice {number}")
            for number, upload in enumerate(uploads, 1)
            if upload is not None
        }

    def _check_numbers(self, form: Form) -> None:
        check, limits = self.limits.check_number, self.limits
        check("The duration", form.duration, 0, limits.seconds)
        check("The number of steps", form.steps, 1, limits.steps)
        check("The number of candidates", form.candidates, 1, limits.candidates)
        check("The seed", form.seed, 0, NUM_SEEDS - limits.candidates)
        for name, value in {"guidance": form.guidance, **form.scales}.items():
            check(f"The guidance ({name})", value, 0, MAX_GUIDANCE)

    def _run(self, messages: queue.Queue, request: Request, form: Form) -> None:
        """Generates in its own thread; puts fractions, then outputs or an error."""
        options = SamplingOptions(steps=form.steps, guidance=form.guidance, scales=form.scales)
        seeds = [form.seed + number for number in range(form.candidates)]
        try:
            with self._lock:
                outputs = self.generator.generate_candidates(
                    request, seeds, options, stems=True, progress=messages.put
                )
            if len(outputs) > 1:
                outputs = rerank(outputs, request, self.generator.encoder_set, self.recognizer)
            messages.put(outputs)
        except Exception as error:
            messages.put(error)


# ---- requests -----------------------------------------------------------------------------


@contextlib.contextmanager
def request_folder() -> Iterator[Path]:
    """A folder for the copies of a request's uploads; deleted at the end, however it comes."""
    with tempfile.TemporaryDirectory(prefix="vssflow-") as name:
        yield Path(name)


@contextlib.contextmanager
def plain_errors(*folders: Path) -> Iterator[None]:
    """Errors as a visitor understands them: in a sentence, without the names of the folders."""
    try:
        yield
    except InputError as error:
        raise InputError(format_error(error, folders)) from None


def copy_upload(upload: str, path: Path, limits: Limits, name: str) -> Path:
    """Copies an upload into a request's folder, under the server's own name."""
    source = Path(upload)
    if not source.is_file():
        raise InputError(f"{name} is no longer there; please choose it again.")
    limits.check_file(source, name)
    shutil.copyfile(source, path)
    return path


def parse_utterances(form: Form, folder: Path, voices: Collection[Path]) -> list[Utterance]:
    """The utterances of a form; its lines can name no files but the voices in `folder`."""
    if form.lines.strip():
        script = parse_script(form.lines, "The lines", folder, header=False)
        for utterance in script:
            if utterance.speaker not in (None, *voices):
                raise InputError(
                    f"{utterance.location}: found voice {utterance.speaker.name!r}, expected the "
                    "number of one of the voices"
                )
        return script
    start, end = (form.start, form.end) if form.timed else (None, None)
    return [Utterance(text=form.text, start=start, end=end)] if form.text.strip() else []


def _read_progress(messages: queue.Queue, work: threading.Thread) -> Iterator[float]:
    """Yields the fractions that a worker puts; returns its outputs or raises its error."""
    yield 0.0
    while True:
        try:
            message = messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if not work.is_alive():
                raise RuntimeError("the generation ended without a result") from None
            continue
        if isinstance(message, Exception):
            raise message
        if not isinstance(message, float):
            return message
        yield message


# ---- results ------------------------------------------------------------------------------


def save_result(outputs: Sequence[Output], folder: Path, uploads: Path) -> Result:
    """Files, spectrograms and summary of outputs, best first; `uploads` has the request's files."""
    best, files = outputs[0], []
    for number, output in enumerate(outputs, 1):
        name = "result" if number == 1 else f"candidate{number}"
        files += save_output(output, folder / name)
    sounds = {BOTH: folder / "result.wav"}
    sounds |= {stem: folder / f"result.{stem}.wav" for stem in best.stems if len(best.stems) > 1}
    video = next((path for path in files if best.video and path.stem == "result"), None)
    return Result(
        video=video,
        sounds=sounds,
        files=files,
        spectrograms=render_spectrograms(best),
        summary=summarize(outputs, uploads),
    )


def save_output(output: Output, path: Path) -> list[Path]:
    """Writes an output under a name without ending: an mp4, or a wav without a video."""
    return output.save(path.with_suffix(".wav" if output.video is None else ".mp4"))


def render_spectrograms(output: Output) -> str:
    """Spectrograms as HTML: of the wave, and of its stems where there are several.

    Phonemes are marked where they are a condition of the sound.
    """
    phonemes, seconds = output.report["alignment"], output.report["duration"]
    plotted = {"Result": (output.wave, phonemes)}
    if len(output.stems) > 1:
        for stem, wave in output.stems.items():
            marks = phonemes if "phonemes" in STEMS[stem] else ()
            plotted[f"{stem.capitalize()} alone"] = wave, marks
    mels = log_mels(
        [to_mono(wave, output.sample_rate, SAMPLE_RATE) for wave, _ in plotted.values()]
    )
    levels = plots.find_levels(*mels)
    figures = []
    for (caption, (_, marks)), mel in zip(plotted.items(), mels, strict=True):
        spectrogram = plots.plot_spectrogram(mel, seconds, levels, marks)
        image = html.embed_image(spectrogram, f"Spectrogram: {caption}")
        figures.append(html.Figure(caption=caption, image=image))
    return html.render("spectrograms.html", figures=figures)


def summarize(outputs: Sequence[Output], uploads: Path) -> str:
    """Duration, conditions and warnings of the outputs, and the candidates' scores.

    Warnings call the files in `uploads` by their roles.
    """
    report = outputs[0].report
    used, missing = (", ".join(report[key]) or "none" for key in ("used", "missing"))
    parts = [f"{report['duration']:.2f} s. Conditions used: {used}; missing: {missing}."]
    notes = [format_error(InputError(warning), [uploads]) for warning in report["warnings"]]
    parts += [f"Note: {note}." for note in notes]
    if len(outputs) > 1:
        ranks = [
            f"seed {output.report['seed']}"
            + "".join(f", {name} {value:.2f}" for name, value in output.report["scores"].items())
            for output in outputs
        ]
        parts.append(f"Best first: {'; '.join(ranks)}.")
    return " ".join(parts)
