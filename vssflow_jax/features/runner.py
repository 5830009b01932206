"""Published encoders at work: inputs of many clips, jitted and batched, features by clip.

Batches have fixed shapes, so that each encoder is compiled once a process (lips: once a length,
in steps of a second). Accelerators compute in bfloat16, processors in float32.

Legend: N items of all clips, T frames.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.common import process_pool
from vssflow_jax.conditions import frames as frame_count
from vssflow_jax.encoders import avhubert, preprocessing, rawnet3, synchformer
from vssflow_jax.features import speaker
from vssflow_jax.weights import published

VIDEO_RATE = 25  # frames a second that clips have
RATES = {"clip": 10.0, "sync": 24.0, "lips": 25.0, "speaker": None}
# Items a batch on a processor and on an accelerator.
BATCH = {"clip": (32, 256), "sync": (2, 32), "lips": (1, 8), "speaker": (10, 80)}


@functools.lru_cache(maxsize=8)
def _loaded(kind: str, folder: str, hash: str):
    """A kind's config, parameters on the device and jitted function of a batch."""
    found = published.load(folder, kind)
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    model = published.KINDS[kind].model(found.config, dtype=dtype)

    @jax.jit
    def run(params, batch):
        out = model.apply({"params": params}, *INPUTS[kind](batch))
        return out.astype(jnp.float32)

    params = jax.device_put(found.params)
    return found.config, lambda batch: run(params, batch)


def loaded(kind: str):
    """Config and batch function of the weights that are found for a kind."""
    folder = published.find(kind)
    return _loaded(kind, str(folder), published.describe(folder, kind)["hash"])


def config(kind: str):
    """Config of the weights that are found for a kind; they are not loaded."""
    return published.describe(published.find(kind), kind)["config"]


def batch_size(kind: str) -> int:
    """Items a batch on the device at hand."""
    return BATCH[kind][jax.default_backend() != "cpu"]


# What a module takes, from the whole numbers that are sent to the device.
INPUTS: dict[str, Callable] = {
    "clip": lambda x: (
        preprocessing.normalized(x, preprocessing.CLIP_MEAN, preprocessing.CLIP_DEVIATION),
    ),
    "sync": lambda x: (
        preprocessing.normalized(x, preprocessing.SYNC_MEAN, preprocessing.SYNC_DEVIATION),
    ),
    "lips": lambda x: _masked(*x),
    "speaker": lambda x: (x,),
}


def _masked(crops: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    return avhubert.normalized(crops) * mask[..., None, None], mask


def in_batches(run: Callable, items: np.ndarray, size: int) -> np.ndarray:
    """`run` on batches of `size` items, the last filled up: [N, ..] -> [N, ..]."""
    out = []
    for first in range(0, len(items), size):
        part = items[first : first + size]
        padding = [(0, size - len(part))] + [(0, 0)] * (part.ndim - 1)
        out.append(run(np.pad(part, padding))[: len(part)])
    return np.concatenate([np.asarray(x) for x in out])


def encode(kind: str, clips: Sequence) -> list[np.ndarray | None]:
    """Features of clips (`features.encode.Clip`), float32 [n, width] or, for speakers, [width].

    None for a clip that lacks what the encoder sees.
    """
    return ENCODE[kind](clips)


def _joined(kind: str, parts: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """Items of all clips through the encoder together, and apart again.

    That happens in the process that holds the device; worker processes ask it.
    """
    given = [part for part in parts if part is not None]
    made = iter(process_pool.together(_run, (kind, given)) if given else ())
    return [None if part is None else next(made) for part in parts]


def _run(asked: Sequence[tuple[str, list[np.ndarray]]]) -> list[list[np.ndarray]]:
    """Answers (kind, parts) of several processes, all items of a kind in one go."""
    answers: list[list[np.ndarray]] = [[] for _ in asked]
    for kind in dict.fromkeys(kind for kind, _ in asked):
        own = [(row, part) for row, (k, parts) in enumerate(asked) if k == kind for part in parts]
        parts = [part for _, part in own]
        out = in_batches(loaded(kind)[1], np.concatenate(parts), batch_size(kind))
        cuts = np.split(out, np.cumsum([len(part) for part in parts])[:-1])
        for (row, _), features in zip(own, cuts, strict=True):
            answers[row].append(features)
    return answers


def _clip(clips: Sequence) -> list[np.ndarray | None]:
    side = config("clip").side
    return _joined("clip", [None if c.frames is None else _seen(c, side) for c in clips])


def _seen(clip, side: int) -> np.ndarray:
    """Frames nearest to k / 10 seconds, halves to even, as published; black after the end."""
    count = frame_count("clip", clip.duration, RATES["clip"])
    wanted = {round(k * VIDEO_RATE / RATES["clip"]) for k in range(count)}
    there = (frame for k, frame in enumerate(clip.frames) if k in wanted)
    return _blackened(preprocessing.squeezed(there, side), count)


def _blackened(frames: np.ndarray, count: int) -> np.ndarray:
    """`count` frames: those given, then black ones."""
    frames = frames[:count]
    return np.concatenate([frames, np.zeros((count - len(frames), *frames.shape[1:]), np.uint8)])


def _sync(clips: Sequence) -> list[np.ndarray | None]:
    sizes = config("sync")
    parts = [None if c.frames is None else _segments(c, sizes) for c in clips]
    made = _joined("sync", parts)
    counts = [frame_count("sync", clip.duration, RATES["sync"]) for clip in clips]
    return [
        None if x is None else x.reshape(-1, x.shape[-1])[:count]
        for x, count in zip(made, counts, strict=True)
    ]


def _segments(clip, config) -> np.ndarray:
    """Enough segments for the clip's length; what lies after its end is black."""
    steps = config.frames // synchformer.TUBE
    count = math.ceil(frame_count("sync", clip.duration, RATES["sync"]) / steps)
    wanted = (count - 1) * synchformer.STRIDE + config.frames
    frames = preprocessing.cropped(itertools.islice(clip.frames, wanted), config.side)
    return synchformer.segments(_blackened(frames, wanted), config.frames)


def _lips(clips: Sequence) -> list[np.ndarray | None]:
    crops = [_crops(clip) for clip in clips]
    given = [found for found in crops if found is not None]
    made = iter(process_pool.together(_run_lips, given) if given else ())
    return [None if found is None else next(made) for found in crops]


def _run_lips(asked: Sequence[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Answers crops of several processes, those of about one length together."""
    crops = [found for part in asked for found in part]
    seconds = [math.ceil(len(found) / VIDEO_RATE) for found in crops]
    out: dict[int, np.ndarray] = {}
    size = batch_size("lips")
    for length in sorted(set(seconds)):
        alike = [i for i, one in enumerate(seconds) if one == length]
        for first in range(0, len(alike), size):
            some = alike[first : first + size]
            made = _lips_of([crops[i] for i in some], length * VIDEO_RATE, size)
            for i, features in zip(some, made, strict=False):
                out[i] = features[: len(crops[i])]
    flat = iter(out[i] for i in range(len(crops)))
    return [[next(flat) for _ in part] for part in asked]


def _lips_of(crops: Sequence[np.ndarray], length: int, size: int) -> np.ndarray:
    """Features of up to `size` clips, [size, length, D]; their crops are padded to `length`."""
    batch = np.zeros((size, length, *crops[0].shape[1:]), np.uint8)
    mask = np.zeros((size, length), bool)
    mask[:, 0] = True  # attention among no frames at all is not defined
    for row, found in enumerate(crops):
        batch[row, : len(found)], mask[row, : len(found)] = found, True
    return np.asarray(loaded("lips")[1]((batch, mask)))


def _crops(clip) -> np.ndarray | None:
    """Grey mouth crops of a clip, uint8 [T, 96, 96]; None without a mouth."""
    if clip.frames is None or clip.mouth is None:
        return None
    count = frame_count("lips", clip.duration, RATES["lips"])
    return clip.mouth.crops(clip.frames)[:count]


def _speaker(clips: Sequence) -> list[np.ndarray | None]:
    waves = [clip.speaker_wave for clip in clips]
    for wave in waves:
        if wave is not None:
            speaker.heard(wave)  # refuses silence
    made = _joined("speaker", [None if wave is None else rawnet3.windows(wave) for wave in waves])
    return [None if x is None else x.mean(0) for x in made]


ENCODE = {"clip": _clip, "sync": _sync, "lips": _lips, "speaker": _speaker}
