"""The trained rows, as changes to the recipe, and the tables that compare them.

To compare something else, add a line to ROWS and name it in TABLES.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from vssflow_jax import conditions

ROWS: dict[str, dict[str, object]] = {
    "all": {},  # the recipe as it stands: speech, sound and joint clips
    "pair": {"data.tasks": ("sound", "speech")},
    "sound": {"data.tasks": ("sound",)},
    "speech": {"data.tasks": ("speech",)},
    "mixed": {"data.tasks": ("sound", "speech"), "data.mix.ratio": 0.5},
    **{name: {"model.route": name} for name in conditions.ROUTES if name != "joint"},
    "sound_half": {"data.tasks": ("sound",), "train.steps": 0.5},
    "speech_half": {"data.tasks": ("speech",), "train.steps": 0.5},
}
SHARES = ("train.steps",)  # fields whose value in a row is a share of the recipe's


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A comparison: rows against the first of them.

    Attributes:
      rows: name in the table -> row of ROWS; the others are compared with the first.
      columns: (task, score), as the scores of a run have them.
    """

    rows: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]


SOUND = (("sound", "loss"), ("sound", "onset_f1"), ("sound", "sound_class_accuracy"))
SPEECH = (("speech", "loss"), ("speech", "wer"), ("speech", "mcd"))
JOINT = (("joint", "loss"), ("joint", "wer"), ("joint", "onset_f1"))

TABLES = {
    "joint": Table(
        rows={
            "sound and speech together": "pair",
            "sound alone": "sound",
            "speech alone": "speech",
            "sound alone, half the steps": "sound_half",
            "speech alone, half the steps": "speech_half",
        },
        columns=SOUND + SPEECH,
    ),
    "mixing": Table(
        rows={
            "no joint clips": "pair",
            "no joint clips, half of the clips mixed": "mixed",
            "joint clips, a third of all": "all",
        },
        columns=(*JOINT, SOUND[0], SPEECH[0]),
    ),
    "routes": Table(
        rows={f"`{name}`": "all" if name == "joint" else name for name in conditions.ROUTES},
        columns=(*SOUND[:2], *SPEECH[:2], *JOINT),
    ),
}


def scored_tasks(name: str) -> tuple[str, ...]:
    """Tasks that a row is scored on: the only one that it was trained for, or all three."""
    trained = ROWS[name].get("data.tasks", ())
    return trained if len(trained) == 1 else ("speech", "sound", "joint")
