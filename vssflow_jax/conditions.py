"""The condition table: what each condition is, and where it enters the network.

Everything that depends on a condition's width, rate or place is derived from the two
tables here: the shard schema, the batch spec, the projections, the input and context
widths of the velocity network. Source: VSSFlow (arXiv 2509.24773), section 3.
"""

from __future__ import annotations

import dataclasses

LATENT_RATE = 25  # latent frames a second
SAMPLE_RATE = 16_000  # audio samples a second

TASKS = ("speech", "sound", "joint")  # what a clip can be an example of
EVALUATED_TASKS = (*TASKS, "text")  # text: speech without its video, times predicted

NEAREST, NEAREST_EXACT, PAD, TOKEN = "nearest", "nearest-exact", "pad", "token"
BY_TIME = "seen"  # sync only: where its frames are, instead of the table's even spread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """One row of the table.

    Attributes:
      name: how shards, batches, configs and routes call it.
      width: features a frame; for ids, the rows of the embedding table.
      rate: frames a second that the published encoder gives; None: once a clip.
      align: how its frames are laid on the latent grid (25 a second).
      projected: channels after the conditioner's projection.
      ids: integer ids looked up in a table, instead of features that are projected.
    """

    name: str
    width: int
    rate: float | None
    align: str
    projected: int
    ids: bool = False


CONDITIONS = (
    Condition(name="clip", width=768, rate=10, align=NEAREST, projected=768),
    Condition(name="speaker", width=256, rate=None, align=TOKEN, projected=768),
    Condition(name="phonemes", width=200, rate=25, align=PAD, projected=32, ids=True),
    Condition(name="lips", width=1024, rate=25, align=PAD, projected=1024),
    Condition(name="sync", width=768, rate=24, align=NEAREST_EXACT, projected=768),
)
BY_NAME = {condition.name: condition for condition in CONDITIONS}
NAMES = tuple(BY_NAME)
VIDEO = ("clip", "sync", "lips")  # absent where there is no video


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """Where each condition enters. The order of names is the order of channels, so of weights.

    Attributes:
      token: the condition that is row 0 of the cross-attention context, alone.
      cross: joined on channels, one context row a latent frame.
      concat: joined on channels behind the noisy latent.
      added: projected and added to the time token.
      off: conditions that this route leaves out, written down so that none is forgotten.
    """

    token: tuple[str, ...] = ()
    cross: tuple[str, ...] = ()
    concat: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def __post_init__(self):
        listed = self.used + self.off
        unknown = [name for name in listed if name not in BY_NAME]
        twice = sorted({name for name in listed if listed.count(name) > 1})
        dropped = [name for name in NAMES if name not in listed]
        if unknown:
            raise ValueError(f"route: unknown conditions {unknown}, expected names from {NAMES}")
        if twice:
            raise ValueError(f"route: conditions {twice} are used twice")
        if dropped:
            raise ValueError(f"route: conditions {dropped} are neither used nor listed in `off`")
        if self.token and not self.cross:
            raise ValueError("route: `token` needs `cross` conditions beside it")
        for name in self.token + self.added:
            if BY_NAME[name].align != TOKEN:
                raise ValueError(f"route: {name} has many frames, so it cannot be one token")
        for name in self.cross + self.concat:
            if BY_NAME[name].align == TOKEN:
                raise ValueError(
                    f"route: {name} comes once a clip, so it cannot lie along the frames"
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
    return (widths or {}).get(name, BY_NAME[name].projected)


ROUTES = {
    "joint": Route(token=("speaker",), cross=("clip",), concat=("lips", "phonemes", "sync")),
    "lip_sync": Route(token=("speaker",), cross=("clip", "phonemes"), concat=("lips", "sync")),
    "video_text": Route(token=("speaker",), cross=("sync", "lips"), concat=("clip", "phonemes")),
    "none": Route(token=("speaker",), cross=("clip", "phonemes", "lips", "sync")),
    "all_concat": Route(concat=("clip", "phonemes", "lips", "sync"), added=("speaker",)),
}


def num_frames(name: str, duration: float, rate: float | None = None) -> int:
    """Frames of condition `name` in `duration` seconds, at an encoder's own `rate` if given."""
    rate = BY_NAME[name].rate if rate is None else rate
    return 1 if rate is None else round(duration * rate)


def num_latent_frames(duration: float) -> int:
    """Latent frames in `duration` seconds."""
    return round(duration * LATENT_RATE)
