"""The page's work: a form in, progress and results out; nothing stays behind."""

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
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.generation.generator import Generator
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.reranking import rerank
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions
from vssflow_jax.reports import html, plots
from vssflow_jax.text.script import Utterance, parse_script
from vssflow_jax.web.limits import Limits, sentence

BOTH, SPEECH, SOUND = "speech and sound", "speech", "sound"
TASKS = (BOTH, SPEECH, SOUND)
PICTURES = 8  # in a strip of frames
WAIT = 0.2  # seconds between looks at a generation that goes on


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What a visitor filled in; files are paths of the server's own.

    Lines call the voices by their numbers, from 1; the first is also that of lines without one.
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
    scales: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seed: int = 0
    candidates: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What the page shows: files in a folder that is deleted afterwards, and HTML.

    Attributes:
      video: the video with its sound, or None.
      stems: wav files by name.
      files: everything that can be downloaded.
      picture: HTML of spectrograms.
      line: conditions used and missing, scores.
    """

    video: Path | None
    stems: Mapping[str, Path]
    files: Sequence[Path]
    picture: str
    line: str


class Studio:
    """Makes what forms ask for, one at a time.

    Args:
      generator: the model.
      limits: of files and fields.
    """

    def __init__(self, generator: Generator, limits: Limits | None = None):
        self.generator = generator
        self.limits = limits or Limits()
        self._turn = threading.Lock()

    def look(self, video: str | None) -> tuple[str, float]:
        """A strip of frames as HTML, and the video's seconds.

        Raises:
          InputError: a sentence on what is wrong with the video.
        """
        if video is None:
            return "", 0.0
        with self._folder() as folder:
            path = taken(video, folder / "video", self.limits, "The video")
            seconds = self.limits.check_video(path).duration
            frames = media.read_video(path, rate=max(PICTURES / seconds, 0.1)).frames
            strip = plots.plot_strip(frames[:PICTURES], seconds)
            image = html.embed_image(strip, "Frames of the video over time", "image/jpeg")
            return html.render("image.html", image=image), seconds

    def make(self, form: Form) -> Iterator[float | Result]:
        """Progress from 0 to 1, then the result, whose files last until the iterator goes on.

        Raises:
          InputError: a sentence on the first thing that is wrong.
        """
        with self._folder() as folder:
            request = self.request(form, folder)
            self._check(form)
            options = SamplingOptions(steps=form.steps, guidance=form.guidance, scales=form.scales)
            seeds = [form.seed + number for number in range(form.candidates)]
            told: queue.Queue = queue.Queue()
            work = threading.Thread(target=self._work, args=(told, request, seeds, options))
            work.start()
            try:
                outputs = yield from _progress(told, work)
            finally:
                work.join()
            yield result(outputs, folder)

    def request(self, form: Form, folder: Path) -> Request:
        """The request of a form, with copies of its files in `folder`."""
        if form.task not in TASKS:
            raise InputError(f"The task is {form.task!r}; this page knows {', '.join(TASKS)}.")
        self.limits.check_text(form.text)
        self.limits.check_text(form.lines)
        video = None
        if form.video is not None:
            video = taken(form.video, folder / "video", self.limits, "The video")
            self.limits.check_video(video)
        voices = self._voices(form.voices, folder / "voice")
        script = [] if form.task == SOUND else _script(form, folder / "voice", voices.values())
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
        )

    def _voices(self, uploads: Sequence[str | None], folder: Path) -> dict[int, Path]:
        """Copies of voices by their numbers, which are also their names in `folder`."""
        folder.mkdir()
        return {
            number: taken(upload, folder / str(number), self.limits, f"Voice {number}")
            for number, upload in enumerate(uploads, 1)
            if upload is not None
        }

    def _check(self, form: Form) -> None:
        check, limits = self.limits.check_number, self.limits
        check("The duration", form.duration, 0, limits.seconds)
        check("The number of steps", form.steps, 1, limits.steps)
        check("The number of candidates", form.candidates, 1, limits.candidates)
        check("The seed", form.seed, 0, NUM_SEEDS - limits.candidates)
        for name, value in {"guidance": form.guidance, **form.scales}.items():
            check(f"The guidance ({name})", value, 0, 20)

    def _work(self, told: queue.Queue, request: Request, seeds, options) -> None:
        """Generates in a thread of its own; puts progress, then outputs or an error."""
        try:
            with self._turn:
                outputs = self.generator.generate_candidates(
                    request, seeds, options, stems=True, progress=told.put
                )
            if len(outputs) > 1:
                outputs = rerank(outputs, request, self.generator.encoder_set)
            told.put(outputs)
        except Exception as error:
            told.put(error)

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder for one request; its name is taken out of the messages."""
        with tempfile.TemporaryDirectory(prefix="vssflow-") as name:
            try:
                yield Path(name)
            except InputError as error:
                raise InputError(sentence(error, Path(name))) from None


def _script(form: Form, folder: Path, voices: Collection[Path]) -> list[Utterance]:
    """What is said; lines name voices by their files in `folder`, and no other files."""
    if form.lines.strip():
        script = parse_script(form.lines, "The lines", folder, header=False)
        for line in script:
            if line.speaker not in (None, *voices):
                raise InputError(
                    f"{line.location}: found voice {line.speaker.name!r}, expected the number of a "
                    "voice that is there"
                )
        return script
    start, end = (form.start, form.end) if form.timed else (None, None)
    return [Utterance(text=form.text, start=start, end=end)] if form.text.strip() else []


def _progress(told: queue.Queue, work: threading.Thread) -> Iterator[float]:
    """Yields the fractions that a worker puts; returns its outputs or raises its error."""
    yield 0.0
    while True:
        try:
            found = told.get(timeout=WAIT)
        except queue.Empty:
            if not work.is_alive():
                raise RuntimeError("the generation ended without a result") from None
            continue
        if isinstance(found, Exception):
            raise found
        if not isinstance(found, float):
            return found
        yield found


def taken(upload: str, path: Path, limits: Limits, name: str) -> Path:
    """Moves an upload into a request's folder, under a name of our own."""
    source = Path(upload)
    if not source.is_file():
        raise InputError(f"{name} is not there any more; please choose it again.")
    limits.check_file(source, name)
    shutil.copyfile(source, path)
    return path


def result(outputs: Sequence[Output], folder: Path) -> Result:
    """Files, pictures and words of outputs, best first."""
    best, files = outputs[0], []
    for number, output in enumerate(outputs, 1):
        name = "result" if number == 1 else f"candidate{number}"
        files += save(output, folder / name)
    stems = {"speech and sound": folder / "result.wav"}
    stems |= {name: folder / f"result.{name}.wav" for name in best.stems if len(best.stems) > 1}
    video = next((path for path in files if best.video and path.stem == "result"), None)
    return Result(
        video=video,
        stems=stems,
        files=files,
        picture=pictures(best),
        line=described(outputs),
    )


def save(output: Output, path: Path) -> list[Path]:
    """Writes an output under a name without ending; an mp4 if it can hold the video."""
    if output.video is None:
        return output.save(path.with_suffix(".wav"))
    try:
        return output.save(path.with_suffix(".mp4"))
    except InputError:
        return output.save(path.with_suffix(".mkv"))


def pictures(output: Output) -> str:
    """Spectrograms with phonemes, as HTML: the whole, and stems where there are several."""
    waves = {"Result": output.wave}
    if len(output.stems) > 1:
        waves |= {f"{name.capitalize()} alone": wave for name, wave in output.stems.items()}
    mels = dict(zip(waves, log_mels(list(waves.values())), strict=True))
    levels = plots.find_levels(*mels.values())
    seconds, phonemes = output.report["duration"], output.report["alignment"]
    figures = [
        html.Figure(
            caption=name,
            image=html.embed_image(
                plots.plot_spectrogram(mel, seconds, levels, () if "ound" in name else phonemes),
                f"Spectrogram: {name}",
            ),
        )
        for name, mel in mels.items()
    ]
    return html.render("spectrograms.html", figures=figures)


def described(outputs: Sequence[Output]) -> str:
    """A line on what was made of what, and how the candidates rank."""
    report = outputs[0].report
    used, missing = (", ".join(report[key]) or "none" for key in ("used", "missing"))
    parts = [f"{report['duration']:.2f} s. Conditions used: {used}; missing: {missing}."]
    parts += [f"Note: {warning}." for warning in report["warnings"]]
    if len(outputs) > 1:
        ranks = [
            f"seed {output.report['seed']}"
            + "".join(f", {name} {value:.2f}" for name, value in output.report["scores"].items())
            for output in outputs
        ]
        parts.append(f"Best first: {'; '.join(ranks)}.")
    return " ".join(parts)
