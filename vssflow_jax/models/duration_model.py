"""How long phonemes last: a small network beside the main one, and what it learns from.

Its examples are the runs of equal ids on the latent grid of a training batch. It shares no
parameter with the main network. Legend: B clips, L latent frames, n phonemes, W width.
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

PARAMS_KEY = "durations"  # of its parameters, beside those of the main network
LAYERS = 2
KERNEL = 5  # phonemes that a layer sees at once
PAUSE_FRAMES = 8  # frames from which a silence parts utterances: 0.32 s
TYPICAL_FRAMES = 2.5  # frames of a phoneme before anything is learned: 0.1 s
VOICE_DROPOUT = 0.15  # share of clips whose voice is hidden while training
LENGTH_MULTIPLE = 64  # phonemes to which texts are padded, for few compilations


@struct.dataclass
class PhonemeRuns:
    """Phonemes of clips, in order, at the front of their rows.

    Attributes:
      ids: int32 [B, L]; 0: a silence of at least PAUSE frames, or nothing.
      frames: float32 [B, L], how many each lasts.
      whole: bool [B, L], phonemes that no edge of the clip may have cut.
    """

    ids: jax.Array
    frames: jax.Array
    whole: jax.Array


def find_runs(ids: jax.Array, ends: jax.Array) -> PhonemeRuns:
    """Runs of equal ids.

    Args:
      ids: int32 [B, L], 0 where nobody speaks.
      ends: [B], frames of each clip that are its own; the others are padding.
    """
    return jax.vmap(_find_runs)(ids, ends)


def _find_runs(ids: jax.Array, end: jax.Array) -> PhonemeRuns:
    length = ids.shape[0]

    def summed(x, groups):  # numbers out of range are dropped
        return jax.ops.segment_sum(x, groups, num_segments=length)

    changes = jnp.concatenate([jnp.ones(1, bool), ids[1:] != ids[:-1]])
    number = jnp.cumsum(changes) - 1  # of the run that a frame belongs to
    frames = summed(jnp.ones(length), number)
    said = summed(ids * changes, number)
    starts = jnp.cumsum(frames) - frames
    whole = (said > 0) & (starts > 0) & (starts + frames < jnp.minimum(end, length))
    kept = (said > 0) | (frames >= PAUSE_FRAMES)
    place = jnp.where(kept, jnp.cumsum(kept) - 1, length)
    return PhonemeRuns(
        ids=summed(said, place),
        frames=summed(frames, place),
        whole=summed(whole.astype(jnp.int32), place) > 0,
    )


class DurationNetwork(nn.Module):
    """Log frames of each phoneme, from its neighbours and the voice.

    Convolutions over the phonemes, residual; id 0 is zeros at every layer, so that an edge,
    padding and a long silence are the same.

    Attributes:
      width: W.
    """

    width: int

    @nn.compact
    def __call__(self, ids: jax.Array, speaker: jax.Array, present: jax.Array) -> jax.Array:
        """[B, n], speaker embeddings [B, 256], which of them there are [B] -> [B, n]."""
        said = (ids > 0)[..., None]  # [B, n, 1]
        voice = nn.LayerNorm(name="voice_norm")(speaker.astype(jnp.float32))
        voice = nn.Dense(self.width, name="voice_in")(voice)
        voice = nn.Dense(self.width, name="voice_out")(nn.silu(voice)) * present[:, None]  # [B, W]
        x = nn.Embed(conditions.BY_NAME["phonemes"].width, self.width, name="phonemes")(ids)
        x = (x + voice[:, None]) * said  # [B, n, W]
        for layer in range(LAYERS):
            seen = nn.LayerNorm(name=f"norm_{layer}")(x) * said
            seen = nn.Conv(self.width, (KERNEL,), name=f"conv_{layer}")(seen)
            x += nn.Dense(self.width, name=f"mix_{layer}")(nn.gelu(seen)) * said
        x = nn.LayerNorm(name="norm_out")(x)
        out = nn.Dense(1, kernel_init=nn.initializers.zeros, name="out")(x)
        return out[..., 0] + jnp.log(TYPICAL_FRAMES)


def build_network(config) -> DurationNetwork | None:
    """The network of `config.model.duration_width`; None where that is 0."""
    return DurationNetwork(config.model.duration_width) if config.model.duration_width else None


def init_params(network: DurationNetwork, key: jax.Array) -> dict:
    """Its first parameters."""
    speaker = jnp.zeros((1, conditions.BY_NAME["speaker"].width))
    return network.init(key, jnp.zeros((1, 1), jnp.int32), speaker, jnp.zeros(1))["params"]


def duration_loss(network: DurationNetwork, params, batch: Mapping, key: jax.Array) -> jax.Array:
    """Mean of exp(r) - r - 1 over the whole phonemes of a batch, r = log(true / predicted frames).

    The deviance of a gamma distribution: least at the mean of the frames and not of their
    logarithm, so that predicted lengths add up to true ones, while errors count by their share.

    Args:
      network: the network.
      params: its parameters.
      batch: training batch; voices are hidden here and there, for texts without one.
      key: decides where.
    """
    features = batch["features"]
    found = find_runs(features["phonemes"], batch["frames"])
    shown = batch["present"]["speaker"]
    shown *= jax.random.uniform(key, shown.shape) >= VOICE_DROPOUT
    predicted = network.apply({"params": params}, found.ids, features["speaker"], shown)
    ratio = jnp.log(jnp.maximum(found.frames, 1)) - predicted
    losses = jnp.exp(ratio) - ratio - 1
    return jnp.sum(losses * found.whole) / jnp.maximum(jnp.sum(found.whole), 1)


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
