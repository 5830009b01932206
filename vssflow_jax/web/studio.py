"""The page's work: from a form to progress and a result."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.generation.background import BackgroundGeneration
from vssflow_jax.generation.conditioning import round_to_frames
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.provenance import describe_origin
from vssflow_jax.generation.request import MAX_SECONDS, Request
from vssflow_jax.generation.reranking import load_recognizer, rerank
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions
from vssflow_jax.generation.stems import STEMS
from vssflow_jax.generation.synthesis import Progress
from vssflow_jax.media.writing import CONTAINERS
from vssflow_jax.reports import html, plots
from vssflow_jax.text.normalize import REFUSE
from vssflow_jax.text.script import Utterance, parse_script
from vssflow_jax.web.files import delete
from vssflow_jax.web.limits import Limits, fit_times, format_error

BOTH, SPEECH, SOUND = "speech and sound", "speech", "sound"
TASKS = (BOTH, SPEECH, SOUND)
NUM_STILLS = 8  # frames of the video over time
MAX_GUIDANCE = 20
FORMATS = tuple(suffix.removeprefix(".") for suffix in CONTAINERS)  # of the result's video
PLAYABLE = ".mp4"
PLAYABLE_CODECS = frozenset({"h264", "av1", "vp9"})  # that all common browsers show in an mp4
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")  # that a copy of an upload may have


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
      audio_track: of the voices' files, from 1; None: the default one of each.
      text_policy: of characters that cannot be read; None: the server's.
      format: of the result's video, one of FORMATS.
      duration: seconds; None: the video's.
      solver: its name.
      grid: name of the solver's times.
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
    audio_track: int | None = None
    text_policy: str | None = None
    format: str = FORMATS[0]
    duration: float | None = None
    solver: str | None = None
    grid: str | None = None
    steps: int | None = None
    guidance: float | None = None
    scales: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    seed: int = 0
    candidates: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What the page shows of a request.

    Attributes:
      video: the video with its sound, which browsers can play, or None.
      sounds: wav files by task.
      files: everything that can be downloaded.
      spectrograms: HTML.
      summary: conditions used and missing, scores.
      notes: what is left out, changed or doubtful, a sentence each.
    """

    video: Path | None
    sounds: Mapping[str, Path]
    files: Sequence[Path]
    spectrograms: str
    summary: str
    notes: Sequence[str] = ()


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
                request, notes = self.parse_form(form, folder)
                outputs = self._generate_outputs(request, form, report)
                result = save_result(outputs, out, folder, form.format, notes)
                report(1.0)
            return result
        except BaseException:
            delete(out)
            raise

    def parse_form(self, form: Form, folder: Path) -> tuple[Request, list[str]]:
        """The request of a form, with copies of its files in `folder`; what had to change.

        Raises:
          InputError: a sentence on the first thing that is wrong.
        """
        if form.task not in TASKS:
            raise InputError(f"The task is {form.task!r}; this page knows {', '.join(TASKS)}.")
        if form.format not in FORMATS:
            names = ", ".join(FORMATS)
            raise InputError(f"The format is {form.format!r}; this page knows {names}.")
        self.limits.check_text(form.text)
        self.limits.check_text(form.lines)
        self._check_numbers(form)
        video, seconds = None, form.duration
        if form.video is not None:
            video = copy_upload(form.video, folder / "video", self.limits, "The video")
            info = self.limits.check_video(video)
            seconds = seconds or round_to_frames(info.duration)
            media.plan_mux(video, folder / f"out.{form.format}", form.duration)
        voices = self._copy_voices(form.voices, folder / "voice")
        script, notes = [], []
        if form.task != SOUND:
            script, notes = parse_utterances(form, folder / "voice", voices, seconds)
        if form.task == SPEECH and not script:
            raise InputError("There is no text; speech needs one.")
        if video is None and not script:
            raise InputError("There is neither a video nor a text; at least one is needed.")
        request = Request.parse(
            video,
            script=script,
            speaker=voices.get(1),
            audio_track=form.audio_track,
            duration=form.duration,
            task="speech" if form.task == SPEECH else None,
            text_policy=form.text_policy or self.text_policy,
        )
        return request, notes

    def _copy_voices(self, uploads: Sequence[str | None], folder: Path) -> dict[int, Path]:
        """Copies of voices by their numbers, which are also their names in `folder`."""
        folder.mkdir()
        return {
            number: copy_upload(upload, folder / str(number), self.limits, f"Voice {number}")
            for number, upload in enumerate(uploads, 1)
            if upload is not None
        }

    @property
    def max_steps(self) -> int:
        """Most solver steps; the model's own number is always among them."""
        return max(self.limits.steps, self.generator.config.sample.steps)

    def _check_numbers(self, form: Form) -> None:
        check, limits = self.limits.check_number, self.limits
        if form.timed and not form.lines.strip():
            check("The start of the speech", form.start, 0, MAX_SECONDS)
            check("The end of the speech", form.end, 0, MAX_SECONDS)
        check("The duration", form.duration, 0, limits.seconds)
        check("The number of steps", form.steps, 1, self.max_steps)
        check("The number of candidates", form.candidates, 1, limits.candidates)
        check("The seed", form.seed, 0, NUM_SEEDS - limits.candidates)
        for name, value in {"guidance": form.guidance, **form.scales}.items():
            check(f"The guidance ({name})", value, -MAX_GUIDANCE, MAX_GUIDANCE)

    def _generate_outputs(self, request: Request, form: Form, report: Progress) -> list[Output]:
        """Outputs, best first; they wait until the request before has ended."""
        options = SamplingOptions(
            solver=form.solver,
            grid=form.grid,
            steps=form.steps,
            guidance=form.guidance,
            scales=form.scales,
        )
        seeds = [form.seed + number for number in range(form.candidates)]
        with self._lock:
            outputs = self.generator.generate_candidates(
                request, seeds, options, stems=True, progress=report
            )
            if len(outputs) > 1:
                outputs = rerank(outputs, request, self.generator.encoder_set, self.recognizer)
        return outputs


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
    """Copies an upload into a request's folder, under the server's own name and its suffix."""
    source = Path(upload)
    if not source.is_file():
        raise InputError(f"{name} is no longer there; please choose it again.")
    limits.check_file(source, name)
    path = path.with_suffix(source.suffix if SUFFIX.fullmatch(source.suffix) else "")
    shutil.copyfile(source, path)
    return path


def parse_utterances(
    form: Form, folder: Path, voices: Mapping[int, Path], seconds: float | None
) -> tuple[list[Utterance], list[str]]:
    """The utterances of a form, and a line about each time that had to change.

    Lines name voices by their numbers alone, and no other files.

    Args:
      form: the fields.
      folder: of the voices.
      voices: by their numbers.
      seconds: of the clip; None: as long as the text needs.
    """
    if not form.lines.strip():
        if not form.text.strip():
            return [], []
        start, end, notes = (form.start, form.end, []) if form.timed else (None, None, [])
        if seconds is not None:
            start, end, notes = fit_times(start, end, seconds)
        return [Utterance(text=form.text, start=start, end=end)], notes
    script, files = [], {folder / str(number): path for number, path in voices.items()}
    for utterance in parse_script(form.lines, "The lines", folder, header=False):
        if utterance.speaker is not None and utterance.speaker not in files:
            raise InputError(
                f"{utterance.location}: found voice {utterance.speaker.name!r}, expected the "
                "number of one of the voices"
            )
        script.append(dataclasses.replace(utterance, speaker=files.get(utterance.speaker)))
    return script, []


# ---- results ------------------------------------------------------------------------------


def save_result(
    outputs: Sequence[Output], folder: Path, uploads: Path, suffix: str, notes: Sequence[str] = ()
) -> Result:
    """Files, spectrograms and summary of outputs.

    Args:
      outputs: best first.
      folder: for the files.
      uploads: the folder of the request's files, which notes call by their roles.
      suffix: of a video, one of FORMATS.
      notes: about the request.
    """
    best, files = outputs[0], []
    for number, output in enumerate(outputs, 1):
        name = "result" if number == 1 else f"candidate{number}"
        files += output.save(folder / f"{name}.{suffix if output.video else 'wav'}")
    sounds = {BOTH: folder / "result.wav"}
    sounds |= {stem: folder / f"result.{stem}.wav" for stem in best.stems if len(best.stems) > 1}
    warnings = [*notes, *(warning for output in outputs for warning in output.report["warnings"])]
    return Result(
        video=make_playable(best, files[0], folder) if best.video else None,
        sounds=sounds,
        files=files,
        spectrograms=render_spectrograms(best),
        summary=summarize(outputs),
        notes=to_sentences(warnings, uploads, folder),
    )


def to_sentences(notes: Sequence[str], *folders: Path) -> list[str]:
    """Notes as the page shows them: each once, files in the folders by their roles."""
    sentences = (format_error(InputError(note), folders) for note in notes)
    return [sentence.removesuffix(".") + "." for sentence in dict.fromkeys(sentences)]


def make_playable(output: Output, path: Path, folder: Path) -> Path:
    """The output's file at `path` if browsers play it, else a copy for them in `folder`."""
    seconds = len(output.wave) / output.sample_rate
    if path.suffix == PLAYABLE:
        is_encoded = not media.plan_mux(output.video, path, seconds).copies
        if is_encoded or media.plan_mux(output.video, path, seconds, PLAYABLE_CODECS).copies:
            return path
    player = folder / f"player{PLAYABLE}"
    metadata = media.Metadata(comment=describe_origin(output.report))
    media.mux(output.video, output.wave, output.sample_rate, player, PLAYABLE_CODECS, metadata)
    return player


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


def summarize(outputs: Sequence[Output]) -> str:
    """Duration and conditions of the outputs, and the candidates' scores."""
    report = outputs[0].report
    used, missing = (", ".join(report[key]) or "none" for key in ("used", "missing"))
    parts = [f"{report['duration']:.2f} s. Conditions used: {used}; missing: {missing}."]
    if len(outputs) > 1:
        ranks = [
            f"seed {output.report['seed']}"
            + "".join(f", {name} {value:.2f}" for name, value in output.report["scores"].items())
            for output in outputs
        ]
        parts.append(f"Best first: {'; '.join(ranks)}.")
    return " ".join(parts)
