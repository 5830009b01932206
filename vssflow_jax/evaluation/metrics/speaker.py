"""Voices: features for the speaker classifier, and similarity to a reference voice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation.metrics.common import FRAME_RATE
from vssflow_jax.features.registry import (
    EncoderInputs,
    encode_example,
    encode_examples,
    select_encoders,
)

MIN_FRAMES = 20  # log-mel frames, at least
VOICED_RANGE = 4.0  # nepers below the loud frames that count as voiced
QUANTILES = (0.1, 0.5, 0.9)
DVECTOR = "speaker=bundled"  # set of encoders: Resemblyzer's, whose weights are in the package
Interval = tuple[float, float]


def voice_features(mel: np.ndarray, spoken: Interval | None = None) -> np.ndarray:
    """Features of a voice, independent of the level: log-mel [T, 64] -> [384].

    Per band, over the voiced frames: mean, deviation, deviation of the change, and quantiles.

    Args:
      mel: of a clip; it may contain other sounds too.
      spoken: start and end of the speech in seconds; None: the clip's.
    """
    first, last = (0, len(mel)) if spoken is None else (round(t * FRAME_RATE) for t in spoken)
    first = max(min(first, len(mel) - MIN_FRAMES), 0)
    mel = mel[first : max(last, first + MIN_FRAMES)]
    mel = mel - np.quantile(mel, 0.98)
    loudness = mel.max(1)
    voiced = loudness > np.quantile(loudness, 0.9) - VOICED_RANGE
    change = np.gradient(mel, axis=0)[voiced]
    voice = mel[voiced]
    parts = (voice.mean(0), voice.std(0), change.std(0), *np.quantile(voice, QUANTILES, axis=0))
    return np.concatenate(parts).astype(np.float32)


def similarity(
    wave: np.ndarray, reference: np.ndarray, encoder_set: str = "built-in"
) -> float | None:
    """Cosine in [-1, 1] between a wave's embedding and a reference voice's [256]; None: silence.

    The built-in encoder's vectors are centered and scaled to unit norm (features.speaker), so
    unrelated voices come near 0.

    Args:
      wave: float32 [n] at 16 kHz.
      reference: as the shards store it.
      encoder_set: the encoders that computed it (features.registry).
    """
    return cosine(embed_voice(wave, encoder_set), reference)


def embed_voice(wave: np.ndarray, encoder_set: str = DVECTOR) -> np.ndarray | None:
    """The speaker embedding of a wave, [256]; None for silence.

    Args:
      wave: float32 [n] at 16 kHz.
      encoder_set: its encoder of voices is used (features.registry).
    """
    try:
        return encode_example(speaker_wave=wave, encoder_set=encoder_set)["speaker"]
    except InputError:
        return None


def embed_voices(waves: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """The d-vector of each wave, in batches; None for silence."""
    inputs = [EncoderInputs(duration=0.0, speaker_wave=wave) for wave in waves]
    try:
        return [features["speaker"] for features in encode_examples(inputs, DVECTOR)]
    except InputError:  # of one of them
        return [embed_voice(wave) for wave in waves]


def cosine(vector: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Cosine between two embeddings; None where one is missing or zero."""
    if vector is None or other is None:
        return None
    vector, other = (np.asarray(v, np.float64).reshape(-1) for v in (vector, other))
    norm = np.linalg.norm(vector) * np.linalg.norm(other)
    return float(vector @ other / norm) if norm > 0 else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoiceReferences:
    """d-vectors of the voices of examples, by the examples' ids.

    Attributes:
      vectors: of the voice, from a recording in which it says another text.
      other_voices: cosine between that and the ground truth of an example in another voice.
    """

    vectors: Mapping[str, np.ndarray]
    other_voices: Mapping[str, float | None]

    @classmethod
    def from_examples(
        cls, records: Sequence[Mapping], waves: Sequence[np.ndarray], encoder_set: str
    ) -> VoiceReferences:
        """The references of examples with a text.

        Where the shards' encoder of voices is the d-vector, the reference is that of the record;
        elsewhere it is the ground truth of the next example in the same voice, by annotations.

        Args:
          records: the examples.
          waves: their ground truth.
          encoder_set: the encoders that computed the records' speaker embeddings.
        """
        spoken = [k for k, record in enumerate(records) if record["meta"].get("text")]
        names = {k: records[k]["meta"].get("annotation", {}).get("speaker") for k in spoken}
        truths = dict(zip(spoken, embed_voices([waves[k] for k in spoken]), strict=True))
        is_dvector = uses_dvector(encoder_set)
        vectors, other_voices = {}, {}
        for k in spoken:
            rest = [j for j in spoken if j > k] + [j for j in spoken if j < k]  # from the next on
            known = [j for j in rest if None not in (names[k], names[j])]
            same = next((truths[j] for j in known if names[j] == names[k]), None)
            other = next((truths[j] for j in known if names[j] != names[k]), None)
            vector = records[k].get("speaker") if is_dvector else same
            if vector is not None:
                name = records[k]["meta"]["id"]
                vectors[name], other_voices[name] = vector, cosine(other, vector)
        return cls(vectors=vectors, other_voices=other_voices)

    def score(
        self, names: Sequence[str], waves: Sequence[np.ndarray]
    ) -> dict[str, dict[str, float | None]]:
        """The columns of waves by the ids of their examples; those without a reference have none.

        Args:
          names: ids of the examples.
          waves: the sounds to score, float32 [n] at 16 kHz.
        """
        pairs = [(n, wave) for n, wave in zip(names, waves, strict=True) if n in self.vectors]
        embeddings = embed_voices([wave for _, wave in pairs])
        return {
            name: {
                "dvector_similarity": cosine(embedding, self.vectors[name]),
                "dvector_other_voice": self.other_voices[name],
            }
            for (name, _), embedding in zip(pairs, embeddings, strict=True)
        }


def uses_dvector(encoder_set: str) -> bool:
    """Whether the encoder of voices of a set is the d-vector."""
    (dvector,) = select_encoders(DVECTOR)
    return dvector.hash in [encoder.hash for encoder in select_encoders(encoder_set)]
