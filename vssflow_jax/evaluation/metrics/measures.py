"""Measures: scores by published networks that look at more than the wave, by name.

DeSync compares the sound with Synchformer's features of the pictures, LSE with the mouths in the
video, CLAP with the ground truth and with the clip's label. Their weights are looked up like those
of the encoders (docs/weights.md). All compute in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path
from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.evaluation.metrics.clap import ClapScore
from vssflow_jax.evaluation.metrics.desync import Desync
from vssflow_jax.evaluation.metrics.lip_sync import LipSync
from vssflow_jax.features.registry import choose_encoder
from vssflow_jax.weights import published

NAMES = ("desync", "clap", "lse")
HELP = f"Further measures, comma-separated: {', '.join(NAMES)} (docs/evaluation.md)."
UNSCORED = "unscored"  # column with the reasons


class Measure(Protocol):
    """Scores of waves by a network.

    Attributes:
      hash: of its weights.
      columns: the scores by their keys in metrics.json, with definitions.
      needs_time: whether a wave must be in time with the video.
    """

    hash: str
    columns: Mapping[str, str]
    needs_time: bool

    def __call__(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], sample_rate: int
    ) -> list[dict[str, object]]:
        """A score by column for each wave, float32 [n]; or `unscored`, why there is none."""


COLUMNS = {**Desync.columns, **ClapScore.columns, **LipSync.columns}


def load(
    names: Sequence[str], encoder_set: str, videos: str | Path | None = None
) -> dict[str, Measure]:
    """The measures of some of NAMES.

    Args:
      names: of them.
      encoder_set: that the examples' features are from.
      videos: manifest with the examples' videos, for `lse`.

    Raises:
      InputError: an unknown name, weights that are not there, features of another encoder, or no
        manifest where one is needed.
    """
    unknown = sorted(set(names) - {*NAMES})
    if unknown:
        raise InputError(f"--measures: found {', '.join(unknown)}, expected some of {NAMES}")
    if "desync" in names and choose_encoder(encoder_set, "sync") != "published":
        raise InputError(
            f"--measures: found desync for shards of the encoders {encoder_set}, expected "
            "Synchformer's features (prepare --encoders=sync=published)"
        )
    if "lse" in names and videos is None:
        raise InputError("--videos: found nothing, expected the manifest of the shards, for lse")
    makers = {
        "desync": lambda: Desync(_load_weights("desync")),
        "clap": lambda: ClapScore(_load_weights("clap"), published.find_weights("clap")),
        "lse": lambda: LipSync(_load_weights("syncnet"), _find_videos(videos)),
    }
    return {name: makers[name]() for name in names}


def _load_weights(kind: str) -> published.EncoderWeights:
    return published.load_encoder(published.find_weights(kind), kind)


def _find_videos(manifest: str | Path) -> dict[str, str]:
    """The video of each id of a manifest that has one."""
    return {row.id: row.video for row in read_manifest(to_path(manifest)) if row.video}
