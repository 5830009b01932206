"""One row of a manifest to the records of its examples."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.common.waves import cut_or_pad
from vssflow_jax.conditions import (
    LATENT_RATE,
    MONO_16K,
    SAMPLE_RATE,
    AudioFormat,
    num_frames,
    num_latent_frames,
)
from vssflow_jax.data.lip_track import LipTrack, read_lip_track
from vssflow_jax.data.manifest import ManifestRow
from vssflow_jax.data.shards import META, PHONEMES, WAVE, Record
from vssflow_jax.features import face_tracking, lip_alignment, lip_geometry, registry, speaker
from vssflow_jax.text import agreement, aligner, alignment, normalize, segmentation
from vssflow_jax.text.alignment import Interval
from vssflow_jax.text.durations import has_tokenizer
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.text.script import TimedScript, Utterance

MIN_SECONDS = 0.2  # shorter clips, or rests of long ones, are skipped
MAX_SECONDS_IN_MEMORY = 10.0  # of frames; those of longer clips are decoded again for each encoder
REFERENCE_SECONDS = 30.0  # of a reference voice that are encoded
MAX_SHORTFALL = 0.1  # seconds by which a clip's sound may end before its pictures without a note
MAX_ROUNDING = 0.5 / LATENT_RATE  # seconds by which rounding to latent frames shortens a clip
TEXT_NOTES = "text_notes"  # field of a record's meta: what of the text is not spoken
MOUTH_NOTE = "mouth_note"  # field of a record's meta: why the lips are missing
SOUND_NOTES = "sound_notes"  # field of a record's meta: what reading its sound had to change
VIDEO_NOTES = "video_notes"  # field of a record's meta: what of its pictures is missing
CUT_END = "cut_end"  # field of a record's meta: seconds of sound that rounding to frames leaves out
# Values of the field `times` of a record's meta: the source of the phonemes' times.
TIMES_FROM_FILE, TIMES_FROM_ALIGNER, TIMES_PREDICTED = "given", "heard", "predicted"
TIMES_FROM_LIPS = "seen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """What records depend on, except for the row.

    Attributes:
      max_seconds: longest example; longer clips are cut into windows, at pauses if they have a
        text.
      overlap: seconds that neighboring windows without a text share.
      encoder_set: name of the set of encoders (features.registry).
      durations: mean seconds by phoneme, for texts without an alignment; a DurationModel with a
        tokenizer turns texts into subwords instead of phonemes.
      text_policy: "refuse" or "skip" characters of a text that cannot be read.
      locate_mouth: track the lips of speakers whose annotation does not say where they are.
      audio_track: which audio track of a file is read, from 1; None: the file's default one.
      audio: format of the stored waves; conditions are made from 16 kHz mono.
    """

    max_seconds: float = 10.0
    overlap: float = 0.0
    encoder_set: str = "built-in"
    durations: Mapping[str, float] = dataclasses.field(default_factory=dict)
    text_policy: str = normalize.REFUSE
    locate_mouth: bool = True
    audio_track: int | None = None
    audio: AudioFormat = MONO_16K


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a clip: one example.

    Attributes:
      id: the example's.
      start: seconds into the clip.
      frames: latent frames.
      words: those said in it, if the text was cut as well.
      intervals: when their phonemes sound, if the text was cut as well.
      times: the source of the intervals.
      text_warnings: about what of the clip's text is not spoken, if the text was cut as well.
      wrap: latent frames that encoders see beyond both ends, of a loop's other end.
    """

    id: str
    start: float
    frames: int
    words: str = ""
    intervals: tuple[Interval, ...] | None = None
    times: str = ""
    text_warnings: tuple[str, ...] = ()
    wrap: int = 0

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / LATENT_RATE


def make_records(
    row: ManifestRow, annotation: Mapping | None, settings: ExampleSettings
) -> Iterator[Record]:
    """The records of a row: one, or one a window if the clip is longer than max_seconds.

    Every record covers a number of complete latent frames; its sound is cut or padded with
    silence to their length. What the row lacks is absent from its records.

    Args:
      row: a row of the manifest.
      annotation: the row's, if any; its `mouth` is the box around the lips.
      settings: the settings of all rows.

    Raises:
      InputError: the first problem with the row's files or text.
    """
    if row.problem:
        raise InputError(row.problem)
    info = _probe_video(row, settings) if row.video else None
    wave, sound_notes = _read_wave(row, info, settings)
    stored = _read_stored_wave(row, wave, settings)
    duration = info.duration if info else len(wave) / SAMPLE_RATE
    voice, voice_notes = _encode_row_voice(row, wave, settings)
    windows = _plan_windows(row, duration, wave, settings)
    frames = num_latent_frames(duration)
    cut_end = 0.0 if wave is None else _measure_rest(wave, frames)
    notes = [*sound_notes, *voice_notes, *_describe_rests(row, frames, windows, cut_end)]
    if wave is not None:
        notes += _describe_silence(row, duration, len(wave) / SAMPLE_RATE)
    media_hash = hash_media(row.video or row.audio)
    for window in windows:
        window_row = row
        if window.intervals is not None:
            task = row.task if window.words else "sound"
            window_row = dataclasses.replace(row, text=window.words or None, task=task)
        record, meta, lips = {}, _make_meta(window_row, annotation, window), None
        meta |= {SOUND_NOTES: notes} if notes else {}
        meta |= {CUT_END: round(cut_end, 4)} if 0 < cut_end <= MAX_ROUNDING else {}
        sound = None if wave is None else _cut_wave(wave, window)
        if sound is not None:
            record[WAVE] = media.to_int16(_cut_wave(stored, window, settings.audio.sample_rate))
            if settings.audio.sample_rate != SAMPLE_RATE:
                meta["sample_rate"] = settings.audio.sample_rate
        if row.video:
            speaks = window_row.task != "sound"
            video = encode_video(row.video, annotation, window, settings, speaks, row.lips)
            record |= video.features
            meta |= video.meta
            lips = video.lips
        if voice is not None and window_row.task == row.task:
            record["speaker"] = voice
        if window_row.text and window_row.task != "sound":
            intervals, times_meta = _align(window_row, window, sound, lips, settings)
            record[PHONEMES] = phonemes_to_frames(intervals, window.frames)
            meta |= times_meta
        record[META] = meta | {"source": name_source(media_hash, window)}
        yield record


def list_notes(meta: Mapping) -> list[str]:
    """What making a record left out or changed of its sound, pictures and text, a line each."""
    lines = (meta.get(name) for name in (SOUND_NOTES, VIDEO_NOTES, TEXT_NOTES))
    return list(dict.fromkeys(str(x) for some in lines if isinstance(some, list) for x in some))


def hash_media(path: str | os.PathLike) -> str:
    """Identity of a media file under any name: 16 digits of the SHA-256 of its bytes."""
    return hash_file(path)[:16]


def name_source(media_hash: str, window: Window) -> str:
    """Identity of a window of a media file: the file's, with the window's start unless 0."""
    return f"{media_hash}@{window.start:g}" if window.start else media_hash


def _make_meta(row: ManifestRow, annotation: Mapping | None, window: Window) -> dict:
    meta = {"id": window.id, "task": row.task, "duration": window.seconds}
    if row.text:
        meta["text"] = row.text
    if annotation is not None:
        meta["annotation"] = _shift_times(annotation, window)
    return meta


def _shift_times(annotation: Mapping, window: Window) -> dict:
    """The annotation with the onsets and events inside the window, in seconds from its start."""
    annotation = dict(annotation)
    if "onsets" in annotation:
        times = [round(t - window.start, 6) for t in annotation["onsets"]]
        annotation["onsets"] = [t for t in times if 0 <= t < window.seconds]
    if "events" in annotation:
        annotation["events"] = [
            [max(0.0, round(start - window.start, 6)), round(end - window.start, 6), label]
            for start, end, label in annotation["events"]
            if end >= window.start and start - window.start < window.seconds
        ]
    return annotation


# ---- windows ------------------------------------------------------------------------------


def _plan_windows(
    row: ManifestRow, duration: float, wave: np.ndarray | None, settings: ExampleSettings
) -> list[Window]:
    frames, max_frames = num_latent_frames(duration), num_latent_frames(settings.max_seconds)
    if duration < MIN_SECONDS:
        raise InputError(
            f"clip {row.id}: lasts {duration:.2f} s, expected at least {MIN_SECONDS} s"
        )
    if frames <= max_frames:
        return [Window(id=row.id, start=0.0, frames=frames)]
    if row.text and has_tokenizer(settings.durations):
        raise InputError(
            f"clip {row.id}: lasts {duration:.2f} s, expected at most {settings.max_seconds:g} s "
            "(a text in subwords is not cut)"
        )
    if row.text:
        return _plan_text_windows(row, wave, frames, max_frames, settings.text_policy)
    step = max_frames - num_latent_frames(settings.overlap)
    min_frames = num_latent_frames(settings.overlap + MIN_SECONDS)  # that add something new
    starts = [0, *(start for start in range(step, frames, step) if frames - start >= min_frames)]
    return [
        Window(
            id=f"{row.id}_{k}", start=start / LATENT_RATE, frames=min(max_frames, frames - start)
        )
        for k, start in enumerate(starts)
    ]


def _plan_text_windows(
    row: ManifestRow, wave: np.ndarray | None, frames: int, max_frames: int, policy: str
) -> list[Window]:
    """Windows that end where the speaker pauses, with the words of each."""
    words, warnings = normalize.read(row.text, policy)
    try:
        if row.alignment:
            intervals, times = alignment.read_alignment(row.alignment), TIMES_FROM_FILE
        elif wave is not None:
            intervals, times = aligner.align_words(wave, words), TIMES_FROM_ALIGNER
        else:
            raise InputError("found neither sound nor an alignment")
        segments = segmentation.split_at_pauses(words, intervals, frames, max_frames)
    except InputError as error:
        raise InputError(
            f"clip {row.id}: lasts {frames / LATENT_RATE:.2f} s, expected at most "
            f"{max_frames / LATENT_RATE:g} s or pauses to cut it at ({error})"
        ) from None
    warnings += _describe_late(row.alignment, intervals, frames / LATENT_RATE)
    return [
        Window(
            id=f"{row.id}_{k}",
            start=segment.start / LATENT_RATE,
            frames=segment.frames,
            words=" ".join(segment.words),
            intervals=segment.intervals,
            times=times,
            text_warnings=tuple(warnings),
        )
        for k, segment in enumerate(segments)
        if segment.words or segment.frames >= MIN_SECONDS * LATENT_RATE
    ]


def _measure_rest(wave: np.ndarray, frames: int) -> float:
    """Seconds of sound behind a clip's latent frames; 0 if they are silence."""
    rest = wave[frames * SAMPLE_RATE // LATENT_RATE :]
    return len(rest) / SAMPLE_RATE if media.is_audible(rest) else 0.0


def _describe_rests(
    row: ManifestRow, frames: int, windows: Sequence[Window], cut_end: float
) -> Iterator[str]:
    """Lines about what of a clip is in none of its windows, and about sound behind its end."""
    position = uncovered = 0
    for window in windows:
        start = round(window.start * LATENT_RATE)
        uncovered += max(start - position, 0)
        position = max(position, start + window.frames)
    uncovered += frames - position
    if uncovered:
        yield (
            f"clip {row.id}: {uncovered / LATENT_RATE:.2f} s of it are left out: parts shorter "
            f"than {MIN_SECONDS:g} s make no window"
        )
    if cut_end > MAX_ROUNDING:
        yield (
            f"{row.audio or row.video}: found {frames / LATENT_RATE + cut_end:.2f} s of sound for "
            f"a clip of {frames / LATENT_RATE:.2f} s: the rest of the sound is left out"
        )


def _describe_silence(row: ManifestRow, duration: float, sound_end: float) -> Iterator[str]:
    """A line about a clip of `duration` seconds whose sound ends earlier."""
    if duration - sound_end > MAX_SHORTFALL:
        yield (
            f"{row.audio or row.video}: found {sound_end:.2f} s of sound for a clip of "
            f"{duration:.2f} s: silence follows it"
        )


# ---- sound and voice ------------------------------------------------------------------------


def _probe_video(row: ManifestRow, settings: ExampleSettings) -> media.MediaInfo:
    info = media.probe(row.video, None if row.audio else settings.audio_track)
    if info.is_still:
        raise InputError(f"{row.video}: found a still image, expected a video")
    return info


def _read_wave(
    row: ManifestRow, info: media.MediaInfo | None, settings: ExampleSettings
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The clip's sound, float32 [n] or None without any, and what reading it had to change."""
    path = row.audio or (row.video if info.has_audio else None)
    if path is None:
        return None, ()
    sound = media.read_sound(path, track=settings.audio_track)
    return sound.wave, sound.notes


def _read_stored_wave(
    row: ManifestRow, wave: np.ndarray | None, settings: ExampleSettings
) -> np.ndarray | None:
    """The clip's sound in the format of the shards, float32 [n] or [n, A]; `wave` at 16 kHz."""
    if wave is None or settings.audio == MONO_16K:
        return wave
    return media.read_audio(
        row.audio or row.video,
        settings.audio.sample_rate,
        track=settings.audio_track,
        channels=settings.audio.channels,
    )


def _cut_wave(wave: np.ndarray, window: Window, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The window's samples, float32 [frames * sample_rate / 25] or [.., A]."""
    start = round(window.start * sample_rate)
    return cut_or_pad(wave[start:], window.frames * sample_rate // LATENT_RATE)


def _encode_row_voice(
    row: ManifestRow, wave: np.ndarray | None, settings: ExampleSettings
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Speaker embedding of the reference, else of the clip's own sound if somebody speaks; notes.

    None if the set has no encoder for voices.
    """
    if row.speaker_audio:
        return _encode_voice_cached(row.speaker_audio, settings.encoder_set, settings.audio_track)
    if wave is None or row.task == "sound":
        return None, ()
    features = registry.encode_example(speaker_wave=wave, encoder_set=settings.encoder_set)
    return features.get("speaker"), ()


def read_voice(
    path: str | os.PathLike, encoder_set: str = "built-in", audio_track: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Speaker embedding float16 [256] of a media file, and what reading it had to change.

    Raises:
      InputError: names the file if it is silent, or if the set has no encoder for voices.
    """
    voice, notes = _encode_voice(path, encoder_set, audio_track)
    if voice is None:
        raise InputError(
            f"{path}: found encoders ({encoder_set}) without one for voices, "
            "expected speaker=built-in, speaker=bundled or speaker=published among them"
        )
    return voice, notes


def _encode_voice(
    path: str | os.PathLike, encoder_set: str, audio_track: int | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """As `read_voice`; None if the set has no encoder for voices."""
    sound = media.read_sound(path, seconds=REFERENCE_SECONDS + 1, track=audio_track)
    wave, rest = np.split(sound.wave, [round(REFERENCE_SECONDS * SAMPLE_RATE)])
    notes = sound.notes
    if media.is_audible(rest):
        notes += (
            f"{path}: found more than {REFERENCE_SECONDS:g} s of sound: the voice is that of the "
            f"first {REFERENCE_SECONDS:g} s",
        )
    try:
        features = registry.encode_example(speaker_wave=wave, encoder_set=encoder_set)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return features.get("speaker"), notes


_encode_voice_cached = functools.lru_cache(maxsize=64)(_encode_voice)  # rows share voices


# ---- video --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """A window of a video.

    Attributes:
      features: conditions by name.
      meta: fields of a record's `meta` about the pictures.
      lips: the track of a speaker's lips; None where none was found.
    """

    features: Record
    meta: dict
    lips: LipTrack | None = None


def encode_video(
    video: str | os.PathLike,
    annotation: Mapping | None,
    window: Window,
    settings: ExampleSettings,
    speaks: bool = False,
    lip_file: str | None = None,
) -> EncodedVideo:
    """Conditions from the frames of a window of a video.

    Preparation and generation both call this, so that training and sampling agree. The lips are
    where the annotation says. Without one they are tracked if somebody `speaks`, in the largest
    face or in the one that the annotation names. Their geometry is that of `lip_file`
    (data.lip_track), else of the track of that face.
    """
    reader = media.FrameReader(
        video,
        registry.VIDEO_RATE,
        registry.select_frame_side(settings.encoder_set),
        start=window.start,
        seconds=window.seconds,
    )
    frames: Iterable[np.ndarray] = reader
    if window.wrap:
        frames = LoopFrames(reader, window.frames, window.wrap)
    if annotation is not None or window.seconds <= MAX_SECONDS_IN_MEMORY:
        frames = list(frames)
    box, meta = (annotation or {}).get("mouth"), {}
    mouth = None if box is None else np.asarray(box, float) * np.tile(reader.scale, 2)
    lips = None if lip_file is None else _read_lips(lip_file, window)
    needs_track = lip_file is None and registry.needs_landmarks(settings.encoder_set)
    if speaks and settings.locate_mouth and (mouth is None or needs_track):
        face = _parse_face(annotation, reader.scale)
        mouth, meta = _track_mouth(frames, mouth if face is None else face)
        if lips is None and mouth is not None:
            lips = lip_geometry.measure_lips(mouth)
    margin = window.wrap / LATENT_RATE
    features = registry.encode_example(
        frames,
        None,
        mouth,
        lips=lips,
        duration=window.seconds + 2 * margin,
        encoder_set=settings.encoder_set,
    )
    if window.wrap:
        features = _cut_margins(features, window, settings.encoder_set)
        lips = lips and lips.select(margin, window.seconds)
    meta |= {VIDEO_NOTES: list(reader.notes)} if reader.notes else {}
    return EncodedVideo(features=features, meta=meta, lips=lips)


@dataclasses.dataclass(frozen=True)
class LoopFrames:
    """The frames of a loop, with the end of it before its start and the start behind its end.

    Attributes:
      frames: uint8 [H, W, 3] each, from which all can be iterated repeatedly; the last one is held
        if there are fewer than `count`.
      count: frames of the loop.
      wrap: frames of its other end, on both sides; at most all.
    """

    frames: Iterable[np.ndarray]
    count: int
    wrap: int

    def __iter__(self) -> Iterator[np.ndarray]:
        first = self.count - self.wrap
        for start, end in ((first, self.count), (0, self.count), (0, self.wrap)):
            yield from itertools.islice(self._hold_last(), start, end)

    def _hold_last(self) -> Iterator[np.ndarray]:
        """All frames, the last one again and again."""
        for frame in self.frames:
            yield frame
        yield from itertools.repeat(frame)


def _cut_margins(features: Record, window: Window, encoder_set: str) -> Record:
    """The conditions of a loop without those of the margins on both sides."""
    cut = dict(features)
    for encoder in registry.select_encoders(encoder_set):
        if encoder.condition in cut and encoder.rate is not None:
            first = round(window.wrap / LATENT_RATE * encoder.rate)
            count = num_frames(encoder.condition, window.seconds, encoder.rate)
            cut[encoder.condition] = cut[encoder.condition][first : first + count]
    return cut


def _read_lips(path: str, window: Window) -> LipTrack | None:
    """The track of a file within a window; None where it has no face there."""
    track = read_lip_track(path).select(window.start, window.seconds)
    return track if track.seen.any() else None


def _parse_face(annotation: Mapping | None, scale: tuple[float, float]) -> np.ndarray | None:
    """The point or the box of the face that an annotation asks for, in pixels of the frames."""
    face = (annotation or {}).get("face")
    if face is None:
        return None
    numeric = isinstance(face, list) and all(isinstance(x, int | float) for x in face)
    if not numeric or len(face) not in (2, 4):
        raise InputError(
            f"annotation, field face: found {face!r}, expected [x, y] or [x0, y0, x1, y1] in pixels"
        )
    return np.asarray(face, float) * np.tile(scale, len(face) // 2)


def _track_mouth(
    frames: Iterable[np.ndarray], face: np.ndarray | None
) -> tuple[face_tracking.MouthTrack | None, dict]:
    """The mouth, None if too few frames show it; and fields of `meta` about it."""
    try:
        mouth = face_tracking.track_mouth(frames, face)
    except InputError as error:
        return None, {MOUTH_NOTE: f"lips are missing: {error}"}
    coverage = 0.0 if mouth is None else mouth.coverage
    meta = {"mouth_coverage": round(coverage, 3)}
    if coverage < face_tracking.MIN_COVERAGE:
        meta[MOUTH_NOTE] = (
            f"lips are missing: a mouth was found in {coverage:.0%} of the pictures, "
            f"expected {face_tracking.MIN_COVERAGE:.0%} or more"
        )
        mouth = None
    return mouth, meta


# ---- times of phonemes ----------------------------------------------------------------------


def _align(
    row: ManifestRow,
    window: Window,
    sound: np.ndarray | None,
    lips: LipTrack | None,
    settings: ExampleSettings,
) -> tuple[list[Interval], dict]:
    """When the phonemes sound, and fields of `meta` about that.

    The times are those of the row's alignment file, else the aligner's, else predicted within the
    voiced part of the sound. Without sound they follow the lips, else they are predicted as in
    generation.
    """
    if window.intervals is not None:
        return _with_meta(window.intervals, window.times, window.text_warnings)
    if row.alignment and has_tokenizer(settings.durations):
        raise InputError(
            f"clip {row.id}, field alignment: found {row.alignment}, expected none beside subwords"
        )
    if row.alignment:
        intervals, notes = _read_alignment(row.alignment, window.seconds)
        notes += _compare_text(row, intervals, settings.text_policy)
        return _with_meta(intervals, TIMES_FROM_FILE, notes)
    durations = settings.durations
    if sound is None:
        intervals, warnings = alignment.align_text(
            row.text, None, None, window.seconds, durations, settings.text_policy
        )
        timed = TimedScript(intervals=intervals, spans=[], warnings=warnings)
        script = [Utterance(text=row.text)]
        if seen := lip_alignment.follow_lips(timed, script, lips, durations, settings.text_policy):
            return _with_meta(seen.intervals, TIMES_FROM_LIPS, seen.warnings)
        return intervals, {"times": TIMES_PREDICTED} | _note_text(warnings)
    symbols, warnings = alignment.text_to_symbols(row.text, durations, settings.text_policy)
    start, end = speaker.find_voiced_span(sound)
    alignment.check_fit(symbols, start, end, durations)
    predicted = {"times": TIMES_PREDICTED}
    if not has_tokenizer(durations):
        try:
            words = normalize.words(row.text, settings.text_policy)
            return _with_meta(aligner.align_words(sound, words), TIMES_FROM_ALIGNER, warnings)
        except InputError as error:
            predicted["times_note"] = str(error)
    intervals = alignment.place_phonemes(symbols, start, end, durations)
    return intervals, predicted | _note_text(warnings)


def _note_text(warnings: Sequence[str]) -> dict:
    return {TEXT_NOTES: list(warnings)} if warnings else {}


def _with_meta(
    intervals: Iterable[Interval], times: str, warnings: Sequence[str] = ()
) -> tuple[list[Interval], dict]:
    intervals = list(intervals)
    rounded = [[round(i.start, 4), round(i.end, 4), i.symbol] for i in intervals]
    return intervals, {"times": times, "alignment": rounded} | _note_text(warnings)


def _read_alignment(path: str, seconds: float) -> tuple[list[Interval], list[str]]:
    """The intervals of a file within the first `seconds`, and a line about others."""
    intervals = alignment.read_alignment(path)
    inside = [i._replace(end=min(i.end, seconds)) for i in intervals if i.start < seconds]
    if not inside:
        raise InputError(
            f"{path}: found {len(intervals)} phonemes, none within the clip's "
            f"{seconds:.2f} s, expected its phonemes"
        )
    return inside, _describe_late(path, intervals, seconds)


def _describe_late(path: str | None, intervals: Sequence[Interval], seconds: float) -> list[str]:
    """A line about phonemes that begin after the clip's end; None: the times of the aligner."""
    num_late = sum(interval.start >= seconds for interval in intervals)
    if not num_late:
        return []
    return [
        f"{path or 'speech'}: {num_late} of {len(intervals)} phonemes begin after the clip's end "
        f"at {seconds:.2f} s: they are left out"
    ]


def _compare_text(row: ManifestRow, intervals: Sequence[Interval], policy: str) -> list[str]:
    """A line if the row's alignment does not say the words of its text."""
    try:
        mismatch = agreement.find_mismatch(normalize.words(row.text, policy), intervals)
    except InputError as error:
        return [f"{row.alignment}: cannot be compared with the text ({error})"]
    return [f"{row.alignment}: {mismatch}: the alignment is used"] if mismatch else []
