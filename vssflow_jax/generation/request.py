"""What is asked of a generator: its checks, and the raw conditions that follow from it."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.features.registry import select_encoders
from vssflow_jax.preparation import examples
from vssflow_jax.text import alignment
from vssflow_jax.text.alignment import SPEECH_START
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.script import Utterance, align_script, find_speaker_changes

LONGEST = 3600.0  # seconds of sound that one call makes
TASKS = (None, "speech", "sound", "joint")
STEMS = {  # conditions of what is made alone
    "speech": ("phonemes", "speaker", "lips"),
    "sound": ("clip", "sync"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One clip that is wanted; see `Generator.__call__` for the fields.

    The task "speech" leaves out what a video says about other sounds. The others say no more
    than which of video and text there are.
    """

    video: Path | None = None
    script: Sequence[Utterance] = ()
    speaker: Path | None = None
    duration: float | None = None
    task: str | None = None

    @classmethod
    def of(cls, video=None, text=None, script=None, speaker=None, task=None, **times) -> Request:
        """A request of the arguments of a call, with `text` as a script of one line."""
        check_seconds(times)
        if not isinstance(text, str | None):
            raise InputError(f"--text: found {text!r}, expected text")
        start, end = times.get("speech_start"), times.get("speech_end")
        if video is None and text is None and not script:
            raise InputError("found neither --video nor --text, expected at least one of them")
        if text is not None and script:
            raise InputError("found --text beside --script, expected one or the other")
        if task not in TASKS:
            raise InputError(f"--task: found {task!r}, expected one of {TASKS[1:]}")
        if task == "speech" and text is None and not script:
            raise InputError("--task=speech: found no --text, expected what is said")
        if task == "sound" and (text is not None or script or video is None):
            raise InputError("--task=sound: expected --video, and neither --text nor --script")
        if text is None and not (start is None and end is None):
            raise InputError("found --speech_start or --speech_end without --text")
        lines = [Utterance(text=text, start=start, end=end)] if text is not None else script or ()
        return cls(
            video=path_of("video", video),
            script=tuple(x if isinstance(x, Utterance) else Utterance(**x) for x in lines),
            speaker=path_of("speaker", speaker),
            duration=times.get("duration"),
            task=task,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voices:
    """Voices that take turns in a clip.

    Attributes:
      embeddings: float16 [256] each, or None for a voice that nobody gave.
      frames: the voice of each latent frame, int [L].
    """

    embeddings: Sequence[np.ndarray | None]
    frames: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """A request as raw conditions.

    Attributes:
      record: conditions by name, like a shard's.
      name: what the noise is drawn by.
      duration: seconds.
      intervals: phonemes.
      spans: first and last second of each utterance.
      warnings: about the pace.
      voices: where there is more than one, else None.
    """

    record: dict
    name: str
    duration: float
    intervals: list[alignment.Interval]
    spans: list[tuple[float, float]]
    warnings: list[str]
    voices: Voices | None = None

    @property
    def length(self) -> int:
        """Latent frames."""
        return conditions.num_latent_frames(self.duration)

    @property
    def used(self) -> list[str]:
        """Names of the conditions that the request gives."""
        given = [name for name in conditions.NAMES if name in self.record]
        return [name for name in given if name != "phonemes" or self.intervals]


def stem(record: Mapping, names: Sequence[str]) -> dict:
    """The record with these conditions alone; phonemes stay, as silence if not named."""
    others = set(conditions.NAMES) - set(names)
    kept = {name: value for name, value in record.items() if name not in others}
    return kept if "phonemes" in names else {**kept, "phonemes": np.zeros(0, np.int32)}


def conditions_of(
    request: Request, settings: examples.ExampleSettings, statistics: Mapping
) -> Conditions:
    """Raw conditions of a request, as in training data.

    Args:
      request: what is wanted.
      settings: the encoders.
      statistics: of the model's training data: `phoneme_durations` and `rates`.

    Raises:
      InputError: unreadable files, or text that cannot fit.
    """
    duration = request.duration
    if request.video is not None:  # sound covers whole latent frames, in training data as here
        check_rates(statistics["rates"], settings.encoder_set)
        duration = duration or whole_frames(media.probe(request.video).duration)
    files = [line.speaker or request.speaker for line in request.script] or [request.speaker]
    read = read_voices(files, settings.encoder_set)
    paces = statistics["phoneme_durations"]
    spoken = align_script(request.script, duration, paces, [read[file] for file in files])
    duration = duration or spoken.intervals[-1].end + SPEECH_START
    check_seconds({"duration": duration})
    length = conditions.num_latent_frames(duration)
    record = {"phonemes": phonemes_to_frames(spoken.intervals, length)}
    name = "clip"
    if request.video is not None:
        name = examples.hash_media(request.video)
        window = examples.Window(id=name, start=0.0, frames=length)
        speaks = bool(request.script)
        made, said = examples.encode_video(request.video, None, window, settings, speaks=speaks)
        record |= made
        spoken.warnings.extend([said[examples.MOUTH_NOTE]] if examples.MOUTH_NOTE in said else [])
    voices = voices_of(files, spoken.spans, length, read)
    heard = [voice for voice in voices.embeddings if voice is not None]
    if heard:
        record["speaker"] = heard[0]
    if request.task == "speech":
        record = stem(record, STEMS["speech"])
    return Conditions(
        record=record,
        name=name,
        duration=duration,
        intervals=spoken.intervals,
        spans=spoken.spans,
        warnings=spoken.warnings,
        voices=voices if len(voices.embeddings) > 1 and heard else None,
    )


def read_voices(
    files: Iterable[Path | None], encoder_set: str
) -> dict[Path | None, np.ndarray | None]:
    """The embeddings of voices by file; None for no file."""
    return {file: file and read_voice(file, encoder_set) for file in dict.fromkeys(files)}


def voices_of(
    files: Sequence[Path | None],
    spans: Sequence[tuple[float, float]],
    length: int,
    read: Mapping[Path | None, np.ndarray | None],
) -> Voices:
    """The voices of utterances, whose files are read: embeddings, and who speaks at each frame."""
    distinct = list(dict.fromkeys(files))
    frames = np.zeros(length, int)
    for second, number in find_speaker_changes(files, spans):
        frames[round(second * conditions.LATENT_RATE) :] = distinct.index(files[number])
    return Voices(embeddings=[read[file] for file in distinct], frames=frames)


def voiced(record: Mapping, voices: Voices | None, voice: int) -> dict:
    """The record with one of the voices, if it has a voice at all."""
    out = dict(record)
    if voices is not None and out.pop("speaker", None) is not None:
        embedding = voices.embeddings[voice]
        out |= {} if embedding is None else {"speaker": embedding}
    return out


def cut(record: Mapping, start: int, rates: Mapping[str, float | None]) -> dict:
    """A record from latent frame `start` on."""
    out = dict(record)
    for name in conditions.NAMES:
        rate = rates.get(name)
        if name in record and rate is not None:
            out[name] = record[name][round(start / conditions.LATENT_RATE * rate) :]
    return out


def check_rates(rates: Mapping[str, float | None], encoder_set: str) -> None:
    """Raises an InputError where the encoders give features at rates that a model has not seen."""
    for encoder in select_encoders(encoder_set):
        rate = rates.get(encoder.condition)
        if rate is not None and encoder.rate != rate:
            raise InputError(
                f"--video: found encoders ({encoder_set}) that give {encoder.condition} at "
                f"{encoder.rate:g} a second, expected {rate:g} as this model was trained on; "
                "give it shards with its own features (--shards)"
            )


def whole_frames(seconds: float) -> float:
    """The nearest length of whole latent frames, at least one, in seconds."""
    return max(conditions.num_latent_frames(seconds), 1) / conditions.LATENT_RATE


def check_seconds(times: Mapping[str, float | None]) -> None:
    """Raises an InputError for a time that no clip can have; None is any."""
    for name, seconds in times.items():
        if seconds is None:
            continue
        if not isinstance(seconds, numbers.Real) or isinstance(seconds, bool):
            raise InputError(f"--{name}: found {seconds!r}, expected seconds")
        if not 0 <= seconds <= LONGEST:
            raise InputError(f"--{name}: found {seconds:g} s, expected 0 to {LONGEST:g} s")
    if times.get("duration") == 0:
        raise InputError(f"--duration: found 0 s, expected more, up to {LONGEST:g} s")


def path_of(name: str, value) -> Path | None:
    """The path of a file that a request names; None where it names none."""
    if not isinstance(value, str | os.PathLike | None):
        raise InputError(f"--{name}: found a {type(value).__name__}, expected the path of a file")
    return None if value is None else Path(value)


def read_voice(path: str | Path, encoder_set: str) -> np.ndarray:
    """Speaker embedding float16 [256] of a reference voice.

    Raises:
      InputError: not audio, or silence.
    """
    try:
        return examples.read_voice(path, encoder_set)
    except InputError as error:
        raise InputError(f"--speaker={error}") from None
