"""The condition table: what each condition is, and where it enters the network.

Everything that depends on a condition's width, rate or place is derived from the two tables
CONDITIONS and ROUTES: the shard schema, the shapes of a batch, the projections, the input and
context widths of the velocity network. Source: VSSFlow (arXiv 2509.24773), section 3.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

LATENT_RATE = 25  # latent frames a second
SAMPLE_RATE = 16_000  # audio samples a second, where a codec asks for no other


class AudioFormat(NamedTuple):
    """The format of waveforms: [n] with one channel, [n, channels] with several."""

    sample_rate: int = SAMPLE_RATE
    channels: int = 1

    def __str__(self) -> str:
        kind = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{self.sample_rate} Hz {kind}"


MONO_16K = AudioFormat()  # of the waves that encoders, aligner and most metrics take


TASKS = ("speech", "sound", "joint")  # of an example
EVALUATED_TASKS = (*TASKS, "text")  # text: speech without video, with predicted times

# How the frames of a condition are aligned to the latent grid (models/alignment.py).
NEAREST, NEAREST_EXACT, PAD, TOKEN = "nearest", "nearest-exact", "pad", "token"
BY_TIME = "by-time"  # an option for sync: at the time of its frames, not evenly spread

# Synchformer's overlapping segments, in video frames at 25 a second: length of a segment, from
# one segment to the next, frames of one token.
SYNC_SEGMENT, SYNC_HOP, SYNC_TUBE = 16, 8, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One row of the table.

    Attributes:
      name: in shards, batches, configs and routes.
      width: features a frame; for ids, the rows of the embedding table.
      rate: frames a second of the published encoder; None: once a clip.
      alignment: of its frames to the latent grid (25 a second).
      projected_width: channels after the conditioner's projection.
      ids: integer ids, looked up in an embedding table instead of projected.
    """

    name: str
    width: int
    rate: float | None
    alignment: str
    projected_width: int
    ids: bool = False


CONDITIONS = (
    Condition(name="clip", width=768, rate=10, alignment=NEAREST, projected_width=768),
    Condition(name="speaker", width=256, rate=None, alignment=TOKEN, projected_width=768),
    Condition(name="phonemes", width=200, rate=25, alignment=PAD, projected_width=32, ids=True),
    Condition(name="lips", width=1024, rate=25, alignment=PAD, projected_width=1024),
    Condition(name="sync", width=768, rate=24, alignment=NEAREST_EXACT, projected_width=768),
)
BY_NAME = {condition.name: condition for condition in CONDITIONS}
NAMES = tuple(BY_NAME)
VIDEO = ("clip", "sync", "lips")  # absent where there is no video


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """Where each condition enters. The order of names is the order of channels, so of weights.

    Attributes:
      token: the condition of row 0 of the cross-attention context.
      cross: concatenated on channels, one context row a latent frame.
      concat: concatenated on channels after the noisy latent.
      added: projected and added to the time token (a global condition).
      off: conditions that this route does not use; listed, so that none is forgotten.
    """

    token: tuple[str, ...] = ()
    cross: tuple[str, ...] = ()
    concat: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def __post_init__(self):
        names = self.used + self.off
        unknown = [name for name in names if name not in BY_NAME]
        repeated = sorted({name for name in names if names.count(name) > 1})
        missing = [name for name in NAMES if name not in names]
        if unknown:
            raise ValueError(f"route: unknown conditions {unknown}, expected names from {NAMES}")
        if repeated:
            raise ValueError(f"route: conditions {repeated} are used twice")
        if missing:
            raise ValueError(f"route: conditions {missing} are neither used nor listed in `off`")
        if self.token and not self.cross:
            raise ValueError("route: `token` needs conditions in `cross` too")
        for name in self.token + self.added:
            if BY_NAME[name].alignment != TOKEN:
                raise ValueError(f"route: {name} has many frames, so it cannot be one token")
        for name in self.cross + self.concat:
            if BY_NAME[name].alignment == TOKEN:
                raise ValueError(
                    f"route: {name} comes once a clip, so it cannot be aligned to the frames"
                )

    @property
    def used(self) -> tuple[str, ...]:
        """All conditions that enter somewhere, in the order token, cross, concat, added."""
        return self.token + self.cross + self.concat + self.added

    def input_width(self, latent_channels: int, widths: dict[str, int] | None = None) -> int:
        """Input channels of the velocity network: latent and concatenated conditions."""
        return latent_channels + sum(projected_width(name, widths) for name in self.concat)

    def context_width(self, widths: dict[str, int] | None = None) -> int:
        """Channels of a cross-attention context row; 0 without cross-attention."""
        return sum(projected_width(name, widths) for name in self.cross)


def projected_width(name: str, widths: dict[str, int] | None = None) -> int:
    """Projected channels of a condition: the override in `widths` or the table's."""
    return (widths or {}).get(name, BY_NAME[name].projected_width)


ROUTES = {
    "joint": Route(token=("speaker",), cross=("clip",), concat=("lips", "phonemes", "sync")),
    "lip_sync": Route(token=("speaker",), cross=("clip", "phonemes"), concat=("lips", "sync")),
    "video_text": Route(token=("speaker",), cross=("sync", "lips"), concat=("clip", "phonemes")),
    "none": Route(token=("speaker",), cross=("clip", "phonemes", "lips", "sync")),
    "all_concat": Route(concat=("clip", "phonemes", "lips", "sync"), added=("speaker",)),
}


def num_frames(name: str, duration: float, rate: float | None = None) -> int:
    """Frames of a condition in `duration` seconds, at the table's rate or an encoder's own."""
    rate = BY_NAME[name].rate if rate is None else rate
    return 1 if rate is None else round(duration * rate)


def num_latent_frames(duration: float) -> int:
    """Latent frames in `duration` seconds."""
    return round(duration * LATENT_RATE)
