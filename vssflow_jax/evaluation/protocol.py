"""How scores were made, in words and numbers: what is written beside them."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from vssflow_jax.evaluation import generated_folder
from vssflow_jax.evaluation.metrics import common, distances, mcd, sound, speech
from vssflow_jax.evaluation.metrics.suite import Panel

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
    "clips (jiwer); nothing heard is the deletion of every word",
    "onset_f1": f"2 matched / (true + found) onsets a clip, one to one, within "
    f"{1000 * sound.TOLERANCE:g} ms; mean over clips",
    "onset_mae_ms": "mean absolute error of the matched onsets of a clip; mean over clips",
    "sound_class_accuracy": "share of clips whose kind of event a classifier names rightly",
    "speaker_accuracy": "share of clips whose voice a classifier names rightly",
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
    """Of the packages that scores depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def describe(panel: Panel, fitted: dict, clips: dict[str, Sequence[str]], **known) -> dict:
    """The contents of protocol.json.

    Args:
      panel: who scored.
      fitted: what its judges learned from.
      clips: ids of the scored clips by task, in order.
      **known: where the clips are from and how their sound was made.
    """
    onsets = panel.judges.onsets
    return {
        **known,
        "metrics": METRICS,
        "intervals": INTERVALS,
        "floor": "the same score of the ground truth through the codec",
        "ceiling": "the same score of the ground truth itself",
        "waves": f"16 kHz, mono; cut to the clip's length or filled with silence, at most "
        f"{generated_folder.SLACK:g} s",
        "recogniser": {
            "name": panel.recogniser.name,
            "version": panel.recogniser.version,
            "normalisation": speech.NORMALISATION,
        },
        "judges": {
            **fitted,
            "onset_threshold": onsets.threshold if onsets else None,
            "sound_classes": {
                task: [str(name) for name in model.classes_]
                for task, model in panel.judges.classes.items()
            },
            "speakers": (
                [str(name) for name in panel.judges.speakers.classes_]
                if panel.judges.speakers
                else []
            ),
        },
        "embedding": {"name": panel.embedding.name, "hash": panel.embedding.hash},
        "encoders": panel.encoder_set,
        "opinions": [opinion.package for opinion in panel.opinions],
        "versions": versions(),
        "python": platform.python_version(),
        "clips": {task: list(ids) for task, ids in clips.items()},
    }
