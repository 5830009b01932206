"""The duration model: how many latent frames each phoneme lasts.

A small network, trained together with the velocity network and independent of its parameters. It
learns from the runs of equal phoneme ids on the latent grid of a training batch.

Legend: B clips, L latent frames, n phonemes, W width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vssflow_jax import conditions

PARAMS_KEY = "durations"  # of its parameters, in the tree of the velocity network's
LAYERS = 2
KERNEL = 5  # phonemes in a convolution
PAUSE_FRAMES = 8  # a silence of at least so many frames separates utterances: 0.32 s
TYPICAL_FRAMES = 2.5  # prediction before training: 0.1 s
VOICE_DROPOUT = 0.15  # share of the clips whose voice is dropped in training
LENGTH_MULTIPLE = 64  # phonemes to which texts are padded, for few compilations


@struct.dataclass
class PhonemeRuns:
    """The phonemes of clips, in order; rows are padded with zeros at the end.

    Attributes:
      ids: int32 [B, L]; 0: a silence of at least PAUSE_FRAMES frames, or padding.
      frames: float32 [B, L], the length of each.
      is_complete: bool [B, L], phonemes that an edge of the clip cannot have cut.
    """

    ids: jax.Array
    frames: jax.Array
    is_complete: jax.Array


def find_runs(ids: jax.Array, ends: jax.Array) -> PhonemeRuns:
    """Runs of equal ids.

    Args:
      ids: int32 [B, L], 0 where nobody speaks.
      ends: [B], frames of each clip before its padding.
    """
    return jax.vmap(_find_runs)(ids, ends)


def _find_runs(ids: jax.Array, end: jax.Array) -> PhonemeRuns:
    length = ids.shape[0]

    def segment_sum(x, segments):  # segments out of range are dropped
        return jax.ops.segment_sum(x, segments, num_segments=length)

    is_start = jnp.concatenate([jnp.ones(1, bool), ids[1:] != ids[:-1]])
    run = jnp.cumsum(is_start) - 1  # number of the run of each frame
    frames = segment_sum(jnp.ones(length), run)
    run_ids = segment_sum(ids * is_start, run)
    starts = jnp.cumsum(frames) - frames
    ends_inside = starts + frames < jnp.minimum(end, length)
    is_complete = (run_ids > 0) & (starts > 0) & ends_inside
    is_kept = (run_ids > 0) | (frames >= PAUSE_FRAMES)
    place = jnp.where(is_kept, jnp.cumsum(is_kept) - 1, length)
    return PhonemeRuns(
        ids=segment_sum(run_ids, place),
        frames=segment_sum(frames, place),
        is_complete=segment_sum(is_complete.astype(jnp.int32), place) > 0,
    )


class DurationNetwork(nn.Module):
    """Log frames of each phoneme, from its neighbors and the voice.

    Residual convolutions over the phonemes. Id 0 is zero at every layer, so the edges of a clip,
    padding and long silences are the same.

    Attributes:
      width: W.
    """

    width: int

    @nn.compact
    def __call__(self, ids: jax.Array, speaker: jax.Array, present: jax.Array) -> jax.Array:
        """Ids [B, n], speaker embeddings [B, 256], 1 where there is one [B] -> [B, n]."""
        is_phoneme = (ids > 0)[..., None]  # [B, n, 1]
        voice = nn.LayerNorm(name="voice_norm")(speaker.astype(jnp.float32))
        voice = nn.Dense(self.width, name="voice_in")(voice)
        voice = nn.Dense(self.width, name="voice_out")(nn.silu(voice)) * present[:, None]  # [B, W]
        x = nn.Embed(conditions.BY_NAME["phonemes"].width, self.width, name="phonemes")(ids)
        x = (x + voice[:, None]) * is_phoneme  # [B, n, W]
        for layer in range(LAYERS):
            y = nn.LayerNorm(name=f"norm_{layer}")(x) * is_phoneme
            y = nn.Conv(self.width, (KERNEL,), name=f"conv_{layer}")(y)
            x += nn.Dense(self.width, name=f"mix_{layer}")(nn.gelu(y)) * is_phoneme
        x = nn.LayerNorm(name="norm_out")(x)
        out = nn.Dense(1, kernel_init=nn.initializers.zeros, name="out")(x)
        return out[..., 0] + jnp.log(TYPICAL_FRAMES)


def build_network(config) -> DurationNetwork | None:
    """The network of `config.model.duration_width`; None where that is 0."""
    return DurationNetwork(config.model.duration_width) if config.model.duration_width else None


def init_params(network: DurationNetwork, key: jax.Array) -> dict:
    """Parameters before training."""
    speaker = jnp.zeros((1, conditions.BY_NAME["speaker"].width))
    return network.init(key, jnp.zeros((1, 1), jnp.int32), speaker, jnp.zeros(1))["params"]


def duration_loss(network: DurationNetwork, params, batch: Mapping, key: jax.Array) -> jax.Array:
    """Mean of exp(r) - r - 1 over the complete phonemes, r = log(true frames / predicted frames).

    The deviance of a gamma distribution. Its minimum is at the mean of the frames, not of their
    logarithm, so predicted lengths add up to true ones, while errors count relative to the length.

    Args:
      network: the network.
      params: its parameters.
      batch: training batch.
      key: for the voice dropout, which teaches the network texts without a voice.
    """
    features = batch["features"]
    runs = find_runs(features["phonemes"], batch["frames"])
    present = batch["present"]["speaker"]
    present *= jax.random.uniform(key, present.shape) >= VOICE_DROPOUT
    predicted = network.apply({"params": params}, runs.ids, features["speaker"], present)
    ratio = jnp.log(jnp.maximum(runs.frames, 1)) - predicted
    losses = jnp.exp(ratio) - ratio - 1
    return jnp.sum(losses * runs.is_complete) / jnp.maximum(jnp.sum(runs.is_complete), 1)


def make_predictor(
    network: DurationNetwork, params: Mapping
) -> Callable[[np.ndarray, np.ndarray | None], list[float]]:
    """The function of phoneme ids [n] and a voice [256] (None: unknown) to seconds of each."""

    def predict_seconds(ids: np.ndarray, voice: np.ndarray | None) -> list[float]:
        known = voice is not None
        embedding = voice if known else np.zeros(conditions.BY_NAME["speaker"].width)
        embedding, present = np.asarray(embedding, np.float32), np.full(1, known, np.float32)
        padded = np.pad(ids, (0, -len(ids) % LENGTH_MULTIPLE))
        frames = _predict_frames(network, params, padded[None], embedding[None], present)
        return (np.asarray(frames)[0, : len(ids)] / conditions.LATENT_RATE).tolist()

    return predict_seconds


@functools.partial(jax.jit, static_argnums=0)
def _predict_frames(network, params, ids, voice, present) -> jax.Array:
    """Frames of each phoneme, [1, n]."""
    return jnp.exp(network.apply({"params": params}, ids, voice, present))
