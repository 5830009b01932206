"""The evaluator: examples of a split, metric suite, codec floors and ceilings.

It does not depend on the system that is scored, so one evaluator serves several systems.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax.codecs.interface import audio_format, hash_codec, reconstruct
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE, TASKS, AudioFormat
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import read_mono, read_wave
from vssflow_jax.evaluation import aggregate
from vssflow_jax.evaluation.metrics import (
    asr,
    embedding,
    measures,
    mos,
    published,
    reference_models,
    speaker,
)
from vssflow_jax.evaluation.metrics.suite import ExampleScores, MetricSuite
from vssflow_jax.features.registry import read_encoder_set, select_encoders

TRAINING_EXAMPLES = {"joint": 200, "sound": 80, "speech": 80}  # for the reference models
CODEC_SHARE = 0.3  # share of them that is added once more through the codec
BATCH_SIZE = 16
EMBEDDINGS = ("miniav", *published.NAMES)


def reconstruct_waves(codec, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waveforms encoded and decoded by a codec: the best that a model with it can reach.

    Args:
      codec: the codec.
      waves: in its format, float32 [n] or [n, A].
    """
    out = []
    longest = max((len(wave) for wave in waves), default=0)
    rows = min(BATCH_SIZE, len(waves))  # of every batch, so that one program serves all
    for first in range(0, len(waves), BATCH_SIZE):
        batch = waves[first : first + BATCH_SIZE]
        padded = np.zeros((rows, longest, *batch[0].shape[1:]), np.float32)
        for row, wave in zip(padded, batch, strict=False):
            row[: len(wave)] = wave
        decoded = np.asarray(reconstruct(codec, padded))
        out += [row[: len(wave)] for row, wave in zip(decoded, batch, strict=False)]
    return out


def select_examples(
    records, counts: Mapping[str, int], seed: int | None = None
) -> tuple[dict[str, list], dict[str, list]]:
    """The first examples of each task, as many as `counts` says; with a `seed` random ones.

    Returns:
      The examples by task, and by task those left out for having no sound, with that reason.
    """
    selected: dict[str, list] = {task: [] for task in counts}
    without_sound: dict[str, list] = {task: [] for task in counts}
    rows = (
        range(len(records))
        if seed is None
        else np.random.default_rng(seed).permutation(len(records))
    )
    for row in rows:
        if all(len(selected[task]) >= count for task, count in counts.items()):
            break
        record = records[row]
        task = record["meta"]["task"]
        if task not in selected or len(selected[task]) >= counts[task]:
            continue
        if len(record.get(shards.WAVE, ())):
            selected[task].append(record)
        else:
            reason = "the shards have no ground truth sound of it"
            without_sound[task].append({"id": record["meta"]["id"], "reason": reason})
    return selected, without_sound


def fit_reference_models(
    folder: Path, codec
) -> tuple[reference_models.ReferenceModels, dict[str, object]]:
    """Reference models fitted on the train split, and for the protocol what they were fitted on."""
    split = shards.open_split(folder, "train", with_wave=True)
    selected, _ = select_examples(split, TRAINING_EXAMPLES, seed=0)
    examples = [record for task in TRAINING_EXAMPLES for record in selected[task]]
    order = np.random.default_rng(0).permutation(len(examples))
    examples = [examples[row] for row in order]
    waves = [read_mono(record) for record in examples]
    repeated = [] if codec is None else examples[: round(CODEC_SHARE * len(examples))]
    reconstructions = [
        to_mono(wave, codec.sample_rate, SAMPLE_RATE)
        for wave in reconstruct_waves(codec, [read_wave(record) for record in repeated])
    ]
    models = reference_models.ReferenceModels.fit(examples + repeated, waves + reconstructions)
    facts = {"clips": len(examples), "through_codec": len(repeated), "split": "train", "seed": 0}
    return models, facts if codec is None else facts | {"codec": hash_codec(codec)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Scores systems on the examples of a split; see `from_shards`.

    Attributes:
      examples: records with sound by task: speech, sound, joint.
      without_sound: examples without sound by task, with that reason.
      suite: the metrics.
      training_data: what the suite's reference models were fitted on.
      voices: d-vectors of the examples' voices.
      floors: scores of the ground truth through the codec by id; empty without a codec.
      ceilings: scores of the ground truth by id.
      reconstructions: the ground truth through the codec by id, in the codec's format; empty
        without a codec.
      audio: format of the shards' waves. Systems' waves are scored as mono at its sample rate.
      dataset: hash of the shards.
    """

    examples: Mapping[str, list]
    without_sound: Mapping[str, list]
    suite: MetricSuite
    training_data: Mapping[str, object]
    voices: speaker.VoiceReferences
    floors: Mapping[str, ExampleScores]
    ceilings: Mapping[str, ExampleScores]
    reconstructions: Mapping[str, np.ndarray]
    audio: AudioFormat
    dataset: str

    @classmethod
    def from_shards(
        cls,
        folder: str | Path,
        split: str,
        count: int,
        codec=None,
        *,
        recognizer: str = asr.DEFAULT,
        open_recognizer: str | None = None,
        mos_names: str = "",
        embedding_name: str = EMBEDDINGS[0],
        measure_names: Sequence[str] = (),
        videos: str | Path | None = None,
    ) -> Evaluator:
        """The evaluator of a split of shards.

        Args:
          folder: of the shards.
          split: of them.
          count: examples a task, at most.
          codec: of the floors; None: no floors.
          recognizer: a name that `asr.load` knows.
          open_recognizer: a second one; None: none.
          mos_names: names that `mos.load` knows; "": none.
          embedding_name: one of EMBEDDINGS.
          measure_names: some of `measures.NAMES`.
          videos: manifest with the videos of the shards' examples; None: none.

        Raises:
          InputError: no shards, no examples with sound, sound of another format than the codec's,
            or something that is not installed.
        """
        folder = hub.find_path(folder, hub.DATASET)
        info = shards.load_dataset_info(folder)
        audio = shards.read_audio_format(info)
        if codec is not None and audio_format(codec) != audio:
            raise InputError(
                f"{folder}: found sound of {audio}, expected the codec's {audio_format(codec)}"
            )
        encoder_set = read_encoder_set(info.get("statistics", {}))
        select_encoders(
            encoder_set
        )  # missing weights are an error here, not an absent metric later
        models = {
            "recognizer": asr.load(recognizer),
            "open_recognizer": (
                asr.load(open_recognizer, "--open_recognizer") if open_recognizer else None
            ),
            "mos_predictors": mos.load(mos_names),
            "embedding": load_embedding(embedding_name),
            "measures": measures.load(measure_names, encoder_set, videos),
        }
        split_records = shards.open_split(folder, split)
        selected, without_sound = select_examples(split_records, dict.fromkeys(TASKS, count))
        examples = [record for some in selected.values() for record in some]
        if not examples:
            raise InputError(f"{folder}, split {split}: found no clips with sound, expected some")
        fitted, training_data = fit_reference_models(folder, codec)
        suite = MetricSuite(reference_models=fitted, encoder_set=encoder_set, **models)
        reconstructions = []
        if codec is not None:
            reconstructions = reconstruct_waves(codec, [read_wave(r) for r in examples])
        rate = audio.sample_rate
        waves = [read_mono(record, rate) for record in examples]
        voices = speaker.VoiceReferences.from_examples(
            examples, [read_mono(record) for record in examples], encoder_set
        )
        mono = [to_mono(wave, rate, rate) for wave in reconstructions]
        floors = suite.score(examples, mono, rate, voices=voices)
        return cls(
            examples=selected,
            without_sound=without_sound,
            suite=suite,
            training_data=training_data,
            voices=voices,
            floors=_by_id(examples, floors) if floors else {},
            ceilings=_by_id(examples, suite.score(examples, waves, rate, voices=voices)),
            reconstructions=_by_id(examples, reconstructions) if reconstructions else {},
            audio=audio,
            dataset=info["hash"],
        )

    def score(
        self,
        examples: Sequence[Mapping],
        waves: Sequence[np.ndarray],
        task: str,
        sample_rate: int | None = None,
    ) -> TaskScores:
        """Scores of a system's waves for examples of a task, with their floors and ceilings.

        Args:
          examples: the records.
          waves: float32 [n] or [n, A].
          task: that they are of.
          sample_rate: of the waves; None: that of the shards.
        """
        ids = [record["meta"]["id"] for record in examples]
        rate = self.audio.sample_rate
        waves = [to_mono(wave, sample_rate or rate, rate) for wave in waves]
        return TaskScores(
            examples=examples,
            scores=self.suite.score(examples, waves, rate, task != "text", self.voices),
            floors=[self.floors[name] for name in ids] if self.floors else [],
            ceilings=[self.ceilings[name] for name in ids],
        )


def load_embedding(name: str) -> embedding.Embedding:
    """The audio embedding of a name in EMBEDDINGS.

    Raises:
      InputError: its published weights are not there.
    """
    return embedding.load() if name == EMBEDDINGS[0] else published.load(name)


def example_ids(folder: str | Path, split: str) -> list[str]:
    """Ids of all examples of a split."""
    records = shards.open_split(folder, split)
    return [records[row]["meta"]["id"] for row in range(len(records))]


def _by_id(examples: Iterable[Mapping], values: Iterable) -> dict:
    return {record["meta"]["id"]: value for record, value in zip(examples, values, strict=True)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskScores:
    """Scores of a task's examples, with floor and ceiling of each; `floors` may be empty."""

    examples: Sequence[Mapping]
    scores: Sequence[ExampleScores]
    floors: Sequence[ExampleScores]
    ceilings: Sequence[ExampleScores]

    def summary(self, skipped: Sequence[Mapping] = ()) -> dict:
        """The task's object in metrics.json."""
        return aggregate.aggregate_task(self.scores, self.floors, self.ceilings, skipped)

    def rows(self) -> list[dict]:
        """The rows of examples.csv."""
        out = []
        for number, record in enumerate(self.examples):
            row = {"id": record["meta"]["id"], "text": record["meta"].get("text", "")}
            row |= self.scores[number].row
            for kind, bounds in (("floor", self.floors), ("ceiling", self.ceilings)):
                bound = bounds[number].row if bounds else {}
                row |= {f"{key}_{kind}": value for key, value in bound.items()}
            out.append(row)
        return out
