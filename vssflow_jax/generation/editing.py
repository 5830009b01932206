"""Edits of a sound: spans of it generated anew, a longer end, a loop.

What is kept is known to the flow as a latent (flow.inpainting). The result is mixed in the time
domain: outside the spans it is the kept sound bit for bit, and inside their borders a short fade
leads from one to the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import blend_waves, cut_or_pad, fade_shares, to_mono
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE, AudioFormat

FADE = 0.02  # seconds
# Latent frames at the end of a kept sound that are generated anew where it is extended: the codec
# encoded them with the silence behind the end.
EXTENSION_OVERLAP = 2
MIN_LOOP = 1.0  # seconds
# Latent frames of a loop's other end that are encoded and decoded beyond both ends; they last
# whole frames of every condition.
LOOP_CONTEXT = round(MIN_LOOP * LATENT_RATE)
MAX_SPANS = 1000
MAX_KEPT = 3600.0  # seconds of a kept sound
ROUNDING = 1e-6  # latent frames
Span = tuple[float, float]  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """What of a sound is kept, and how it ends; `parse` checks it.

    Attributes:
      keep: a media file whose sound is kept where it is not generated anew; None: nothing is.
      redo: spans that are generated anew, in order; an end of infinity is that of the clip.
      redo_text: what is said in the span in place of the script; None: what the script says.
      loop: whether the end of the clip joins its start.
    """

    keep: Path | None = None
    redo: tuple[Span, ...] = ()
    redo_text: str | None = None
    loop: bool = False

    @classmethod
    def parse(
        cls,
        keep: Path | None = None,
        redo: str | Sequence[str | Span] | None = None,
        redo_text: str | None = None,
        loop: bool = False,
    ) -> Edit:
        """The edit of a caller's arguments; see the attributes.

        Raises:
          InputError: values of the wrong type or out of range, or that exclude each other.
        """
        if not isinstance(redo, str | Sequence | None):
            raise InputError(f"--redo: found {redo!r}, expected spans such as 2.0:3.5,6:7")
        items = redo.split(",") if isinstance(redo, str) else redo or ()
        spans = tuple(sorted(parse_span(item) for item in items))
        if len(spans) > MAX_SPANS:
            raise InputError(f"--redo: found {len(spans)} spans, expected at most {MAX_SPANS}")
        if spans and keep is None:
            raise InputError("found --redo without --keep, expected the sound that is kept")
        if redo_text is not None and not (isinstance(redo_text, str) and redo_text.strip()):
            raise InputError(f"--redo_text: found {redo_text!r}, expected what is said")
        if redo_text is not None and len(spans) != 1:
            raise InputError(
                f"--redo_text: found {len(spans)} spans in --redo, expected the one in which it is "
                "said"
            )
        if loop and keep is not None:
            raise InputError("found --loop beside --keep, expected one or the other")
        return cls(keep=keep, redo=spans, redo_text=redo_text, loop=bool(loop))

    def describe(self) -> dict:
        """The report of an output, as JSON; what is not in use is left out."""
        out = {} if self.keep is None else {"kept": str(self.keep)}
        out |= {} if self.redo_text is None else {"redo_text": self.redo_text}
        return out | ({"loop": True} if self.loop else {})


def parse_span(item: str | Span) -> Span:
    """The seconds of `2.0:3.5` or (2.0, 3.5); without an end, up to that of the clip.

    Raises:
      InputError: anything else, or an end before the start.
    """
    parts = item.split(":") if isinstance(item, str) else item
    try:
        start, end = parts
        if isinstance(item, str):
            start, end = start.strip() or 0.0, end.strip() or math.inf
        start, end = float(start), math.inf if end is None else float(end)
    except (TypeError, ValueError):
        raise InputError(
            f"--redo: found {item!r}, expected seconds such as 2.0:3.5, or 2.0: up to the end"
        ) from None
    if not 0 <= start <= end or start == math.inf:
        raise InputError(f"--redo: found {item!r}, expected a start of 0 or more before the end")
    return start, end


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptSound:
    """A sound that is kept, and the spans of the clip that are generated anew.

    Attributes:
      wave: in the codec's format, float32 [n] or [n, A].
      audio: that format.
      spans: what is generated anew, those that touch joined.
      duration: of the clip, seconds.
      notes: what reading had to change, a line each.
    """

    wave: np.ndarray
    audio: AudioFormat
    spans: Sequence[Span]
    duration: float
    notes: Sequence[str] = ()
    prefix: ClassVar[int] = 0

    @classmethod
    def read(cls, edit: Edit, duration: float | None, audio: AudioFormat) -> KeptSound:
        """The sound of an edit in a codec's format.

        Args:
          edit: one that keeps a sound.
          duration: of the clip, seconds; None: that of the sound.
          audio: the codec's format.

        Raises:
          InputError: a file that is missing or has no sound, a sound longer than the clip, a span
            that is not within it, or nothing to generate.
        """
        longest = MAX_KEPT if duration is None else duration
        sound = media.read_sound(
            edit.keep, audio.sample_rate, seconds=longest + 1, channels=audio.channels
        )
        if not len(sound.wave):
            raise InputError(f"--keep={edit.keep}: found no samples, expected sound")
        notes = [*sound.notes, *_describe_conversion(edit.keep, audio)]
        duration = len(sound.wave) / audio.sample_rate if duration is None else duration
        wave, cuts = _cut_end(sound.wave, min(duration, longest), audio, edit.keep)
        return cls(
            wave=wave,
            audio=audio,
            spans=merge_spans(_find_spans(edit, len(wave) / audio.sample_rate, duration)),
            duration=duration,
            notes=[*notes, *cuts],
        )

    def find_known_frames(self, num_frames: int) -> np.ndarray:
        """Whether each latent frame is known, bool [num_frames]: those that no span touches."""
        seconds = len(self.wave) / self.audio.sample_rate
        known = np.arange(num_frames) < math.ceil(seconds * LATENT_RATE - ROUNDING)
        for start, end in self.spans:
            first = math.floor(start * LATENT_RATE + ROUNDING)
            known[first : math.ceil(end * LATENT_RATE - ROUNDING)] = False
        return known

    def cut_speech(self, utterances: Sequence[Span]) -> np.ndarray:
        """What is kept of these spans of speech, one after another, float32 [n] at 16 kHz."""
        rate, length = self.audio.sample_rate, len(self.wave)
        is_kept = _mask_spans(utterances, length, rate) & ~_mask_spans(self.spans, length, rate)
        return to_mono(self.wave[is_kept], rate, SAMPLE_RATE)

    def pad(self, num_frames: int) -> np.ndarray:
        """The wave with silence up to the end of the latent."""
        return cut_or_pad(self.wave, num_frames * self.audio.sample_rate // LATENT_RATE)

    def prepend(self, record: Mapping, rates: Mapping) -> Mapping:
        """The record as it is: nothing comes before the clip."""
        return record

    def describe(self) -> dict:
        """The report of an output, as JSON."""
        return {"generated": [list(span) for span in self.spans]}

    def mix(self, generated: np.ndarray) -> np.ndarray:
        """The kept sound with the generated one in the spans, [n] or [n, A] like `generated`.

        Inside a border of a span the two are blended for `FADE` seconds, unless that is the start
        or the end of the clip.
        """
        rate, out = self.audio.sample_rate, cut_or_pad(self.wave, len(generated)).copy()
        generated = np.clip(generated * self._find_gain(generated), -1, 1)
        for start, end in self.spans:
            first, last = round(start * rate), min(round(end * rate), len(out))
            old, new = out[first:last].copy(), generated[first:last]
            fade = min(round(FADE * rate), (last - first) // 2)
            shares = fade_shares(fade)
            out[first:last] = new
            if first > 0:
                out[first : first + fade] = blend_waves(old[:fade], new[:fade], shares)
            if last < len(out):
                rest = slice(len(new) - fade, None)
                out[last - fade : last] = blend_waves(old[rest], new[rest], shares[::-1])
        return out

    def _find_gain(self, generated: np.ndarray) -> float:
        """What brings the generated sound to the kept one's level, by the frames that both have.

        Some codecs normalize the level. 1 where nothing audible is kept.
        """
        is_known = np.arange(len(generated)) < len(self.wave)
        is_known &= ~_mask_spans(self.spans, len(generated), self.audio.sample_rate)
        kept, coded = cut_or_pad(self.wave, len(generated))[is_known], generated[is_known]
        if not (media.is_audible(kept) and media.is_audible(coded)):
            return 1.0
        return float(np.linalg.norm(kept) / np.linalg.norm(coded))


def _mask_spans(spans: Sequence[Span], length: int, sample_rate: int) -> np.ndarray:
    """Which of so many samples are in one of the spans, bool [length]."""
    mask = np.zeros(length, bool)
    for start, end in spans:
        mask[round(start * sample_rate) : round(end * sample_rate)] = True
    return mask


def _describe_conversion(path: Path, audio: AudioFormat) -> list[str]:
    """Lines about other tracks of a file, and about another format than the codec's."""
    track, sample_rate = media.read_track_header(path), media.read_header(path).sample_rate
    source, notes = AudioFormat(sample_rate, len(track.channels)), []
    if track.tracks > 1:
        notes.append(
            f"--keep={path}: found {track.tracks} audio tracks: number {track.number} is kept, "
            "others are left out"
        )
    if source != audio:
        notes.append(
            f"--keep={path}: found {source}, expected {audio}, the model's format: it is "
            "converted, so that what is kept differs from the file"
        )
    return notes


def _cut_end(
    wave: np.ndarray, duration: float, audio: AudioFormat, path: Path
) -> tuple[np.ndarray, list[str]]:
    """The wave without what rounding the clip to latent frames cuts, and a line about it.

    Raises:
      InputError: the wave is longer than the clip by a latent frame or more.
    """
    length = round(duration * audio.sample_rate)
    excess = (len(wave) - length) / audio.sample_rate
    if excess <= 0:
        return wave, []
    if excess >= 1 / LATENT_RATE:
        prefix = "more than " if excess >= 1 else ""  # no more than that was read
        raise InputError(
            f"--keep={path}: found {prefix}{duration + excess:.2f} s of sound, expected at most "
            f"the {duration:.2f} s of the clip"
        )
    return wave[:length], [f"--keep={path}: left out the last {1000 * excess:.0f} ms, which are "
                           "behind the end of the clip"]  # fmt: skip


def _find_spans(edit: Edit, seconds: float, duration: float) -> list[Span]:
    """The spans of an edit, and what comes after the end of its sound of this length.

    Raises:
      InputError: a span that is not within the clip, or none.
    """
    limit = duration + 0.5 / LATENT_RATE
    for start, end in edit.redo:
        if start > limit or limit < end < math.inf:
            last = "" if end == math.inf else f"{end:g}"
            raise InputError(
                f"--redo: found {start:g}:{last}, expected a span within 0 to {duration:g} s"
            )
    spans = [(start, min(end, duration)) for start, end in edit.redo]
    if duration - seconds >= 1 / LATENT_RATE:
        last_frame = int(seconds * LATENT_RATE + ROUNDING) - EXTENSION_OVERLAP
        spans.append((max(last_frame, 0) / LATENT_RATE, duration))
    if not spans:
        raise InputError(
            f"found --keep of {seconds:g} s without --redo, expected spans to generate anew, or a "
            "longer --duration"
        )
    return spans


def merge_spans(spans: Sequence[Span]) -> list[Span]:
    """The spans in order, those that touch joined, empty ones left out."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def join_loop(wave: np.ndarray, continuation: np.ndarray, sample_rate: int) -> np.ndarray:
    """A loop [n, ...] whose first samples fade in from what goes on behind its end."""
    fade = min(round(FADE * sample_rate), len(continuation), len(wave))
    start = blend_waves(continuation[:fade], wave[:fade], fade_shares(fade))
    return np.concatenate([start, wave[fade:]])
