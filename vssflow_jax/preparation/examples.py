"""One row of a manifest to the records of its clips."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE, num_latent_frames
from vssflow_jax.data.manifest import ManifestRow
from vssflow_jax.data.shards import META, PHONEMES, WAVE, Record
from vssflow_jax.features import face_tracking, registry, speaker
from vssflow_jax.text import aligner, alignment, normalize, segmentation
from vssflow_jax.text.alignment import align_text, text_to_symbols
from vssflow_jax.text.durations import has_tokenizer
from vssflow_jax.text.grid import phonemes_to_frames

SHORTEST = 0.2  # seconds; a clip or the rest of a long one that is shorter is of no use
HELD = 10.0  # seconds whose pictures are held in memory; those of a longer clip are decoded again
REFERENCE = 30.0  # seconds of a reference voice that are heard
FRAME_SAMPLES = SAMPLE_RATE // LATENT_RATE
MOUTH_NOTE = "mouth_note"  # field of a record's meta: why the lips are missing
GIVEN, HEARD, PREDICTED = "given", "heard", "predicted"  # where the phonemes' times are from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What records depend on beside the row.

    Attributes:
      max_seconds: longest clip; longer ones are cut into windows, at pauses if they have a text.
      overlap: seconds that neighbouring windows without a text share.
      encoder_set: name of the set of encoders (features.encode).
      durations: mean seconds by phoneme, for texts without an alignment; a Pace with a model
        makes subwords of texts instead.
      find_mouths: look for the lips of those who speak, where no annotation says where they are.
    """

    max_seconds: float = 10.0
    overlap: float = 0.0
    encoder_set: str = "built-in"
    durations: Mapping[str, float] = dataclasses.field(default_factory=dict)
    find_mouths: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a row's media: id of its clip, first second, latent frames.

    Where a text was cut as well, also its words, when they are said, and how that is known.
    """

    id: str
    start: float
    frames: int
    words: str = ""
    spoken: tuple[alignment.Interval, ...] | None = None
    times: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / LATENT_RATE


def records(row: ManifestRow, note: Mapping | None, settings: Settings) -> Iterator[Record]:
    """The records of a row: one, or one a window when the clip is longer than max_seconds.

    Every record covers a whole number of latent frames; sound is cut or followed by silence to
    their length. What a row does not have is absent from its record.

    Args:
      row: of the manifest.
      note: the row's annotation, if any; `mouth` in it says where the lips are.
      settings: see there.

    Raises:
      InputError: the first thing that is wrong with the row's files or text.
    """
    if row.problem:
        raise InputError(row.problem)
    info = media.probe(row.video) if row.video else None
    wave = _wave(row, info)
    duration = info.duration if info else len(wave) / SAMPLE_RATE
    voice = _voice(row, wave, settings)
    file = source(row.video or row.audio)
    for window in _windows(row, duration, wave, settings):
        own = row
        if window.spoken is not None:
            task = row.task if window.words else "sound"
            own = dataclasses.replace(row, text=window.words or None, task=task)
        record, said = {}, {}
        sound = None if wave is None else _cut(wave, window)
        if sound is not None:
            record[WAVE] = media.pcm(sound)
        if row.video:
            made, said = seen(row.video, note, window, settings, speaks=own.task != "sound")
            record |= made
        if voice is not None and own.task == row.task:
            record["speaker"] = voice
        intervals, times = None, {}
        if own.text and own.task != "sound":
            intervals, times = _intervals(own, window, sound, settings)
            record[PHONEMES] = phonemes_to_frames(intervals, window.frames)
        record[META] = _meta(own, note, window) | said | times | {"source": part(file, window)}
        yield record


def source(path: str | os.PathLike) -> str:
    """What a media file is, whatever it is called: 16 digits of the SHA-256 of its bytes."""
    return hash_file(path)[:16]


def part(file: str, window: Window) -> str:
    """Name of a window of a `source`: its own, with the first second unless that is 0."""
    return f"{file}@{window.start:g}" if window.start else file


def _wave(row: ManifestRow, info: media.MediaInfo | None) -> np.ndarray | None:
    """The clip's sound, float32 [n]; None where there is none."""
    if row.audio:
        return media.read_audio(row.audio)
    return media.read_audio(row.video) if info.has_audio else None


def _windows(
    row: ManifestRow, duration: float, wave: np.ndarray | None, settings: Settings
) -> list[Window]:
    total, most = num_latent_frames(duration), num_latent_frames(settings.max_seconds)
    if duration < SHORTEST:
        raise InputError(f"clip {row.id}: lasts {duration:.2f} s, expected at least {SHORTEST} s")
    if total <= most:
        return [Window(id=row.id, start=0.0, frames=total)]
    if row.text and _subwords(settings):
        raise InputError(
            f"clip {row.id}: lasts {duration:.2f} s, expected at most {settings.max_seconds:g} s "
            "(a text in subwords is not cut)"
        )
    if row.text:
        return _windows_of_text(row, wave, total, most)
    step = most - num_latent_frames(settings.overlap)
    least = num_latent_frames(settings.overlap + SHORTEST)  # with something new in it
    firsts = [0, *(first for first in range(step, total, step) if total - first >= least)]
    return [
        Window(id=f"{row.id}_{k}", start=first / LATENT_RATE, frames=min(most, total - first))
        for k, first in enumerate(firsts)
    ]


def _windows_of_text(
    row: ManifestRow, wave: np.ndarray | None, total: int, most: int
) -> list[Window]:
    """Windows that end where the speaker pauses, with the words of each."""
    words = normalize.words(row.text)
    try:
        if row.alignment:
            spoken, times = alignment.read_alignment(row.alignment), GIVEN
        elif wave is not None:
            spoken, times = aligner.align_words(wave, words), HEARD
        else:
            raise InputError("found neither sound nor an alignment")
        pieces = segmentation.split_at_pauses(words, spoken, total, most)
    except InputError as error:
        raise InputError(
            f"clip {row.id}: lasts {total / LATENT_RATE:.2f} s, expected at most "
            f"{most / LATENT_RATE:g} s or pauses to cut it at ({error})"
        ) from None
    return [
        Window(
            id=f"{row.id}_{k}",
            start=piece.start / LATENT_RATE,
            frames=piece.frames,
            words=" ".join(piece.words),
            spoken=piece.intervals,
            times=times,
        )
        for k, piece in enumerate(pieces)
        if piece.words or piece.frames >= SHORTEST * LATENT_RATE
    ]


def _cut(wave: np.ndarray, window: Window) -> np.ndarray:
    """The window's samples, float32 [frames * 640]."""
    first, length = round(window.start * SAMPLE_RATE), window.frames * FRAME_SAMPLES
    part = wave[first : first + length]
    return np.pad(part, (0, length - len(part)))


def seen(
    video: str | os.PathLike,
    note: Mapping | None,
    window: Window,
    settings: Settings,
    speaks: bool = False,
) -> tuple[Record, dict]:
    """Conditions from the pictures of a window of a video, and what is to be said of its mouth.

    Training data and generation both come through here, so that both see the same. The lips are
    where the annotation says; without one they are looked for if somebody `speaks`, in the
    largest face or in the one that the annotation names.
    """
    pictures = media.Pictures(
        video,
        registry.VIDEO_RATE,
        registry.select_frame_side(settings.encoder_set),
        start=window.start,
        seconds=window.seconds,
    )
    frames: Iterable[np.ndarray] = pictures
    if note is not None or window.seconds <= HELD:
        frames = np.stack(list(pictures))
    mouth, said = (note or {}).get("mouth"), {}
    if mouth is not None:
        mouth = np.asarray(mouth, float) * np.tile(pictures.scale, 2)
    elif speaks and settings.find_mouths:
        mouth, said = _mouth(frames, _face(note, pictures.scale))
    made = registry.encode_example(
        frames, None, mouth, duration=window.seconds, encoder_set=settings.encoder_set
    )
    return made, said


def _face(note: Mapping | None, scale: tuple[float, float]) -> np.ndarray | None:
    """The point or the box of the face that an annotation asks for, in pixels of the frames."""
    face = (note or {}).get("face")
    if face is None:
        return None
    numbers = isinstance(face, list) and all(isinstance(x, int | float) for x in face)
    if not numbers or len(face) not in (2, 4):
        raise InputError(
            f"annotation, field face: found {face!r}, expected [x, y] or [x0, y0, x1, y1] in pixels"
        )
    return np.asarray(face, float) * np.tile(scale, len(face) // 2)


def _mouth(
    frames: Iterable[np.ndarray], face: np.ndarray | None
) -> tuple[face_tracking.MouthTrack | None, dict]:
    """The mouth, None where it is not seen often enough; and why, or how often it is seen."""
    try:
        mouth = face_tracking.track_mouth(frames, face)
    except InputError as error:
        return None, {MOUTH_NOTE: f"lips are missing: {error}"}
    coverage = 0.0 if mouth is None else mouth.coverage
    said = {"mouth_coverage": round(coverage, 3)}
    if coverage < face_tracking.MIN_COVERAGE:
        said[MOUTH_NOTE] = (
            f"lips are missing: a mouth was found in {coverage:.0%} of the pictures, "
            f"expected {face_tracking.MIN_COVERAGE:.0%} or more"
        )
    return mouth if coverage >= face_tracking.MIN_COVERAGE else None, said


def _voice(row: ManifestRow, wave: np.ndarray | None, settings: Settings) -> np.ndarray | None:
    """Speaker embedding: of the reference, else of the clip's own sound if somebody speaks.

    None where the encoders chosen leave voices out.
    """
    if row.speaker_audio:
        return _reference(row.speaker_audio, settings.encoder_set)
    if wave is None or row.task == "sound":
        return None
    return registry.encode_example(speaker_wave=wave, encoder_set=settings.encoder_set).get(
        "speaker"
    )


def read_voice(path: str | os.PathLike, encoder_set: str = "built-in") -> np.ndarray:
    """Speaker embedding float16 [256] of a media file.

    Raises:
      InputError: names the file if it is silent, or if none of the encoders is for voices.
    """
    found = _embedded(path, encoder_set)
    if found is None:
        raise InputError(
            f"{path}: found encoders ({encoder_set}) without one for voices, "
            "expected speaker=built-in or speaker=published among them"
        )
    return found


def _embedded(path: str | os.PathLike, encoder_set: str) -> np.ndarray | None:
    """The same; None where the set has no encoder for voices."""
    wave = media.read_audio(path, seconds=REFERENCE)
    try:
        return registry.encode_example(speaker_wave=wave, encoder_set=encoder_set).get("speaker")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


_reference = functools.lru_cache(maxsize=64)(_embedded)  # many rows share a voice


def _intervals(
    row: ManifestRow, window: Window, sound: np.ndarray | None, settings: Settings
) -> tuple[list[alignment.Interval], dict]:
    """When the phonemes sound, and what the record says of that.

    As aligned in a file, else as the aligner hears them, else spread over the part that is not
    silent. Without sound they get the times that generation gives them.
    """
    if window.spoken is not None:
        return list(window.spoken), {"times": window.times, "alignment": _rounded(window.spoken)}
    subwords = _subwords(settings)
    if row.alignment and subwords:
        raise InputError(
            f"clip {row.id}, field alignment: found {row.alignment}, expected none beside subwords"
        )
    if row.alignment:
        found = alignment.read_alignment(row.alignment)
        seconds = window.seconds
        inside = [i._replace(end=min(i.end, seconds)) for i in found if i.start < seconds]
        if not inside:
            raise InputError(
                f"{row.alignment}: found {len(found)} phonemes, none within the clip's "
                f"{window.seconds:.2f} s, expected its phonemes"
            )
        return inside, {"times": GIVEN, "alignment": _rounded(inside)}
    if sound is None:
        spread = align_text(row.text, None, None, window.seconds, settings.durations)[0]
        return spread, {"times": PREDICTED}
    symbols = text_to_symbols(row.text, settings.durations)
    start, end = speaker.find_voiced_span(sound)
    alignment.check_fit(symbols, start, end, settings.durations)
    if subwords:
        spread = alignment.place_phonemes(symbols, start, end, settings.durations)
        return spread, {"times": PREDICTED}
    try:
        heard = aligner.align_words(sound, normalize.words(row.text))
        return heard, {"times": HEARD, "alignment": _rounded(heard)}
    except InputError as error:
        spread = alignment.place_phonemes(symbols, start, end, settings.durations)
        return spread, {"times": PREDICTED, "times_note": str(error)}


def _subwords(settings: Settings) -> bool:
    """Whether texts become subwords instead of phonemes."""
    return has_tokenizer(settings.durations)


def _rounded(intervals: Iterable[alignment.Interval]) -> list[list]:
    return [[round(i.start, 4), round(i.end, 4), i.symbol] for i in intervals]


def _meta(row: ManifestRow, note: Mapping | None, window: Window) -> dict:
    meta = {"id": window.id, "task": row.task, "duration": window.seconds}
    if row.text:
        meta["text"] = row.text
    if note is not None:
        meta["annotation"] = _shifted(note, window)
    return meta


def _shifted(note: Mapping, window: Window) -> dict:
    """The annotation with onsets counted from the window's start; those outside it are gone."""
    note = dict(note)
    if "onsets" in note:
        times = [round(t - window.start, 6) for t in note["onsets"]]
        note["onsets"] = [t for t in times if 0 <= t < window.seconds]
    return note
