"""The protocol of an evaluation: definitions, models, data and versions behind its scores."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence

from vssflow_jax.evaluation import generated_folder
from vssflow_jax.evaluation.metrics import common, distances, mcd, sound, speech
from vssflow_jax.evaluation.metrics.suite import MetricSuite

PACKAGES = (
    "vssflow_jax",
    "jax",
    "flax",
    "numpy",
    "scipy",
    "scikit-learn",
    "librosa",
    "jiwer",
    "av",
)
METRICS = {
    "wer": "substitutions, deletions and insertions over words of the transcript, summed over "
    "clips (jiwer); an empty transcript is the deletion of every word",
    "onset_f1": f"2 matched / (true + found) onsets a clip, one to one, within "
    f"{1000 * sound.TOLERANCE:g} ms; mean over clips",
    "onset_mae_ms": "mean absolute error of the matched onsets of a clip; mean over clips",
    "sound_class_accuracy": "share of clips whose kind of event a classifier names correctly",
    "speaker_accuracy": "share of clips whose voice a classifier names correctly",
    "speaker_similarity": "cosine between the speaker embeddings of the clip and of its "
    "reference voice; mean over clips that are not silent",
    "mcd": f"dB; c_1 to c_{mcd.COEFFICIENTS} of 64-band log-mels every "
    f"{1000 / common.FRAME_RATE:g} ms, cut 60 dB under the peak, the spoken part alone, warped "
    "by librosa.sequence.dtw; 10 sqrt(2) / ln 10 times the mean distance along the path",
    "kl": "nats; KL(truth || clip) of the softmax of the embedding's logits; mean over clips",
    "frechet": "Frechet distance between Gaussians of the embedding's features of the clips and "
    "of their ground truth, unbiased covariances",
    "inception_score": "exp of the mean KL between a clip's softmax and the mean one, one split",
    "dnsmos": "DNSMOS P.835, overall; mean over clips",
    "utmos": "UTMOS; mean over clips",
}
INTERVALS = (
    f"95 %: percentile bootstrap over clips, {common.RESAMPLES} resamples, seed 0; frechet and "
    f"inception_score: jackknife over clips, {distances.GROUPS} groups of them at most"
)


def versions() -> dict[str, str]:
    """Versions of the packages that scores depend on."""
    return {name: find_version(name) for name in PACKAGES}


def find_version(package: str) -> str:
    """The installed version of a package; "checkout" for this one run from a checkout."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "checkout"


def describe(
    suite: MetricSuite,
    training_data: Mapping[str, object],
    clips: Mapping[str, Sequence[str]],
    system: Mapping[str, object],
) -> dict:
    """The contents of protocol.json.

    Args:
      suite: the metrics.
      training_data: what its reference models were fitted on.
      clips: ids of the scored clips by task, in order.
      system: where the clips are from and how their sound was generated.
    """
    models = suite.reference_models
    return {
        **system,
        "metrics": METRICS,
        "intervals": INTERVALS,
        "floor": "the same score of the ground truth through the codec",
        "ceiling": "the same score of the ground truth itself",
        "waves": f"16 kHz, mono; cut to the clip's length or padded with silence, at most "
        f"{generated_folder.MAX_SHORTFALL:g} s",
        "recognizer": {
            "name": suite.recognizer.name,
            "version": suite.recognizer.version,
            "normalization": speech.NORMALIZATION,
        },
        "reference_models": {
            **training_data,
            "onset_threshold": models.onsets.threshold if models.onsets else None,
            "sound_classes": {
                task: [str(name) for name in model.classes_]
                for task, model in models.sound_classes.items()
            },
            "speakers": [str(name) for name in models.speakers.classes_] if models.speakers else [],
        },
        "embedding": {"name": suite.embedding.name, "hash": suite.embedding.hash},
        "encoders": suite.encoder_set,
        "mos": [predictor.package for predictor in suite.mos_predictors],
        "versions": versions(),
        "python": platform.python_version(),
        "clips": {task: list(ids) for task, ids in clips.items()},
    }
