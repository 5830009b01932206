"""LSE-D and LSE-C: how well sound and mouth fit, according to SyncNet (encoders/syncnet.py).

Source: Prajwal et al. 2020 (arXiv 2008.10010). The faces are found by our tracker in place of S3FD:
the box of a face is that of its 468 landmarks, from forehead to chin. Scores of different trackers
are not comparable; compare with the ground truth's.

Legend: T frames, W windows of five frames, D length of the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import resample
from vssflow_jax.encoders import syncnet
from vssflow_jax.evaluation.metrics.common import jit_method
from vssflow_jax.features.face_tracking import track_face
from vssflow_jax.features.runner import apply_in_batches
from vssflow_jax.media import FrameReader, to_int16
from vssflow_jax.weights.published import EncoderWeights

BATCH_SIZE = {"encode_lips": 8, "encode_sound": 64}  # windows
MAX_SIDE = 640  # pixels of a frame
MIN_FRAMES = 2 * syncnet.MEDIAN_FRAMES  # with fewer the smoothed track is mostly border


class LipSync:
    """The lip sync error of clips in which somebody talks.

    Args:
      weights: of the kind `syncnet`.
      videos: files by id.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "lse_d": "distance between SyncNet's vectors of mouth and sound at the best shift within "
        "15 frames; faces by our tracker; mean over clips",
        "lse_c": "how far lse_d lies below the median over the shifts; mean over clips",
        "lse_offset": "mean of |best shift| in frames of 40 ms; mean over clips",
    }
    needs_time: ClassVar[bool] = True

    def __init__(self, weights: EncoderWeights, videos: Mapping[str, str]):
        self.hash, self.videos = weights.hash, videos
        self._lip_vectors: dict[str, np.ndarray | str] = {}  # vectors by id, or why there are none
        model, self._params = syncnet.Syncnet(weights.config), jax.device_put(weights.params)
        self._programs = {method: jit_method(model, method) for method in BATCH_SIZE}

    def __call__(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], sample_rate: int
    ) -> list[dict[str, object]]:
        """The scores of each wave, float32 [n]; clips without a text have none."""
        return [
            self._score(record["meta"], resample(wave, sample_rate, syncnet.SAMPLE_RATE))
            if record["meta"].get("text")
            else {}
            for record, wave in zip(records, waves, strict=True)
        ]

    def _score(self, meta: Mapping, wave: np.ndarray) -> dict[str, object]:
        name = meta["id"]
        if name not in self._lip_vectors:
            self._lip_vectors[name] = self._encode_mouth(name, meta["duration"])
        lips = self._lip_vectors[name]
        if isinstance(lips, str):
            return {"unscored": f"lse: {lips}"}
        windows = syncnet.count_windows(len(lips) + syncnet.FRAMES - 1, len(wave))
        if windows <= 0:
            return {"unscored": f"lse: {len(wave) / syncnet.SAMPLE_RATE:.2f} s of sound"}
        mfcc = syncnet.compute_mfcc(to_int16(wave))
        sound = self._run("encode_sound", syncnet.split_sound(mfcc, windows))
        scores = syncnet.score_lip_sync(lips[:windows], sound)
        return {
            "lse_d": scores.distance,
            "lse_c": scores.confidence,
            "lse_offset": float(abs(scores.offset)),
        }

    def _encode_mouth(self, name: str, seconds: float) -> np.ndarray | str:
        """Vectors of all windows of a video, [W, D]; or why there are none."""
        if name not in self.videos:
            return "the manifest has no video of it"
        try:
            frames = list(
                FrameReader(self.videos[name], syncnet.VIDEO_RATE, MAX_SIDE, seconds=seconds)
            )
        except InputError as error:
            return str(error)
        if len(frames) < MIN_FRAMES:
            return f"{len(frames)} pictures, expected at least {MIN_FRAMES}"
        boxes = track_face(frames)
        if boxes is None:
            return "no face"
        track = zip(frames, *syncnet.smooth_track(boxes), strict=True)
        faces = np.stack([syncnet.crop_face(*picture)[..., ::-1] for picture in track])
        windows = np.lib.stride_tricks.sliding_window_view(faces, syncnet.FRAMES, axis=0)
        return self._run("encode_lips", np.moveaxis(windows, -1, 1))

    def _run(self, method: str, windows: np.ndarray) -> np.ndarray:
        """Vectors of windows, [W, D]."""

        def apply(batch):
            return self._programs[method](self._params, np.float32(batch))

        return apply_in_batches(apply, windows, BATCH_SIZE[method])
