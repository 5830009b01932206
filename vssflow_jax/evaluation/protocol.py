"""The protocol of an evaluation: definitions, models, data and versions behind its scores."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

from vssflow_jax.common.versions import find_version
from vssflow_jax.evaluation import generated_folder
from vssflow_jax.evaluation.metrics import (
    common,
    distances,
    mcd,
    measures,
    sound,
    word_errors,
)
from vssflow_jax.evaluation.metrics.asr import Recognizer
from vssflow_jax.evaluation.metrics.mos import MosPredictor
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
    "wer_homophones_equal": "as wer, with words as equals that share a pronunciation in CMUdict",
    "wer_open": "as wer, by the second recognizer (open_recognizer)",
    "wer_homophones_equal_open": "as wer_homophones_equal, by the second recognizer",
    "onset_f1": f"2 matched / (true + found) onsets a clip, one to one, within "
    f"{1000 * sound.TOLERANCE:g} ms; mean over clips",
    "onset_mae_ms": "mean absolute error of the matched onsets of a clip; mean over clips",
    "sound_class_accuracy": "share of clips whose kind of event a classifier names correctly",
    "speaker_accuracy": "share of clips whose voice a classifier names correctly, among voices of "
    "which it was fitted on two clips or more",
    "speaker_similarity": "cosine between the speaker embeddings of the clip and of its "
    "reference voice; mean over clips that are not silent",
    "dvector_similarity": "cosine between the d-vectors (Resemblyzer) of the clip and of its "
    "reference voice, which says another text; mean over clips that are not silent",
    "dvector_other_voice": "cosine between the d-vectors of the ground truth of another voice and "
    "of the reference voice; mean over the same clips",
    "mcd": f"dB; c_1 to c_{mcd.COEFFICIENTS} of 64-band log-mels every "
    f"{1000 / common.FRAME_RATE:g} ms, cut 60 dB under the peak, the spoken part alone, warped "
    "by librosa.sequence.dtw; 10 sqrt(2) / ln 10 times the mean distance along the path",
    "kl": "nats; KL(truth || clip) of the softmax of the embedding's logits; mean over clips",
    "frechet": "Frechet distance between Gaussians of the embedding's features of the clips and "
    "of their ground truth, unbiased covariances",
    "inception_score": "exp of the mean KL between a clip's softmax and the mean one, one split",
    "dnsmos": "DNSMOS P.835, overall; mean over clips",
    "distillmos": "DistillMOS; mean over clips",
    "utmos": "UTMOS; mean over clips",
    **measures.COLUMNS,
}
INTERVALS = (
    f"95 %: percentile bootstrap over clips, {common.RESAMPLES} resamples, seed 0; accuracies: "
    "Wilson's interval of a share; frechet and inception_score: jackknife over clips, "
    f"{distances.GROUPS} groups of them at most"
)


def versions() -> dict[str, str]:
    """Versions of the packages that scores depend on."""
    return {name: find_version(name) for name in PACKAGES}


def describe_procedure(recognizer: Recognizer, mos_predictors: Sequence[MosPredictor]) -> dict:
    """What the protocols of shards and of sentences share."""
    return {
        "metrics": METRICS,
        "intervals": INTERVALS,
        "recognizer": describe_recognizer(recognizer),
        "mos": [predictor.package for predictor in mos_predictors],
        "versions": versions(),
        "python": platform.python_version(),
    }


def describe_recognizer(recognizer: Recognizer) -> dict[str, str]:
    """Name and version of a recognizer, and the normalization of its transcripts."""
    return {
        "name": recognizer.name,
        "version": recognizer.version,
        "normalization": word_errors.NORMALIZATION,
    }


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
    models, second = suite.reference_models, suite.open_recognizer
    return {
        **system,
        **describe_procedure(suite.recognizer, suite.mos_predictors),
        **({"open_recognizer": describe_recognizer(second)} if second else {}),
        "floor": "the same score of the ground truth through the codec",
        "ceiling": "the same score of the ground truth itself",
        "waves": "mono at the shards' sample rate, for all but the embedding at 16 kHz; cut to the "
        f"clip's length or padded with silence, at most "
        f"{generated_folder.MAX_SHORTFALL:g} s",
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
        "measures": {name: measure.hash for name, measure in suite.measures.items()},
        "encoders": suite.encoder_set,
        "clips": {task: list(ids) for task, ids in clips.items()},
    }
