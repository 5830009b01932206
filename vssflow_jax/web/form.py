"""The page's form: its fields, and the request that they make."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.conditioning import round_to_frames
from vssflow_jax.generation.mixing import MixOptions
from vssflow_jax.generation.request import MAX_SECONDS, Request
from vssflow_jax.generation.sampling import NUM_SEEDS, SamplingOptions
from vssflow_jax.generation.script_files import cues_to_utterances
from vssflow_jax.media.subtitles import read_cues
from vssflow_jax.media.writing import CONTAINERS
from vssflow_jax.text.captions import fold_name, suggest_names
from vssflow_jax.text.normalize import REFUSE
from vssflow_jax.text.script import Utterance, parse_script
from vssflow_jax.web.limits import Limits, fit_times, format_error

BOTH, SPEECH, SOUND = "speech and sound", "speech", "sound"
TASKS = (BOTH, SPEECH, SOUND)
MAX_GUIDANCE = 20
FORMATS = tuple(suffix.removeprefix(".") for suffix in CONTAINERS)  # of the result's video
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")  # that a copy of an upload may have
NUM_SPEAKERS = 6  # of subtitles, with voices of their own
PAUSE = 0.1  # seconds between the end of a sound and what is said where it goes on


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """The fields that a visitor filled in; files are paths on the server.

    Attributes:
      video: upload.
      text: what is said.
      lines: several utterances instead, a line each; they name voices by number.
      subtitles: upload, in place of `text` and `lines`.
      speakers: uploads, the voices of the subtitles' speakers, in the order of `list_speakers`.
      timed: whether `start` and `end`, seconds, apply to the text.
      voices: uploads, numbered from 1; the first is also the voice of lines without a number.
      prompt_text: what the first voice's recording says, from which the speech then goes on; empty:
        it does not.
      task: one of TASKS.
      audio_track: of the voices' files, from 1; None: the default one of each.
      text_policy: of characters that cannot be read; None: the server's.
      format: of the result's video, one of FORMATS.
      duration: seconds; None: the video's.
      loop: whether the end joins the start.
      one_draw: whether a loop is that of its seed alone, and not the best of several.
      mix: how the sound becomes that of the video.
      keep: a sound that is kept but for `redo`, or that goes on up to `extend`; None: none.
      redo: spans of seconds, as those of `sample --redo`.
      extend: seconds at which the longer sound ends; None: it does not get longer.
      said: in the one span in place of the text, or where the sound goes on.
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
    subtitles: str | None = None
    speakers: Sequence[str | None] = ()
    timed: bool = False
    start: float = 0.0
    end: float = 0.0
    voices: Sequence[str | None] = ()
    prompt_text: str = ""
    task: str = BOTH
    audio_track: int | None = None
    text_policy: str | None = None
    format: str = FORMATS[0]
    duration: float | None = None
    loop: bool = False
    one_draw: bool = False
    mix: MixOptions = dataclasses.field(default_factory=MixOptions)
    keep: str | None = None
    redo: str = ""
    extend: float | None = None
    said: str = ""
    solver: str | None = None
    grid: str | None = None
    steps: int | None = None
    guidance: float | None = None
    scales: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    seed: int = 0
    candidates: int = 1

    @property
    def sampling(self) -> SamplingOptions:
        """The options of the sampling."""
        names = ("solver", "grid", "steps", "guidance", "scales")
        return SamplingOptions(**{name: getattr(self, name) for name in names})

    @property
    def seeds(self) -> list[int]:
        """The seeds of the candidates."""
        return [self.seed + number for number in range(self.candidates)]

    def check(self, limits: Limits, max_steps: int) -> None:
        """Raises an InputError for a choice that there is not, or a number beyond its limit."""
        for name, value, choices in (("task", self.task, TASKS), ("format", self.format, FORMATS)):
            if value not in choices:
                raise InputError(f"The {name} is {value!r}; this page knows {', '.join(choices)}.")
        for text in (self.text, self.lines, self.said, self.prompt_text, self.redo):
            limits.check_text(text)
        check = limits.check_number
        if self.timed and not self.lines.strip():
            check("The start of the speech", self.start, 0, MAX_SECONDS)
            check("The end of the speech", self.end, 0, MAX_SECONDS)
        check("The duration", self.duration, 0, limits.seconds)
        check("The end of the longer sound", self.extend, 0, limits.seconds)
        check("The number of steps", self.steps, 1, max_steps)
        check("The number of candidates", self.candidates, 1, limits.candidates)
        check("The seed", self.seed, 0, NUM_SEEDS - limits.candidates)
        for name, value in {"guidance": self.guidance, **self.scales}.items():
            check(f"The guidance ({name})", value, -MAX_GUIDANCE, MAX_GUIDANCE)
        if self.keep is not None and self.extend is None and not self.redo.strip():
            raise InputError(
                "There is no span; choose one on the waveform or among the words, or write its "
                "times."
            )


# ---- requests -----------------------------------------------------------------------------


def parse_form(
    form: Form, folder: Path, limits: Limits, text_policy: str = REFUSE
) -> tuple[Request, list[str]]:
    """The request of a checked form, with copies of its files in `folder`; what had to change.

    Args:
      form: the fields.
      folder: an empty one.
      limits: of the page.
      text_policy: of characters that cannot be read, where the form does not say it.

    Raises:
      InputError: a sentence on the first thing that is wrong.
    """
    video, seconds = None, form.extend or form.duration
    if form.video is not None:
        video = copy_upload(form.video, folder / "video", limits, "The video")
        info = limits.check_video(video)
        seconds = seconds or round_to_frames(info.duration)
        media.plan_mux(video, folder / f"out.{form.format}")
    keep = copy_upload(form.keep, folder / "sound", limits, "The sound") if form.keep else None
    voices = _copy_voices(form.voices, folder / "voice", limits)
    script, notes = [], []
    if form.task != SOUND:
        script, notes = _parse_script(form, folder, voices, seconds, limits)
    if keep and form.extend and form.said.strip():
        script = [*script, Utterance(text=form.said, start=_read_seconds(keep) + PAUSE)]
    if form.task == SPEECH and not script:
        raise InputError("There is no text; speech needs one.")
    if video is None and not script and keep is None:
        raise InputError("There is neither a video nor a text; at least one is needed.")
    request = Request.parse(
        video,
        script=script,
        speaker=voices.get(1),
        audio_track=form.audio_track,
        duration=form.duration if form.extend is None else form.extend,
        task="speech" if form.task == SPEECH else None,
        text_policy=form.text_policy or text_policy,
        loop=form.loop,
        **_parse_edit(form, keep),
        **_parse_prompt(form, voices),
    )
    form.mix.check(request)
    return request, [*notes, *_describe_missing_stems(request, form)]


def _parse_edit(form: Form, keep: Path | None) -> dict:
    """Arguments of `Request.parse` for a sound that is kept."""
    if keep is None:
        return {}
    if form.extend is not None:
        return {"keep": keep}
    return {"keep": keep, "redo": form.redo, "redo_text": form.said.strip() or None}


def _parse_prompt(form: Form, voices: Mapping[int, Path]) -> dict:
    """Arguments of `Request.parse` for a recording that the speech goes on from."""
    if not form.prompt_text.strip():
        return {}
    if 1 not in voices:
        raise InputError("There is no voice; the speech cannot go on from its recording.")
    return {"prompt_audio": voices[1], "prompt_text": form.prompt_text}


def _describe_missing_stems(request: Request, form: Form) -> list[str]:
    """A line where speech and other sounds are not generated separately as well."""
    if can_have_stems(request) or not (request.video and request.script) or form.task == SPEECH:
        return []
    return ["speech alone and other sounds alone are not made where a sound is kept or prompted"]


def can_have_stems(request: Request) -> bool:
    """Whether speech and other sounds can be generated separately as well."""
    return request.edit.keep is None and request.prompt is None


def _read_seconds(path: Path) -> float:
    sound = media.read_sound(path, None, channels=None)
    return len(sound.wave) / sound.sample_rate


def _parse_script(
    form: Form, folder: Path, voices: Mapping[int, Path], seconds: float | None, limits: Limits
) -> tuple[list[Utterance], list[str]]:
    """The utterances of a form, from its subtitles, its lines or its text; and notes.

    Args:
      form: the fields.
      folder: of the request's files.
      voices: by their numbers.
      seconds: of the clip; None: as long as the text needs.
      limits: of the page.
    """
    sources = {"subtitles": form.subtitles, "lines": form.lines.strip(), "text": form.text.strip()}
    names = [name for name, value in sources.items() if value]
    unused = [f"the {name} are not spoken, since there are {names[0]}" for name in names[1:]]
    unused = [note.replace("text are", "text is") for note in unused]
    if form.subtitles:
        path = copy_upload(form.subtitles, folder / "subtitles", limits, "The subtitles")
        speakers = _copy_speakers(form.speakers, list_speakers(path), folder / "speaker", limits)
        cues, unread = read_cues(path)
        script, notes = cues_to_utterances(cues, str(path), speakers)
        return script, [*unused, *unread, *notes]
    if form.lines.strip():
        return parse_lines(form.lines, folder / "voice", voices), unused
    if not form.text.strip():
        return [], []
    start, end, notes = (form.start, form.end, []) if form.timed else (None, None, [])
    if seconds is not None:
        start, end, notes = fit_times(start, end, seconds)
    return [Utterance(text=form.text, start=start, end=end)], notes


def parse_lines(lines: str, folder: Path, voices: Mapping[int, Path]) -> list[Utterance]:
    """Utterances, a line each, which name voices by their numbers alone, and no other files.

    Args:
      lines: a table without a header.
      folder: of the voices.
      voices: by their numbers.
    """
    script, files = [], {folder / str(number): path for number, path in voices.items()}
    for utterance in parse_script(lines, "The lines", folder, header=False):
        if utterance.speaker is not None and utterance.speaker not in files:
            raise InputError(
                f"{utterance.location}: found voice {utterance.speaker.name!r}, expected the "
                "number of one of the voices"
            )
        script.append(dataclasses.replace(utterance, speaker=files.get(utterance.speaker)))
    return script


def list_speakers(path: str | Path) -> list[str]:
    """The names that subtitles may have for speakers, in the order in which they come first.

    SubStation's styles are names where no cue has one and there are several.

    Raises:
      InputError: no subtitles.
    """
    cues, _ = read_cues(path)
    names = [name for cue in cues for name in (*suggest_names(cue.text), cue.actor) if name]
    styles = [cue.style for cue in cues if cue.style]
    if not names and len(set(styles)) > 1:
        names = styles
    speakers: dict[str, str] = {}
    for name in names:
        speakers.setdefault(fold_name(name), name)
    return list(speakers.values())


# ---- uploads ------------------------------------------------------------------------------


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


def _copy_voices(uploads: Sequence[str | None], folder: Path, limits: Limits) -> dict[int, Path]:
    """Copies of voices by their numbers, which are also their names in `folder`."""
    folder.mkdir()
    return {
        number: copy_upload(upload, folder / str(number), limits, f"Voice {number}")
        for number, upload in enumerate(uploads, 1)
        if upload is not None
    }


def _copy_speakers(
    uploads: Sequence[str | None], names: Sequence[str], folder: Path, limits: Limits
) -> dict[str, Path]:
    """Copies of the voices of named speakers, by their folded names.

    Raises:
      InputError: more voices than names.
    """
    if any(uploads[len(names) :]):
        raise InputError(
            f"The subtitles have {len(names)} speakers; there are voices for {len(uploads)}."
        )
    folder.mkdir()
    return {
        fold_name(name): copy_upload(upload, folder / str(number), limits, f"The voice of {name}")
        for number, (name, upload) in enumerate(zip(names, uploads, strict=False), 1)
        if upload is not None
    }
