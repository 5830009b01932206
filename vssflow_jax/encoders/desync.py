"""Synchformer as a whole: how many seconds the sound of a clip is ahead of its pictures.

A visual encoder (encoders/synchformer.py), an audio encoder over log-mels (an Audio Spectrogram
Transformer, Gong et al. 2021, arXiv 2104.01778), and a transformer over the features of both, which
classifies the offset. Source: Iashin et al. 2024 (arXiv 2401.16423); the DeSync score of Cheng et
al. 2025, MMAudio (arXiv 2412.15322).

Legend: B clips, S segments, F mel bands, T mel frames, f, t patches along them, D width, K classes.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import librosa
import numpy as np
from einops import rearrange, repeat

from vssflow_jax.conditions import SAMPLE_RATE, SYNC_HOP, SYNC_SEGMENT
from vssflow_jax.encoders.layers import Block, gelu, scan_layers
from vssflow_jax.encoders.preprocessing import hann_frames
from vssflow_jax.encoders.synchformer import EXPANSION, Synchformer, SynchformerConfig

VIDEO_RATE = 25
SEGMENT = SYNC_SEGMENT * SAMPLE_RATE // VIDEO_RATE  # samples: 0.64 s
HOP = SYNC_HOP * SAMPLE_RATE // VIDEO_RATE  # samples from one segment to the next: 0.32 s
WINDOW_SEGMENTS = 14  # that the head compares: 4.8 s
MAX_OFFSET, CLASSES = 2.0, 21  # seconds either way, in steps of 0.2
FFT_SIZE, WINDOW, MEL_HOP, BANDS = 1024, 400, 160, 128
MEL_FRAMES = 66  # of a segment: the last one is padding
MEL_OFFSET, MEL_MEAN, MEL_DEVIATION = 1e-6, -4.2677393, 4.5689974
PATCH, STRIDE = 16, 10  # of the audio encoder, along both axes
AUDIO_EPSILON, POOL_EPSILON, HEAD_EPSILON = 1e-12, 1e-6, 1e-5  # of the layer norms


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesyncConfig(SynchformerConfig):
    """Size of the network: the visual encoder's, and that of the other parts.

    Attributes:
      audio_layers: blocks of the audio encoder.
      audio_heads: attention heads a block.
      head_layers: blocks of the transformer over both.
      head_heads: attention heads of these.
      segments: that it compares.
      classes: K.
    """

    audio_layers: int = 12
    audio_heads: int = 12
    head_layers: int = 3
    head_heads: int = 8
    segments: int = WINDOW_SEGMENTS
    classes: int = CLASSES


def offset_grid() -> np.ndarray:
    """Seconds of each class, float32 [21]: how much earlier the sound is than the pictures."""
    return np.linspace(-MAX_OFFSET, MAX_OFFSET, CLASSES).astype(np.float32)


@functools.cache
def mel_filterbank() -> np.ndarray:
    """Triangles in hertz on HTK's scale, 0 to 8000 Hz, of height 1: float32 [513, 128]."""
    bank = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FFT_SIZE, n_mels=BANDS, htk=True, norm=None)
    return bank.T


def log_mel_segments(wave: np.ndarray) -> np.ndarray:
    """Normalized log-mels of overlapping segments: float32 [n] at 16 kHz -> [S, 128, 66].

    Each segment is padded by reflection at its own ends. What does not fill a segment is left out.
    """
    starts = range(0, len(wave) - SEGMENT + 1, HOP)
    mels = [_log_mel(wave[start : start + SEGMENT]) for start in starts]
    return np.stack(mels) if mels else np.zeros((0, BANDS, MEL_FRAMES), np.float32)


def _log_mel(segment: np.ndarray) -> np.ndarray:
    """float32 [10240] -> [128, 66]; the last frame is 0 before the normalization."""
    # Frames of 400 samples in the middle of those of 1024, which only pad the transform.
    inner = (FFT_SIZE - WINDOW) // 2
    padded = np.pad(segment, FFT_SIZE // 2, mode="reflect")[inner : -inner or None]
    power = np.abs(np.fft.rfft(hann_frames(padded, WINDOW, MEL_HOP), FFT_SIZE)) ** 2
    mel = np.log(power @ mel_filterbank() + MEL_OFFSET).T[:, :MEL_FRAMES]
    mel = np.pad(mel, ((0, 0), (0, MEL_FRAMES - mel.shape[1])))
    return ((mel - MEL_MEAN) / (2 * MEL_DEVIATION)).astype(np.float32)


class AudioEncoder(nn.Module):
    """Log-mel segments [N, F, T] to features [N, t, D], one for each step of 10 mel frames."""

    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        small, width = nn.initializers.normal(0.02), self.width
        patch, stride = (PATCH, PATCH), (STRIDE, STRIDE)
        x = nn.Conv(width, patch, strides=stride, padding="VALID", name="patches")(mel[..., None])
        bands = x.shape[1]
        x = rearrange(x, "n f t d -> n (f t) d")
        tokens = [self.param(name, small, (width,)) for name in ("class_token", "distill_token")]
        first = jnp.broadcast_to(jnp.stack(tokens), (len(x), 2, width))
        x = jnp.concatenate([first, x], axis=1)
        x += self.param("positions", small, (x.shape[1], width))
        sizes = (self.heads, EXPANSION * width, AUDIO_EPSILON, gelu)
        x, _ = scan_layers(Block, self.layers)(*sizes, name="blocks")(x, None)
        x = nn.LayerNorm(epsilon=AUDIO_EPSILON, name="norm_out")(x)[:, 2:]
        # The bands of each step are pooled by a class token of their own.
        x = rearrange(x, "n (f t) d -> (n t) f d", f=bands)
        token = self.param("pool_token", small, (width,))
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, width)), x], axis=1)
        x, _ = Block(self.heads, EXPANSION * width, POOL_EPSILON, gelu, name="pool")(x)
        return rearrange(x[:, 0], "(n t) d -> n t d", n=len(mel))


class OffsetHead(nn.Module):
    """Features of both, [B, S, v, D] and [B, S, a, D], to logits of the offset, [B, K]."""

    layers: int
    heads: int
    classes: int

    @nn.compact
    def __call__(self, video: jax.Array, audio: jax.Array) -> jax.Array:
        small, width, batch = nn.initializers.normal(0.02), video.shape[-1], len(video)

        def norm(x, name):
            return nn.LayerNorm(epsilon=HEAD_EPSILON, name=name)(x)

        video = nn.Dense(width, name="video")(video)
        audio = nn.Dense(width, name="audio")(audio)
        video, audio = (rearrange(x, "b s n d -> b (s n) d") for x in (video, audio))
        offset, modality = (
            jnp.broadcast_to(self.param(name, small, (width,)), (batch, 1, width))
            for name in ("offset_token", "modality_token")
        )
        parts = [offset, norm(video, "norm_video"), modality, norm(audio, "norm_audio")]
        x = jnp.concatenate(parts, axis=1)
        x += self.param("positions", small, (x.shape[1], width))
        sizes = (self.heads, EXPANSION * width, HEAD_EPSILON, gelu)
        x, _ = scan_layers(Block, self.layers)(*sizes, name="blocks")(x, None)
        return nn.Dense(self.classes, name="out")(norm(x, "norm_out")[:, 0])


class Desync(nn.Module):
    """The whole network; `__call__` runs through all of it, for initialization.

    Its parts are called one at a time: `encode_video`, `encode_audio`, `classify`.
    """

    config: DesyncConfig

    def setup(self):
        config = self.config
        self.video = Synchformer(config)
        self.audio = AudioEncoder(config.width, config.audio_layers, config.audio_heads)
        self.head = OffsetHead(config.head_layers, config.head_heads, config.classes)

    def encode_video(self, frames: jax.Array) -> jax.Array:
        """Segments of frames [N, 16, R, R, 3] in [-1, 1] -> features [N, 8, D]."""
        return self.video(frames)

    def encode_audio(self, mel: jax.Array) -> jax.Array:
        """Log-mel segments [N, 128, 66] -> features [N, 6, D]."""
        return self.audio(mel)

    def classify(self, video: jax.Array, audio: jax.Array) -> jax.Array:
        """Features [B, S, 8, D] and [B, S, 6, D] of exactly 14 segments -> logits [B, K]."""
        return self.head(video, audio)

    def __call__(self, frames: jax.Array) -> jax.Array:
        """One segment of frames, [1, 16, R, R, 3], with made-up sound -> logits [1, K]."""
        video = self.encode_video(frames)
        audio = self.encode_audio(jnp.zeros((1, BANDS, MEL_FRAMES)))
        count = self.config.segments
        return self.classify(*(repeat(x, "1 n d -> 1 s n d", s=count) for x in (video, audio)))
