"""The encoders of a clip: which one makes which condition, and all of them at once.

A set of encoders is chosen by name. Each encoder has a version; it goes into the hash that
shards and checkpoints carry, so a change of the numbers that an encoder gives needs a new one.

`encode_clip` runs in many processes at once, which have no accelerator runtime. An encoder that
needs the device prepares its input here and calls `pool.together(run, input)`: the main process,
which holds the device, runs all inputs that wait in one batch, while the others decode.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vssflow_jax.conditions import frames as frame_count
from vssflow_jax.errors import InputError
from vssflow_jax.features import lips, pixels, speaker
from vssflow_jax.features.faces import Mouth

VIDEO_RATE = 25.0  # frames a second at which videos are decoded for the encoders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """What encoders see. Anything may be None: then the conditions that need it are missing.

    Attributes:
      duration: seconds.
      frames: uint8 [T, H, W, 3] at 25 a second.
      thumbs: float32 [T, 768], thumbnails of the frames, shared by two encoders.
      speaker_wave: float32 [n] at 16 kHz, the voice to speak with.
      mouth: where it is in the frames; `mouth.crops(frames)` are those that AV-HuBERT takes.
    """

    duration: float
    frames: np.ndarray | None = None
    thumbs: np.ndarray | None = None
    speaker_wave: np.ndarray | None = None
    mouth: Mouth | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """One row: `condition` is made by encoder `name`, `rate` frames a second (None: one a clip)."""

    condition: str
    name: str
    rate: float | None
    width: int
    version: int
    encode: Callable[[Clip], np.ndarray | None]

    @property
    def hash(self) -> str:
        """Identity of the numbers that this encoder gives."""
        row = json.dumps([self.condition, self.name, self.rate, self.width, self.version])
        return hashlib.sha256(row.encode()).hexdigest()[:16]


def at_rate(features: np.ndarray, source: float, rate: float, count: int) -> np.ndarray:
    """The rows on show at times k / rate, k < count: [T, W] at `source` a second -> [count, W]."""
    index = np.floor(np.arange(count) * (source / rate) + 1e-6).astype(int)
    return features[np.minimum(index, len(features) - 1)]


def _clip(clip: Clip) -> np.ndarray | None:
    if clip.thumbs is None:
        return None
    return at_rate(clip.thumbs, VIDEO_RATE, 10.0, frame_count("clip", clip.duration, 10.0))


def _sync(clip: Clip) -> np.ndarray | None:
    if clip.thumbs is None:
        return None
    count = frame_count("sync", clip.duration, VIDEO_RATE)
    return at_rate(pixels.differences(clip.thumbs), VIDEO_RATE, VIDEO_RATE, count)


def _lips(clip: Clip) -> np.ndarray | None:
    if clip.frames is None or clip.mouth is None:
        return None
    crops = lips.mouth_crops(clip.frames, clip.mouth.boxes)
    return at_rate(crops, VIDEO_RATE, VIDEO_RATE, frame_count("lips", clip.duration, VIDEO_RATE))


def _speaker(clip: Clip) -> np.ndarray | None:
    return None if clip.speaker_wave is None else speaker.statistics(clip.speaker_wave)


EMBEDDED = (
    Encoder(condition="clip", name="thumbnails", rate=10.0, width=pixels.WIDTH, version=1,
            encode=_clip),
    Encoder(condition="speaker", name="statistics", rate=None, width=speaker.WIDTH, version=1,
            encode=_speaker),
    Encoder(condition="lips", name="mouth", rate=25.0, width=lips.WIDTH, version=1, encode=_lips),
    Encoder(condition="sync", name="differences", rate=25.0, width=pixels.WIDTH, version=2,
            encode=_sync),
)  # fmt: skip
SETS: Mapping[str, tuple[Encoder, ...]] = {"embedded": EMBEDDED}


def encoders(name: str) -> tuple[Encoder, ...]:
    """The set of encoders called `name`."""
    if name not in SETS:
        raise InputError(f"encoders: found {name!r}, expected one of {sorted(SETS)}")
    return SETS[name]


def encode_clip(
    frames: np.ndarray | None = None,
    speaker_wave: np.ndarray | None = None,
    mouth: Sequence[float] | Mouth | None = None,
    *,
    duration: float | None = None,
    encoder_set: str = "embedded",
) -> dict[str, np.ndarray]:
    """Conditions of one clip by name: float16, [n, width] or, once a clip, [width].

    Args:
      frames: uint8 [T, H, W, 3] at 25 a second.
      speaker_wave: float32 [n] at 16 kHz, the reference voice.
      mouth: where it is: found in the frames, or a box (x0, y0, x1, y1) in their pixels.
      duration: seconds that the conditions cover; the frames' own length if not given.
      encoder_set: name of the set of encoders.

    Returns:
      n = round(duration * rate) rows a condition; a condition whose source is missing is absent.
    """
    if duration is None:
        duration = 0.0 if frames is None else len(frames) / VIDEO_RATE
    thumbs = None if frames is None else pixels.thumbnails(frames)
    if frames is not None and mouth is not None and not isinstance(mouth, Mouth):
        mouth = Mouth.at(np.broadcast_to(np.asarray(mouth, float), (len(frames), 4)))
    clip = Clip(duration=duration, frames=frames, thumbs=thumbs, speaker_wave=speaker_wave,
                mouth=mouth)  # fmt: skip
    made = {e.condition: e.encode(clip) for e in encoders(encoder_set)}
    return {name: x.astype(np.float16) for name, x in made.items() if x is not None}
