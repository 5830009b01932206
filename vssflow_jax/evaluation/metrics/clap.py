"""CLAP scores: the cosine of a sound with its ground truth, and with its label (encoders/clap.py).

Source: Wu et al. 2023 (arXiv 2211.06687); waves as av-benchmark prepares them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import cut_or_pad, resample
from vssflow_jax.data.pipeline import read_mono
from vssflow_jax.encoders import clap
from vssflow_jax.evaluation.metrics.common import jit_method
from vssflow_jax.weights.published import EncoderWeights
from vssflow_jax.weights.sources import TOKENIZER

BATCH_SIZE = 4
LABELS = ("label", "sound_class")  # annotations that name the sound


class ClapScore:
    """Cosines of the first ten seconds of sounds, and of labels.

    Args:
      weights: of the kind `clap`.
      folder: with the file tokenizer.json, which labels need.

    Raises:
      InputError: a tokenizer that cannot be read.
    """

    columns: ClassVar[Mapping[str, str]] = {
        "clap_audio": "cosine between the CLAP vectors of the first 10 s of the clip and of its "
        "ground truth, each without its mean; mean over clips",
        "clap_text": "cosine between the CLAP vectors of the clip and of its label; mean over the "
        "clips that have one",
    }
    needs_time: ClassVar[bool] = False

    def __init__(self, weights: EncoderWeights, folder: Path):
        self.hash, self.folder = weights.hash, folder
        self._tokenizer = load_tokenizer(folder / TOKENIZER)
        self._truths: dict[str, np.ndarray] = {}  # by id: they recur with every system
        model, self._params = clap.Clap(weights.config), jax.device_put(weights.params)
        self._encode_sound = jit_method(model, "encode_sound")
        self._encode_text = jit_method(model, "encode_text")
        self._labels = functools.lru_cache(maxsize=1024)(self._embed_label)

    def __call__(
        self, records: Sequence[Mapping], waves: Sequence[np.ndarray], sample_rate: int
    ) -> list[dict[str, object]]:
        """The scores of each wave, float32 [n]."""
        vectors = self.embed_sounds(waves, sample_rate)
        new = [record for record in records if record["meta"]["id"] not in self._truths]
        truths = self.embed_sounds([read_mono(record, sample_rate) for record in new], sample_rate)
        self._truths |= {r["meta"]["id"]: v for r, v in zip(new, truths, strict=True)}
        rows = []
        for record, vector in zip(records, vectors, strict=True):
            row: dict[str, object] = {
                "clap_audio": float(vector @ self._truths[record["meta"]["id"]])
            }
            label = find_label(record)
            if label and self._tokenizer is not None:
                row["clap_text"] = float(vector @ self._labels(label))
            elif label:
                row["unscored"] = f"clap_text: no {TOKENIZER} in {self.folder}, or no tokenizers"
            rows.append(row)
        return rows

    def embed_sounds(self, waves: Sequence[np.ndarray], sample_rate: int) -> list[np.ndarray]:
        """Unit vectors of waves, float32 [n]."""
        vectors = []
        for first in range(0, len(waves), BATCH_SIZE):
            chunk = (wave - np.mean(wave) for wave in waves[first : first + BATCH_SIZE])
            chunk = (resample(wave, sample_rate, clap.SAMPLE_RATE) for wave in chunk)
            mels = np.stack([clap.log_mel(wave) for wave in chunk])
            output = self._encode_sound(self._params, cut_or_pad(mels, BATCH_SIZE))
            vectors += list(_normalize(np.asarray(output)[: len(mels)]))
        return vectors

    def _embed_label(self, label: str) -> np.ndarray:
        """The unit vector of a label."""
        tokens = np.array([self._tokenizer.encode(label).ids], np.int32)
        return _normalize(np.asarray(self._encode_text(self._params, tokens, tokens * 0 + 1)))[0]


def find_label(record: Mapping) -> str | None:
    """The words that name the sound of an example."""
    annotation = record["meta"].get("annotation", {})
    label = next((annotation[name] for name in LABELS if annotation.get(name)), None)
    return None if label is None else str(label).replace("_", " ")


def load_tokenizer(path: Path):
    """The tokenizer of a file; None if there is no file, or the package tokenizers is missing."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    if not path.exists():
        return None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises Exception itself
        raise InputError(f"{path}: found no tokenizer ({error}), expected that of CLAP") from None


def _normalize(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
