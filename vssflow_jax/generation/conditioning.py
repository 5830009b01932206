"""The raw conditions of a request, computed as those of training data are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data.lip_track import LipTrack
from vssflow_jax.features.lip_alignment import follow_lips
from vssflow_jax.features.registry import encode_example, select_encoders
from vssflow_jax.generation.editing import LOOP_CONTEXT, MIN_LOOP, KeptSound
from vssflow_jax.generation.request import MAX_SECONDS, Request
from vssflow_jax.generation.stems import STEMS, select_stem
from vssflow_jax.preparation import examples
from vssflow_jax.text.alignment import SPEECH_START, Interval, align_text, select_voice
from vssflow_jax.text.cues import fit_cues, skip_late_cues
from vssflow_jax.text.durations import DurationModel
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.replacement import list_cut_words, list_neighbors, replace_words
from vssflow_jax.text.script import Utterance, align_script, find_speaker_changes
from vssflow_jax.text.word_times import TimedUtterance, time_words

# Where phoneme times come from: the request's start or end, the mouth, or expected durations.
REQUESTED, FROM_LIPS, PREDICTED = "requested", "lips", "predicted"
MIN_VOICE = 1.0  # seconds of kept speech that tell its voice
KEPT_VOICE = "kept"  # the report's voice where it is that of the kept sound


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voices:
    """The voices of a clip with several speakers.

    Attributes:
      embeddings: float16 [256] each; None for an utterance without a reference voice.
      frames: number of the voice of each latent frame, int [L].
    """

    embeddings: Sequence[np.ndarray | None]
    frames: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestConditions:
    """The raw conditions of a request.

    Attributes:
      record: conditions by name, like a shard's.
      noise_id: what the noise is drawn from, beside the seed.
      duration: seconds.
      intervals: the phonemes' times.
      spans: first and last second of each utterance.
      utterances: with the times of their words.
      cues: the number of each utterance's subtitle; None: of none.
      times: where those come from: REQUESTED, FROM_LIPS, PREDICTED, or empty without speech.
      warnings: about text that is not spoken, the speaking rate, a face that was not found, or
        a voice's sound.
      voices: None with one voice or none.
      has_kept_voice: whether the voice is that of the kept sound.
      lips: the track that the times follow; None: they follow none.
    """

    record: dict
    noise_id: str
    duration: float
    intervals: list[Interval]
    spans: list[tuple[float, float]]
    utterances: list[TimedUtterance]
    cues: list[int | None]
    times: str
    warnings: list[str]
    voices: Voices | None = None
    has_kept_voice: bool = False
    lips: LipTrack | None = None

    @property
    def num_frames(self) -> int:
        """Latent frames."""
        return conditions.num_latent_frames(self.duration)

    @property
    def used(self) -> list[str]:
        """Names of the conditions that the request has."""
        names = [name for name in conditions.NAMES if name in self.record]
        return [name for name in names if name != "phonemes" or self.intervals]

    def describe(self) -> dict:
        """The report of an output, as JSON: times, conditions, warnings."""
        voice = {"voice": KEPT_VOICE} if self.has_kept_voice else {}
        return voice | {
            "duration": self.duration,
            "used": self.used,
            "missing": [name for name in conditions.NAMES if name not in self.used],
            "alignment": [list(interval) for interval in self.intervals],
            "spans": [list(span) for span in self.spans],
            "times": self.times,
            "warnings": self.warnings,
        }


def encode_request(
    request: Request,
    durations: DurationModel,
    encoder_set: str,
    statistics: Mapping,
    kept: KeptSound | None = None,
) -> RequestConditions:
    """Raw conditions of a request.

    Args:
      request: from `Request.parse`.
      durations: predicts the times of the phonemes.
      encoder_set: the encoders (features.registry).
      statistics: of the features that the model was trained on: `rates` and `widths`.
      kept: the sound that is kept; its voice goes on where the request names none.

    Raises:
      InputError: unreadable files, or text that does not fit.
    """
    duration, notes = find_duration(request, encoder_set, statistics), list(request.notes)
    if duration is not None:
        script, late = skip_late_cues(request.script, duration)
        request, notes = dataclasses.replace(request, script=script), notes + late
    embeddings, sound_notes = read_voices(
        [*request.speakers, request.speaker], encoder_set, request.audio_track
    )
    line_voices = [embeddings[file] for file in request.speakers]
    script, longer = fit_cues(request.script, duration, durations, line_voices, request.text_policy)
    request, notes = dataclasses.replace(request, script=script), notes + longer
    line_voices = [embeddings[file] for file in request.speakers]
    timed = align_script(script, duration, durations, line_voices, request.text_policy)
    if duration is None:
        duration = timed.intervals[-1].end + SPEECH_START
        if duration > MAX_SECONDS:
            raise InputError(
                f"text: found {duration:.0f} s of speech, expected at most {MAX_SECONDS:g} s"
            )
    duration, loop_notes = fit_loop(request, duration)
    notes += loop_notes
    num_frames = conditions.num_latent_frames(duration)
    noise_id, times, record, lips = "clip", name_times(request.script), {}, None
    if request.video is not None:
        noise_id = examples.hash_media(request.video)
        video = encode_video(request, num_frames, encoder_set)
        record = dict(video.features)
        notes += video.meta.get(examples.VIDEO_NOTES, ())
        notes += [video.meta[name] for name in (examples.MOUTH_NOTE,) if name in video.meta]
        if times == PREDICTED and len(set(request.speakers)) == 1:
            voiced = select_voice(durations, line_voices[0])
            followed = follow_lips(timed, request.script, video.lips, voiced, request.text_policy)
            if followed:
                times, timed, lips = FROM_LIPS, followed, video.lips
    utterances = time_words(request.script, timed.intervals, durations, request.text_policy)
    kept_voice = None
    if kept is not None and not any([*request.speakers, request.speaker]):
        kept_voice = embeddings[None] = embed_kept_voice(kept, utterances, encoder_set)
    if request.edit.redo_text is not None:
        voiced, times = durations.with_voice(embeddings[request.speaker]), REQUESTED
        utterances, redo_notes = say_redo_text(utterances, request, duration, voiced)
        notes += redo_notes
    intervals = [x for line in utterances for word in line.words for x in word.phonemes]
    record["phonemes"] = phonemes_to_frames(intervals, num_frames)
    speakers = request.speakers or [request.speaker]
    voices = assign_voices(speakers, timed.spans, num_frames, embeddings)
    known = [embedding for embedding in voices.embeddings if embedding is not None]
    if known:
        record["speaker"] = known[0]
    if request.task == "speech":
        record = select_stem(record, STEMS["speech"])
    return RequestConditions(
        record=record,
        noise_id=noise_id,
        duration=duration,
        intervals=intervals,
        spans=timed.spans,
        utterances=utterances,
        cues=[line.cue for line in request.script],
        times=times,
        warnings=[*timed.warnings, *sound_notes, *notes],
        voices=voices if len(voices.embeddings) > 1 and known else None,
        has_kept_voice=kept_voice is not None,
        lips=lips if times == FROM_LIPS else None,
    )


def find_duration(request: Request, encoder_set: str, statistics: Mapping) -> float | None:
    """Seconds of a request's clip; None: as long as the script needs.

    Raises an InputError for a video that the model cannot use.
    """
    if request.video is not None:
        check_features(statistics, encoder_set)
    if request.video is None or request.duration is not None:
        return request.duration
    duration = round_to_frames(_probe_video(request.video).duration)
    if duration > MAX_SECONDS:
        raise InputError(
            f"{request.video}: found {duration:.0f} s of video, expected at most "
            f"{MAX_SECONDS:g} s, or --duration beside it"
        )
    return duration


def fit_loop(request: Request, duration: float) -> tuple[float, list[str]]:
    """Seconds of the clip, whole latent frames of a loop, and a line about a requested change.

    Raises:
      InputError: a loop that is too short.
    """
    if not request.edit.loop:
        return duration, []
    if duration < MIN_LOOP:
        raise InputError(f"--loop: found {duration:g} s, expected at least {MIN_LOOP:g} s")
    rounded = round_to_frames(duration)
    if request.duration is None or abs(rounded - duration) < 1e-6:
        return rounded, []
    return rounded, [
        f"--loop: found a --duration of {duration:g} s, which is {rounded:g} s in latent frames"
    ]


def say_redo_text(
    utterances: Sequence[TimedUtterance],
    request: Request,
    duration: float,
    durations: DurationModel,
) -> tuple[list[TimedUtterance], list[str]]:
    """Utterances with the request's `redo_text` in place of what is said in its one span.

    The text fills the span, its phonemes as long as between the words around it. Warnings name
    words that the span's borders cut.

    Raises:
      InputError: a text that cannot be read, or that does not fit.
    """
    (start, end), text = request.edit.redo[0], request.edit.redo_text
    end, policy = min(end, duration), request.text_policy
    durations = durations.with_neighbors(*list_neighbors(utterances, start, end))
    try:
        intervals, warnings = align_text(text, start, end, duration, durations, policy)
    except InputError as error:
        raise InputError(f"--redo_text: {error}") from None
    (replacement,) = time_words([Utterance(text=text)], intervals, durations, policy)
    cut = list_cut_words(utterances, start, end)
    if cut:
        words = ", ".join(f"{x.text} ({x.start:.2f} to {x.end:.2f} s)" for x in cut)
        warnings.append(
            f"--redo: found borders at {start:g} and {end:g} s within {words}, expected them "
            "between words"
        )
    return replace_words(utterances, start, end, replacement), warnings


def _probe_video(path: Path) -> media.MediaInfo:
    """What a video holds that lasts as long as it should sound."""
    info = media.probe(path)
    if info.is_still:
        raise InputError(f"{path}: found a still image, expected a video, or --duration beside it")
    return info


def name_times(script: Sequence[Utterance]) -> str:
    """Where the times of a script come from unless there are lips to follow."""
    if any(line.start is not None or line.end is not None for line in script):
        return REQUESTED
    return PREDICTED if script else ""


def encode_video(request: Request, num_frames: int, encoder_set: str) -> examples.EncodedVideo:
    """The first latent frames of a request's video; the two ends of a loop are neighbors."""
    wrap = LOOP_CONTEXT if request.edit.loop else 0
    window = examples.Window(id="", start=0.0, frames=num_frames, wrap=wrap)
    settings = examples.ExampleSettings(encoder_set=encoder_set)
    return examples.encode_video(request.video, None, window, settings, speaks=bool(request.script))


def read_voices(
    files: Iterable[Path | None], encoder_set: str, audio_track: int | None = None
) -> tuple[dict[Path | None, np.ndarray | None], list[str]]:
    """The speaker embeddings of audio files, None for None; what reading them had to change."""
    embeddings: dict[Path | None, np.ndarray | None] = {}
    notes: list[str] = []
    for file in dict.fromkeys(files):
        embeddings[file] = None
        if file is not None:
            embeddings[file], file_notes = read_voice(file, encoder_set, audio_track)
            notes += file_notes
    return embeddings, notes


def read_voice(
    path: str | Path, encoder_set: str, audio_track: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Speaker embedding float16 [256] of a reference voice, and what reading it had to change.

    Raises:
      InputError: not audio, or silence.
    """
    try:
        return examples.read_voice(path, encoder_set, audio_track)
    except InputError as error:
        raise InputError(f"--speaker={error}") from None


def embed_kept_voice(
    kept: KeptSound, utterances: Sequence[TimedUtterance], encoder_set: str
) -> np.ndarray | None:
    """Speaker embedding float16 [256] of what a kept sound says; None if it says too little."""
    speech = kept.cut_speech([(line.start, line.end) for line in utterances])
    if len(speech) < MIN_VOICE * conditions.SAMPLE_RATE or not media.is_audible(speech):
        return None
    return encode_example(speaker_wave=speech, encoder_set=encoder_set).get("speaker")


def assign_voices(
    files: Sequence[Path | None],
    spans: Sequence[tuple[float, float]],
    num_frames: int,
    embeddings: Mapping[Path | None, np.ndarray | None],
) -> Voices:
    """The voices of utterances, and the voice of each latent frame.

    Args:
      files: with the voice of each utterance.
      spans: first and last second of each utterance.
      num_frames: latent frames of the clip.
      embeddings: of the files.
    """
    distinct = list(dict.fromkeys(files))
    frames = np.zeros(num_frames, int)
    for second, number in find_speaker_changes(files, spans):
        frames[round(second * conditions.LATENT_RATE) :] = distinct.index(files[number])
    return Voices(embeddings=[embeddings[file] for file in distinct], frames=frames)


def check_features(statistics: Mapping, encoder_set: str) -> None:
    """Raises an InputError where the rate or width of the encoders' features is not the model's."""
    for encoder in select_encoders(encoder_set):
        table = conditions.BY_NAME[encoder.condition]
        width = statistics.get("widths", {}).get(encoder.condition, table.width)
        if encoder.width != width:
            raise InputError(
                f"--video: found encoders ({encoder_set}) whose {encoder.condition} has "
                f"{encoder.width} channels, expected {width} as this model was trained on"
            )
        rate = statistics["rates"].get(encoder.condition)
        if rate is not None and encoder.rate != rate:
            raise InputError(
                f"--video: found encoders ({encoder_set}) that compute {encoder.condition} at "
                f"{encoder.rate:g} a second, expected {rate:g} as this model was trained on; "
                "use shards with its own features (--shards)"
            )


def round_to_frames(seconds: float) -> float:
    """The nearest duration of whole latent frames, at least one, in seconds."""
    return max(conditions.num_latent_frames(seconds), 1) / conditions.LATENT_RATE
