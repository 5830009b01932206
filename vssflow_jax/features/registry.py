"""The encoders of a clip: which one makes which condition, and all of them at once.

A set of encoders is chosen by name: `embedded`, `published` (whose weights docs/weights.md
lists), or one by condition, `clip=published,sync=embedded`; then the conditions that are not
named are missing. Each encoder has a version; it goes with the hash of its weights into the hash
that shards and checkpoints carry, so a change of the numbers that it gives needs a new one.

`encode_clip` runs in many processes at once, which have no accelerator runtime. An encoder that
needs the device prepares its input here and calls `pool.together(run, input)`: the main process,
which holds the device, runs all inputs that wait in one batch, while the others decode.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import frames as frame_count
from vssflow_jax.features import lips, speaker, thumbnails
from vssflow_jax.features.face_tracking import Mouth

VIDEO_RATE = 25.0  # frames a second at which videos are decoded for the encoders
SIDES = (256, 640)  # pixels of a picture's longer side, for embedded and for published encoders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """What encoders see. Anything may be None: then the conditions that need it are missing.

    Attributes:
      duration: seconds.
      frames: uint8 [T, H, W, 3] at 25 a second, or T pictures that can be gone through again.
      speaker_wave: float32 [n] at 16 kHz, the voice to speak with.
      mouth: where it is in the frames; `mouth.crops(frames)` are those that AV-HuBERT takes.
    """

    duration: float
    frames: Iterable[np.ndarray] | None = None
    speaker_wave: np.ndarray | None = None
    mouth: Mouth | None = None

    @functools.cached_property
    def thumbs(self) -> np.ndarray | None:
        """Thumbnails of the frames, float32 [T, 768], shared by two encoders."""
        return None if self.frames is None else thumbnails.thumbnails(self.frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """One row: `condition` is made by encoder `name`, `rate` frames a second (None: one a clip).

    `encode_many` takes clips together, where that is faster; `weights` is the hash of the
    parameters, empty without any.
    """

    condition: str
    name: str
    rate: float | None
    width: int
    version: int
    encode: Callable[[Clip], np.ndarray | None]
    encode_many: Callable[[Sequence[Clip]], list[np.ndarray | None]] | None = None
    weights: str = ""

    @property
    def hash(self) -> str:
        """Identity of the numbers that this encoder gives."""
        row = [self.condition, self.name, self.rate, self.width, self.version]
        row += [self.weights] if self.weights else []
        return hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16]


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
    return at_rate(thumbnails.differences(clip.thumbs), VIDEO_RATE, VIDEO_RATE, count)


def _lips(clip: Clip) -> np.ndarray | None:
    if clip.frames is None or clip.mouth is None:
        return None
    crops = lips.mouth_crops(clip.frames, clip.mouth.boxes)
    return at_rate(crops, VIDEO_RATE, VIDEO_RATE, frame_count("lips", clip.duration, VIDEO_RATE))


def _speaker(clip: Clip) -> np.ndarray | None:
    return None if clip.speaker_wave is None else speaker.statistics(clip.speaker_wave)


EMBEDDED = (
    Encoder(condition="clip", name="thumbnails", rate=10.0, width=thumbnails.WIDTH, version=1,
            encode=_clip),
    Encoder(condition="speaker", name="statistics", rate=None, width=speaker.WIDTH, version=1,
            encode=_speaker),
    Encoder(condition="lips", name="mouth", rate=25.0, width=lips.WIDTH, version=1, encode=_lips),
    Encoder(condition="sync", name="differences", rate=25.0, width=thumbnails.WIDTH, version=2,
            encode=_sync),
)  # fmt: skip
PUBLISHED = {
    "clip": "clip-vit-b16",
    "speaker": "rawnet3",
    "lips": "av-hubert-large",
    "sync": "synchformer",
}
SETS = ("embedded", "published")


def published(condition: str) -> Encoder:
    """The encoder of a condition with published weights; InputError if they are nowhere."""
    # Only here: they need an accelerator runtime, which the embedded ones do without.
    from vssflow_jax.features import runner
    from vssflow_jax.weights.published import describe, find

    about = describe(find(condition), condition)
    return Encoder(
        condition=condition,
        name=PUBLISHED[condition],
        rate=runner.RATES[condition],
        width=about["config"].width,
        version=1,
        encode=lambda clip: runner.encode(condition, [clip])[0],
        encode_many=functools.partial(runner.encode, condition),
        weights=about["hash"],
    )


def encoders(name: str) -> tuple[Encoder, ...]:
    """The encoders of a set, or of a choice by condition.

    Raises:
      InputError: an unknown set or condition, or weights that are nowhere.
    """
    if "=" in name:
        chosen = dict(part.partition("=")[::2] for part in name.split(","))
    else:
        chosen = dict.fromkeys(PUBLISHED, name)
    wrong = [part for part in chosen.items() if part[0] not in PUBLISHED or part[1] not in SETS]
    if wrong:
        raise InputError(
            f"encoders: found {name!r}, expected one of {sorted(SETS)}, or one by condition "
            f"({', '.join(PUBLISHED)}) like clip=published,sync=embedded"
        )
    embedded = {encoder.condition: encoder for encoder in EMBEDDED}
    return tuple(
        embedded[condition] if chosen[condition] == "embedded" else published(condition)
        for condition in PUBLISHED
        if condition in chosen
    )


def picture_side(name: str) -> int:
    """Pixels of the longer side at which a set of encoders wants its pictures, at most."""
    return SIDES["published" in name]


def encode_clip(
    frames: Iterable[np.ndarray] | None = None,
    speaker_wave: np.ndarray | None = None,
    mouth: Sequence[float] | Mouth | None = None,
    *,
    duration: float | None = None,
    encoder_set: str = "embedded",
) -> dict[str, np.ndarray]:
    """Conditions of one clip by name: float16, [n, width] or, once a clip, [width].

    Args:
      frames: uint8 [T, H, W, 3] at 25 a second; where the duration and the whole `Mouth` are
        given also T pictures that can be gone through again, such as `decoding.Pictures`.
      speaker_wave: float32 [n] at 16 kHz, the reference voice.
      mouth: where it is: found in the frames, or a box (x0, y0, x1, y1) in their pixels.
      duration: seconds that the conditions cover; the frames' own length if not given.
      encoder_set: name of the set of encoders, or a choice by condition.

    Returns:
      n = round(duration * rate) rows a condition; a condition whose source is missing is absent.
    """
    if duration is None:
        duration = 0.0 if frames is None else len(frames) / VIDEO_RATE
    if frames is not None and mouth is not None and not isinstance(mouth, Mouth):
        mouth = Mouth.at(np.broadcast_to(np.asarray(mouth, float), (len(frames), 4)))
    clip = Clip(duration=duration, frames=frames, speaker_wave=speaker_wave, mouth=mouth)
    return encode_clips([clip], encoder_set)[0]


def encode_clips(
    clips: Sequence[Clip], encoder_set: str = "embedded"
) -> list[dict[str, np.ndarray]]:
    """Conditions of several clips, as `encode_clip`; encoders with weights take them together."""
    out: list[dict[str, np.ndarray]] = [{} for _ in clips]
    for encoder in encoders(encoder_set):
        many = encoder.encode_many or functools.partial(map, encoder.encode)
        for made, features in zip(out, many(clips), strict=True):
            if features is not None:
                made[encoder.condition] = features.astype(np.float16)
    return out
