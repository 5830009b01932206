"""Which encoder makes which condition, and the encoding of an example by all of them.

A set of encoders is chosen by name: `built-in` (no weights), `bundled` (the speaker encoder whose
weights come with the package, the geometry of the lips, the others built-in), `published` (weights
are listed in docs/weights.md), or one encoder by condition, `clip=published,sync=built-in`;
conditions without an encoder are absent. Each encoder has a version, which enters the hash that
shards and checkpoints carry together with the hash of its weights: increase it when the features
change.

Built-in encoders run in many processes at once, without an accelerator runtime. An encoder with
weights prepares its input here and calls `crash_safe_pool.run_in_main_process(run, input)`: the
main process, which holds the device, runs all waiting inputs in one batch while the others decode.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.pairs import parse_pairs
from vssflow_jax.data.lip_track import LipTrack
from vssflow_jax.features import lip_geometry, lips, speaker, thumbnails
from vssflow_jax.features.face_tracking import MouthTrack

VIDEO_RATE = 25.0  # frames a second at which videos are decoded for the encoders
CLIP_RATE = float(conditions.BY_NAME["clip"].rate)
# Pixels of the longer side of the frames, by kind of encoder; a set takes the most that it needs.
FRAME_SIDE = {"built-in": 256, "bundled": 640, "published": 640}

BUNDLED = ("speaker", "lips")  # conditions with a bundled encoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderInputs:
    """The media of one example. Where one is None, the conditions made from it are absent.

    Attributes:
      duration: seconds.
      frames: uint8 [T, H, W, 3] at 25 a second, or T frames that can be iterated repeatedly.
      speaker_wave: float32 [n] at 16 kHz, the reference voice.
      mouth: position of the mouth in the frames.
      lips: measurements of the lips, in place of those of `mouth`.
    """

    duration: float
    frames: Iterable[np.ndarray] | None = None
    speaker_wave: np.ndarray | None = None
    mouth: MouthTrack | None = None
    lips: LipTrack | None = None

    @functools.cached_property
    def thumbnails(self) -> np.ndarray | None:
        """Thumbnails of the frames, float32 [T, 768], shared by two encoders."""
        return None if self.frames is None else thumbnails.make_thumbnails(self.frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder of one condition.

    Attributes:
      condition: name of the condition.
      name: of the encoder.
      rate: features a second; None: one for the example.
      width: channels of a feature.
      version: of the features, for the hash.
      encode: inputs of one example to its features, None without the media.
      encode_many: the same for several examples together, where that is faster.
      weights: hash of the parameters; empty without any.
    """

    condition: str
    name: str
    rate: float | None
    width: int
    version: int
    encode: Callable[[EncoderInputs], np.ndarray | None]
    encode_many: Callable[[Sequence[EncoderInputs]], list[np.ndarray | None]] | None = None
    weights: str = ""

    @property
    def hash(self) -> str:
        """Identity of the features, 16 hexadecimal digits."""
        row = [self.condition, self.name, self.rate, self.width, self.version]
        row += [self.weights] if self.weights else []
        return hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16]


def hold_at_rate(features: np.ndarray, source: float, rate: float, count: int) -> np.ndarray:
    """The rows shown at times k / rate, k < count: [T, W] at `source` a second -> [count, W]."""
    index = np.floor(np.arange(count) * (source / rate) + 1e-6).astype(int)
    return features[np.minimum(index, len(features) - 1)]


# ---- built-in encoders --------------------------------------------------------------------


def _encode_clip(inputs: EncoderInputs) -> np.ndarray | None:
    if inputs.thumbnails is None:
        return None
    count = conditions.num_frames("clip", inputs.duration, CLIP_RATE)
    return hold_at_rate(inputs.thumbnails, VIDEO_RATE, CLIP_RATE, count)


def _encode_sync(inputs: EncoderInputs) -> np.ndarray | None:
    if inputs.thumbnails is None:
        return None
    count = conditions.num_frames("sync", inputs.duration, VIDEO_RATE)
    differences = thumbnails.subtract_previous(inputs.thumbnails)
    return hold_at_rate(differences, VIDEO_RATE, VIDEO_RATE, count)


def _encode_lips(inputs: EncoderInputs) -> np.ndarray | None:
    if inputs.frames is None or inputs.mouth is None:
        return None
    crops = lips.crop_mouth(inputs.frames, inputs.mouth.boxes)
    count = conditions.num_frames("lips", inputs.duration, VIDEO_RATE)
    return hold_at_rate(crops, VIDEO_RATE, VIDEO_RATE, count)


def _encode_lip_geometry(inputs: EncoderInputs) -> np.ndarray | None:
    track = inputs.lips
    if track is None and inputs.mouth is not None and inputs.mouth.landmarks is not None:
        track = lip_geometry.measure_lips(inputs.mouth)
    if track is None:
        return None
    count = conditions.num_frames("lips", inputs.duration, VIDEO_RATE)
    return hold_at_rate(lip_geometry.encode_lips(track), VIDEO_RATE, VIDEO_RATE, count)


def _encode_speaker(inputs: EncoderInputs) -> np.ndarray | None:
    return None if inputs.speaker_wave is None else speaker.embed_speaker(inputs.speaker_wave)


BUILT_IN = (
    Encoder(condition="clip", name="thumbnails", rate=CLIP_RATE, width=thumbnails.WIDTH, version=1,
            encode=_encode_clip),
    Encoder(condition="speaker", name="statistics", rate=None, width=speaker.WIDTH, version=1,
            encode=_encode_speaker),
    Encoder(condition="lips", name="mouth", rate=VIDEO_RATE, width=lips.WIDTH, version=1,
            encode=_encode_lips),
    Encoder(condition="sync", name="differences", rate=VIDEO_RATE, width=thumbnails.WIDTH,
            version=2, encode=_encode_sync),
)  # fmt: skip
LIP_GEOMETRY = Encoder(condition="lips", name="lip-geometry", rate=VIDEO_RATE,
                       width=lip_geometry.WIDTH, version=1,
                       encode=_encode_lip_geometry)  # fmt: skip


# ---- encoders with weights ----------------------------------------------------------------

# Names of the encoders by condition.
PUBLISHED = {
    "clip": "clip-vit-b16",
    "speaker": "rawnet3",
    "lips": "av-hubert-large",
    "sync": "synchformer",
}


def load_encoder(condition: str, kind: str, name: str) -> Encoder:
    """The encoder of a condition with weights of a kind.

    Raises:
      InputError: the weights are not installed.
    """
    # Imported late: these need an accelerator runtime, which the built-in encoders do without.
    from vssflow_jax.features import runner
    from vssflow_jax.weights.published import find_weights, read_description

    description = read_description(find_weights(kind), kind)
    return Encoder(
        condition=condition,
        name=name,
        rate=runner.RATES[condition],
        width=description["config"].width,
        version=1,
        encode=lambda inputs: runner.encode_condition(kind, [inputs])[0],
        encode_many=functools.partial(runner.encode_condition, kind),
        weights=description["hash"],
    )


# ---- sets of encoders ---------------------------------------------------------------------


def _select_encoder(condition: str, choice: str) -> Encoder:
    if choice == "published":
        return load_encoder(condition, condition, PUBLISHED[condition])
    if (condition, choice) == ("speaker", "bundled"):
        return load_encoder(condition, "dvector", "d-vector")
    if (condition, choice) == ("lips", "bundled"):
        return LIP_GEOMETRY
    return next(encoder for encoder in BUILT_IN if encoder.condition == condition)


def _parse_choice(encoder_set: str) -> dict[str, str]:
    """The kind of encoder by condition."""
    if "=" in encoder_set:
        return parse_pairs(encoder_set.split(","), "encoders", _list_choices())
    return dict.fromkeys(PUBLISHED, encoder_set)


def _list_choices() -> str:
    return (
        f"one of {sorted(FRAME_SIDE)}, or one by condition ({', '.join(PUBLISHED)}) like "
        "clip=published,sync=built-in"
    )


def select_encoders(encoder_set: str) -> tuple[Encoder, ...]:
    """The encoders of a set, or of a choice by condition.

    Raises:
      InputError: an unknown set or condition, one twice, or weights that are not installed.
    """
    choice = _parse_choice(encoder_set)
    if any(name not in PUBLISHED or kind not in FRAME_SIDE for name, kind in choice.items()):
        raise InputError(f"encoders: found {encoder_set!r}, expected {_list_choices()}")
    return tuple(
        _select_encoder(condition, choice[condition])
        for condition in PUBLISHED
        if condition in choice
    )


def read_encoder_set(statistics: Mapping) -> str:
    """The set of encoders in the statistics of shards or of a run.

    In those of earlier versions the built-in set is called embedded.
    """
    return statistics.get("encoders", "built-in").replace("embedded", "built-in")


def name_encoders(encoder_set: str) -> dict[str, str]:
    """The kind of encoder by condition; conditions without a bundled one have the built-in one."""
    return {
        condition: "built-in" if kind == "bundled" and condition not in BUNDLED else kind
        for condition, kind in _parse_choice(encoder_set).items()
    }


def select_frame_side(encoder_set: str) -> int:
    """Pixels of the longer side of the frames for a set of encoders, at most."""
    sides = (
        FRAME_SIDE[kind] for name, kind in _parse_choice(encoder_set).items() if name != "speaker"
    )
    return max(sides, default=min(FRAME_SIDE.values()))


def choose_encoder(encoder_set: str, condition: str) -> str | None:
    """The kind of encoder of a condition in a set; None: the condition is absent."""
    return _parse_choice(encoder_set).get(condition)


def needs_landmarks(encoder_set: str) -> bool:
    """Whether the lips of a set are encoded from a track with landmarks, not from a box."""
    return choose_encoder(encoder_set, "lips") == "bundled"


def encode_example(
    frames: Iterable[np.ndarray] | None = None,
    speaker_wave: np.ndarray | None = None,
    mouth: Sequence[float] | MouthTrack | None = None,
    *,
    lips: LipTrack | None = None,
    duration: float | None = None,
    encoder_set: str = "built-in",
) -> dict[str, np.ndarray]:
    """Conditions of one example by name: float16, [n, width] or, once an example, [width].

    Args:
      frames: uint8 [T, H, W, 3] at 25 a second; with a duration and a `MouthTrack` also T frames
        that can be iterated repeatedly, such as `media.FrameReader`.
      speaker_wave: float32 [n] at 16 kHz, the reference voice.
      mouth: its track in the frames, or one box (x0, y0, x1, y1) in their pixels.
      lips: measurements of the lips, in place of those of `mouth`.
      duration: seconds that the conditions cover; default: the length of the frames.
      encoder_set: name of the set of encoders, or a choice by condition.

    Returns:
      n = round(duration * rate) rows a condition; conditions without their media are absent.
    """
    if duration is None:
        duration = 0.0 if frames is None else len(frames) / VIDEO_RATE
    if frames is not None and mouth is not None and not isinstance(mouth, MouthTrack):
        boxes = np.broadcast_to(np.asarray(mouth, float), (len(frames), 4))
        mouth = MouthTrack.from_boxes(boxes)
    inputs = EncoderInputs(
        duration=duration, frames=frames, speaker_wave=speaker_wave, mouth=mouth, lips=lips
    )
    return encode_examples([inputs], encoder_set)[0]


def encode_examples(
    inputs: Sequence[EncoderInputs], encoder_set: str = "built-in"
) -> list[dict[str, np.ndarray]]:
    """Conditions of several examples, as `encode_example`; encoders with weights batch them."""
    examples: list[dict[str, np.ndarray]] = [{} for _ in inputs]
    for encoder in select_encoders(encoder_set):
        encode_many = encoder.encode_many or functools.partial(map, encoder.encode)
        for example, features in zip(examples, encode_many(inputs), strict=True):
            if features is not None:
                example[encoder.condition] = features.astype(np.float16)
    return examples
