"""Encoders with weights on a device: jitted, batched over many examples, features by example.

Batches have fixed shapes, so that each encoder is compiled once a process (lips: once a length,
in steps of a second). Accelerators compute in bfloat16, processors in float32.

Legend: N items of all examples, T frames, S a frame's side, W channels of a feature.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.common import crash_safe_pool
from vssflow_jax.conditions import BY_NAME, SYNC_HOP, SYNC_TUBE, num_frames
from vssflow_jax.encoders import avhubert, dvector, preprocessing, rawnet3, synchformer
from vssflow_jax.features import speaker
from vssflow_jax.features.registry import PUBLISHED, VIDEO_RATE, EncoderInputs
from vssflow_jax.weights import published

# Features a second of each encoder: the table's, as floats, which enter the encoders' hashes.
RATES = {name: BY_NAME[name].rate and float(BY_NAME[name].rate) for name in PUBLISHED}
# Items a batch on a processor and on an accelerator, by kind of weights: a condition's published
# ones, or the d-vector's.
BATCH = {
    "clip": (32, 256), "sync": (2, 32), "lips": (1, 8), "speaker": (10, 80), "dvector": (8, 256),
}  # fmt: skip

PARTS = {"clip": 8, "speaker": 1}  # items that a processor computes together, of those of a batch

# Libraries in which XLA computes on processors: not its newer one for convolutions, which takes one
# core for those with few channels.
LIBRARIES = {
    "xla_cpu_experimental_ynn_fusion_type": ",".join(
        f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "REDUCE", "INDIVIDUAL_DOT")
    )
}


# ---- networks and batches -----------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _load(condition: str, folder: str, hash: str):
    """An encoder's config and its function of a batch, with parameters on the device."""
    encoder = published.load_encoder(folder, condition)
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    model = published.KINDS[condition].model(encoder.config, dtype=dtype)
    apply = jax.jit(make_apply(model, condition), compiler_options=compiler_options(condition))
    params = jax.device_put(encoder.params)
    return encoder.config, lambda batch: apply(params, batch)


def _runs_lips_on_processor(condition: str) -> bool:
    """Whether a processor computes the lips, which takes options and parts of its own."""
    return condition == "lips" and jax.default_backend() == "cpu"


@functools.cache
def compiler_options(condition: str) -> dict[str, str] | None:
    """XLA's options for a condition's encoder; None: its own, also where it lacks `LIBRARIES`."""
    if not _runs_lips_on_processor(condition):
        return None
    try:
        jax.jit(lambda x: x, compiler_options=LIBRARIES).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return LIBRARIES


def make_apply(model, condition: str) -> Callable:
    """The function of parameters and a batch to float32 features, not yet compiled.

    On processors a batch passes through some networks in parts, one after another in the same
    memory, which takes a fifth less time than all at once.
    """
    in_parts = condition in PARTS and jax.default_backend() == "cpu"

    def apply(params, batch):
        inputs = MODEL_INPUTS[condition](batch)
        if _runs_lips_on_processor(condition):
            features = avhubert.apply_in_parts(model, params, *inputs)
        else:
            features = model.apply({"params": params}, *inputs)
        return features.astype(jnp.float32)

    def apply_in_parts(params, batch):
        parts = rearrange(batch, "(n s) ... -> n s ...", s=PARTS[condition])
        features = jax.lax.map(lambda part: apply(params, part), parts)
        return rearrange(features, "n s ... -> (n s) ...")

    return apply_in_parts if in_parts else apply


def load_encoder(condition: str):
    """Config and batch function of a condition's installed weights, cached by their hash."""
    folder = published.find_weights(condition)
    return _load(condition, str(folder), published.read_description(folder, condition)["hash"])


def read_config(condition: str):
    """Config of a condition's installed weights, without loading them."""
    return published.read_description(published.find_weights(condition), condition)["config"]


def batch_size(condition: str) -> int:
    """Items a batch on this process's device."""
    return BATCH[condition][jax.default_backend() != "cpu"]


def _mask_crops(crops: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    return avhubert.normalize_crops(crops) * mask[..., None, None], mask


# The arguments of each network, from the integers that are sent to the device.
MODEL_INPUTS: dict[str, Callable] = {
    "clip": lambda x: (
        preprocessing.normalize_pixels(x, preprocessing.CLIP_MEAN, preprocessing.CLIP_DEVIATION),
    ),
    "sync": lambda x: (
        preprocessing.normalize_pixels(x, preprocessing.SYNC_MEAN, preprocessing.SYNC_DEVIATION),
    ),
    "lips": lambda x: _mask_crops(*x),
    "speaker": lambda x: (x,),
    "dvector": lambda x: (x,),
}


def apply_in_batches(apply: Callable, items: np.ndarray, size: int) -> np.ndarray:
    """`apply` on batches of `size` items, the last one padded: [N, ..] -> [N, ..]."""
    outputs = []
    for first in range(0, len(items), size):
        batch = items[first : first + size]
        padding = [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1)
        outputs.append(apply(np.pad(batch, padding))[: len(batch)])
    return np.concatenate([np.asarray(output) for output in outputs])


# ---- many examples ------------------------------------------------------------------------


def encode_condition(condition: str, inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    """Features of examples, float32 [n, W] or, for speakers, [W]; None without the media."""
    return ENCODE[condition](inputs)


def _encode_items(condition: str, items: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """The items of all examples through the encoder together, split by example again.

    The process that holds the device computes; worker processes send it their items.
    """
    present = [part for part in items if part is not None]
    features = iter(
        crash_safe_pool.run_in_main_process(_answer, (condition, present)) if present else ()
    )
    return [None if part is None else next(features) for part in items]


def _answer(requests: Sequence[tuple[str, list[np.ndarray]]]) -> list[list[np.ndarray]]:
    """Answers (condition, items) of several processes, all of a condition in one go."""
    answers: list[list[np.ndarray]] = [[] for _ in requests]
    for condition in dict.fromkeys(condition for condition, _ in requests):
        same = [
            (number, part)
            for number, (name, parts) in enumerate(requests)
            if name == condition
            for part in parts
        ]
        items = np.concatenate([part for _, part in same])
        features = apply_in_batches(load_encoder(condition)[1], items, batch_size(condition))
        ends = np.cumsum([len(part) for _, part in same])[:-1]
        for (number, _), rows in zip(same, np.split(features, ends), strict=True):
            answers[number].append(rows)
    return answers


# ---- CLIP and Synchformer -----------------------------------------------------------------


def _encode_clip(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    side = read_config("clip").side
    frames = [None if one.frames is None else _select_frames(one, side) for one in inputs]
    return _encode_items("clip", frames)


def _select_frames(inputs: EncoderInputs, side: int) -> np.ndarray:
    """Frames nearest to k / 10 seconds, halves to even, as published; black after the end."""
    count = num_frames("clip", inputs.duration, RATES["clip"])
    numbers = {round(k * VIDEO_RATE / RATES["clip"]) for k in range(count)}
    selected = (frame for k, frame in enumerate(inputs.frames) if k in numbers)
    return _pad_black(preprocessing.resize_squeezed(selected, side), count)


def _pad_black(frames: np.ndarray, count: int) -> np.ndarray:
    """`count` frames: the first of `frames`, then black ones."""
    frames = frames[:count]
    return np.concatenate([frames, np.zeros((count - len(frames), *frames.shape[1:]), np.uint8)])


def _encode_sync(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    config = read_config("sync")
    segments = [None if one.frames is None else _make_segments(one, config) for one in inputs]
    features = _encode_items("sync", segments)
    counts = [num_frames("sync", one.duration, RATES["sync"]) for one in inputs]
    return [
        None if rows is None else rearrange(rows, "n t w -> (n t) w")[:count]
        for rows, count in zip(features, counts, strict=True)
    ]


def _make_segments(inputs: EncoderInputs, config) -> np.ndarray:
    """Enough segments for the example's length; black after its end."""
    steps = config.frames // SYNC_TUBE
    count = math.ceil(num_frames("sync", inputs.duration, RATES["sync"]) / steps)
    length = (count - 1) * SYNC_HOP + config.frames
    frames = preprocessing.resize_cropped(itertools.islice(inputs.frames, length), config.side)
    return synchformer.split_segments(_pad_black(frames, length), config.frames)


# ---- AV-HuBERT ----------------------------------------------------------------------------


def _encode_lips(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    crops = [_crop_mouth(one) for one in inputs]
    present = [one for one in crops if one is not None]
    features = iter(crash_safe_pool.run_in_main_process(_answer_lips, present) if present else ())
    return [None if one is None else next(features) for one in crops]


def _crop_mouth(inputs: EncoderInputs) -> np.ndarray | None:
    """Gray mouth crops of an example, uint8 [T, 96, 96]; None without a mouth."""
    if inputs.frames is None or inputs.mouth is None:
        return None
    count = num_frames("lips", inputs.duration, RATES["lips"])
    return inputs.mouth.crop(inputs.frames)[:count]


def _answer_lips(requests: Sequence[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Answers crops of several processes, those of about one length together."""
    crops = [one for request in requests for one in request]
    seconds = [math.ceil(len(one) / VIDEO_RATE) for one in crops]
    features: dict[int, np.ndarray] = {}
    size = batch_size("lips")
    for length in sorted(set(seconds)):
        same = [number for number, rounded in enumerate(seconds) if rounded == length]
        for first in range(0, len(same), size):
            numbers = same[first : first + size]
            batch = [crops[number] for number in numbers]
            rows = encode_crops(batch, round(length * VIDEO_RATE), size)
            for number, row in zip(numbers, rows, strict=False):
                features[number] = row[: len(crops[number])]
    ordered = iter(features[number] for number in range(len(crops)))
    return [[next(ordered) for _ in request] for request in requests]


def encode_crops(crops: Sequence[np.ndarray], length: int, size: int) -> np.ndarray:
    """Features [size, length, W] of the crops of up to `size` examples, padded to `length`."""
    batch = np.zeros((size, length, *crops[0].shape[1:]), np.uint8)
    mask = np.zeros((size, length), bool)
    mask[:, 0] = True  # attention over an empty set of frames is undefined
    for row, one in enumerate(crops):
        batch[row, : len(one)], mask[row, : len(one)] = one, True
    return np.asarray(load_encoder("lips")[1]((batch, mask)))


# ---- speakers: RawNet3, d-vector ----------------------------------------------------------


def _read_waves(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    """Reference voices; InputError for one that is silent or too short."""
    waves = [one.speaker_wave for one in inputs]
    for wave in waves:
        if wave is not None:
            speaker.check_voice(wave)
    return waves


def _encode_speaker(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    waves = _read_waves(inputs)
    windows = [None if wave is None else rawnet3.split_windows(wave) for wave in waves]
    features = _encode_items("speaker", windows)
    return [None if rows is None else rows.mean(0) for rows in features]


def _encode_dvector(inputs: Sequence[EncoderInputs]) -> list[np.ndarray | None]:
    waves = _read_waves(inputs)
    windows = [None if wave is None else dvector.prepare_windows(wave) for wave in waves]
    features = _encode_items("dvector", windows)
    return [None if rows is None else dvector.mean_direction(rows) for rows in features]


ENCODE = {
    "clip": _encode_clip,
    "sync": _encode_sync,
    "lips": _encode_lips,
    "speaker": _encode_speaker,
    "dvector": _encode_dvector,
}
