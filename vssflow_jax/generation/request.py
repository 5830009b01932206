"""A request for one clip: parsing and checks of its fields."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import find_existing
from vssflow_jax.conditions import LATENT_RATE, num_latent_frames
from vssflow_jax.config.rules import at_least
from vssflow_jax.generation.editing import Edit, Span
from vssflow_jax.generation.prompting import VoicePrompt
from vssflow_jax.generation.script_files import parse_voices, read_script_file
from vssflow_jax.text.normalize import REFUSE, check_policy
from vssflow_jax.text.script import COLUMNS, Utterance

FIELDS = (*COLUMNS, "name")  # that a dictionary of an utterance may have
MAX_SECONDS = 3600.0  # of one clip
TASKS = (None, "speech", "sound", "joint")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A request for one clip; `parse` checks it.

    Attributes:
      video: a media file; its own sound is not used. None: no video.
      script: the utterances; empty: no speech.
      speaker: an audio file with the voice to imitate, where an utterance names no other.
      audio_track: which audio track of the voices' files, from 1; None: the default one of each.
      duration: seconds of sound; None: the video's, or what the script needs.
      task: "speech" leaves out what the video says about other sounds. "sound" and "joint" only
        check that video and text are there.
      text_policy: "refuse" or "skip" characters of the text that cannot be read.
      notes: what of a script's file is not spoken or changed, a line each.
      edit: the sound of which parts are kept, and whether the clip is a loop.
      prompt: a recording that the speech goes on from; None: none.
    """

    video: Path | None = None
    script: Sequence[Utterance] = ()
    speaker: Path | None = None
    audio_track: int | None = None
    duration: float | None = None
    task: str | None = None
    text_policy: str = REFUSE
    notes: tuple[str, ...] = ()
    edit: Edit = dataclasses.field(default_factory=Edit)
    prompt: VoicePrompt | None = None

    @classmethod
    def parse(
        cls,
        video: str | Path | None = None,
        text: str | None = None,
        *,
        script: Sequence[Utterance | Mapping] | str | Path | None = None,
        voices: Mapping[str, str | Path] | None = None,
        speaker: str | Path | None = None,
        audio_track: int | None = None,
        task: str | None = None,
        duration: float | None = None,
        speech_start: float | None = None,
        speech_end: float | None = None,
        text_policy: str = REFUSE,
        keep: str | Path | None = None,
        redo: str | Sequence[str | Span] | None = None,
        redo_text: str | None = None,
        loop: bool = False,
        prompt_audio: str | Path | None = None,
        prompt_text: str | None = None,
    ) -> Request:
        """The request of a caller's arguments; None where one is not specified.

        Args:
          video: as in the attributes, which also describe `speaker`, `audio_track`, `task`,
            `duration` and `text_policy`.
          text: one utterance.
          script: several utterances in place of `text`, or dictionaries of their fields; or the
            path of a table or of subtitles (`script_files`).
          voices: audio files by the names of the script's speakers.
          speech_start: seconds at which `text` starts; None: near the start.
          speech_end: seconds at which `text` ends; None: its natural length.
          keep: a media file whose sound is kept but for the spans of `redo`; with a longer
            `duration` it is extended.
          redo: spans of seconds that are generated anew: [(2.0, 3.5)] or "2.0:3.5".
          redo_text: what is said in the one span in place of the script.
          loop: whether the end of the clip joins its start.
          prompt_audio: a recording of the voice that the speech goes on from; without `speaker` its
            embedding is used as well.
          prompt_text: what is said in it.

        Raises:
          InputError: neither video nor text nor sound that is kept, fields that contradict each
            other, or a value of the wrong type or out of range.
        """
        check_seconds("speech_start", speech_start)
        check_seconds("speech_end", speech_end, positive=True)
        check_seconds("duration", duration, positive=True)
        if duration is not None and num_latent_frames(duration) < 1:
            raise InputError(
                f"--duration: found {duration:g} s, expected at least {1 / LATENT_RATE:g} s"
            )
        if not isinstance(text, str | None):
            raise InputError(f"--text: found {text!r}, expected text")
        if not isinstance(script, str | os.PathLike | Iterable | None):
            raise InputError(f"--script: found {script!r}, expected a file or utterances")
        if not isinstance(voices, Mapping | None):
            raise InputError(f"--voice: found {voices!r}, expected recordings by name")
        if voices and not isinstance(script, str | os.PathLike):
            raise InputError("found --voice without --script, expected a script's speakers")
        notes: list[str] = []
        if isinstance(script, str | os.PathLike):
            script, notes = read_script_file(find_existing(script), parse_voices(voices or {}))
        if video is None and text is None and not script and keep is None:
            raise InputError("found neither --video nor --text, expected at least one of them")
        if text is not None and script:
            raise InputError("found --text beside --script, expected one or the other")
        if text is None and not (speech_start is None and speech_end is None):
            raise InputError("found --speech_start or --speech_end without --text")
        if text is not None:
            script = [Utterance(text=text, start=speech_start, end=speech_end)]
        request = cls(
            video=parse_path("video", video),
            script=tuple(
                line if isinstance(line, Utterance) else parse_utterance(number, line)
                for number, line in enumerate(script or (), 1)
            ),
            speaker=parse_path("speaker", prompt_audio if speaker is None else speaker),
            audio_track=audio_track,
            duration=duration,
            task=task,
            text_policy=text_policy,
            notes=tuple(notes),
            edit=Edit.parse(parse_path("keep", keep), redo, redo_text, loop),
            prompt=VoicePrompt.parse(
                parse_path("prompt_audio", prompt_audio), prompt_text, audio_track
            ),
        )
        request.check_task()
        request.check_prompt()
        check_policy(text_policy)
        return request

    def check_task(self) -> None:
        """Raises an InputError for an unknown task, or one that video and script do not allow."""
        if self.task not in TASKS:
            raise InputError(f"--task: found {self.task!r}, expected one of {TASKS[1:]}")
        if self.task == "speech" and not self.script:
            raise InputError("--task=speech: found no --text, expected what is said")
        if self.task == "sound" and (self.script or self.video is None):
            raise InputError("--task=sound: expected --video, and neither --text nor --script")

    def check_prompt(self) -> None:
        """Raises an InputError for a prompt beside what it cannot be combined with."""
        if self.prompt is None:
            return
        if not self.script:
            raise InputError("found --prompt_audio without --text, expected what is said")
        if len(set(self.speakers)) > 1:
            raise InputError(
                "found --prompt_audio beside a --script of several voices, expected one voice"
            )
        if self.edit.keep is not None or self.edit.loop:
            other = "loop" if self.edit.loop else "keep"
            raise InputError(f"found --prompt_audio beside --{other}, expected one or the other")

    @property
    def speakers(self) -> list[Path | None]:
        """The audio file with the voice of each utterance."""
        return [line.speaker or self.speaker for line in self.script]


def parse_utterance(number: int, fields: Mapping[str, object]) -> Utterance:
    """An utterance of a script from a dictionary of its fields; the first one is number 1.

    Raises:
      InputError: unknown fields, or a value of the wrong type.
    """
    if not (isinstance(fields, Mapping) and fields.keys() <= {*FIELDS} and "text" in fields):
        raise InputError(
            f"script, line {number}: found {fields!r:.80}, expected {', '.join(FIELDS)}"
        )
    place = f"script, line {number}, field"
    for name in ("text", "name"):
        if not isinstance(fields.get(name, ""), str):
            raise InputError(f"{place} {name}: found {fields[name]!r}, expected text")
    for name in ("start", "end"):
        seconds = fields.get(name)
        if seconds is not None and not at_least(0).holds(seconds):
            raise InputError(f"{place} {name}: found {seconds!r}, expected seconds")
    return Utterance(**{**fields, "speaker": parse_path("speaker", fields.get("speaker"))})


def check_seconds(name: str, seconds: float | None, *, positive: bool = False) -> None:
    """Raises an InputError for a time that no clip can have; None stands for no time."""
    if seconds is None:
        return
    if not isinstance(seconds, numbers.Real) or isinstance(seconds, bool):
        raise InputError(f"--{name}: found {seconds!r}, expected seconds")
    if not 0 <= seconds <= MAX_SECONDS:
        raise InputError(f"--{name}: found {seconds:g} s, expected 0 to {MAX_SECONDS:g} s")
    if positive and seconds == 0:
        raise InputError(f"--{name}: found 0 s, expected more, up to {MAX_SECONDS:g} s")


def parse_path(name: str, value: object) -> Path | None:
    """The path of a field, ~ being the home folder; None for None."""
    if not isinstance(value, str | os.PathLike | None):
        raise InputError(f"--{name}: found a {type(value).__name__}, expected the path of a file")
    return None if value is None else find_existing(os.path.expanduser(value))
