"""DeSync: how far sound and pictures are apart, according to Synchformer (encoders/desync.py).

Source: Cheng et al. 2025, MMAudio (arXiv 2412.15322), as av-benchmark computes it.

Legend: S segments of 0.64 s, one every 0.32 s, D width of a feature, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
import numpy as np
from einops import rearrange

from vssflow_jax.common.waves import resample
from vssflow_jax.conditions import SAMPLE_RATE, SYNC_SEGMENT, SYNC_TUBE
from vssflow_jax.encoders import desync
from vssflow_jax.evaluation.metrics.common import jit_method
from vssflow_jax.features.runner import apply_in_batches
from vssflow_jax.weights.published import EncoderWeights

STEPS = SYNC_SEGMENT // SYNC_TUBE  # features of the pictures a segment
BATCH_SIZE = 8  # segments of sound


class Desync:
    """The mean of |offset| over the first and the last 4.8 s of a clip.

    Args:
      weights: of the kind `desync`.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "desync": "seconds; mean of |offset| over the first and the last 14 segments (4.8 s) of a "
        "clip, the offset being Synchformer's likeliest of 21 from -2 to 2 s; features of the "
        "pictures as the shards have them; mean over clips",
    }
    needs_time: ClassVar[bool] = True

    def __init__(self, weights: EncoderWeights):
        self.config, self.hash = weights.config, weights.hash
        model, self._params = desync.Desync(weights.config), jax.device_put(weights.params)
        self._encode = jit_method(model, "encode_audio")
        self._classify = jit_method(model, "classify")

    def __call__(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], sample_rate: int
    ) -> list[dict[str, object]]:
        """The score of each wave, float32 [n], with the record's feature `sync`."""
        return [
            self._score(record, resample(wave, sample_rate, SAMPLE_RATE))
            for record, wave in zip(records, waves, strict=True)
        ]

    def _score(self, record: Mapping, wave: np.ndarray) -> dict[str, object]:
        if "sync" not in record:
            return {"unscored": "desync: no pictures"}
        logits = self.compute_logits(np.float32(record["sync"]), wave)
        if logits is None:
            seconds = (desync.SEGMENT + (self.config.segments - 1) * desync.HOP) / SAMPLE_RATE
            return {"unscored": f"desync: shorter than {seconds:g} s"}
        return {"desync": float(np.abs(desync.offset_grid()[logits.argmax(-1)]).mean())}

    def compute_logits(self, video: np.ndarray, wave: np.ndarray) -> np.ndarray | None:
        """Logits of the offset at the beginning and at the end, float32 [2, K].

        Args:
          video: features of the pictures, [8 S, D].
          wave: float32 [n] at 16 kHz.

        Returns:
          None for a clip with fewer segments than the network compares.
        """
        mels = desync.log_mel_segments(wave)
        needed, count = self.config.segments, min(len(mels), len(video) // STEPS)
        if count < needed:
            return None
        encode = functools.partial(self._encode, self._params)
        audio = apply_in_batches(encode, mels[:count], BATCH_SIZE)
        video = rearrange(video[: count * STEPS], "(s n) d -> s n d", n=STEPS)
        ends = [np.stack([part[:needed], part[count - needed : count]]) for part in (video, audio)]
        return np.asarray(self._classify(self._params, *ends))
