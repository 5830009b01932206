"""What every system is measured against: clips of a split, judges, floors and ceilings.

Nothing here depends on the system that is scored, so one yardstick serves many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax.codecs.interface import digest, there_and_back
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import TASKS
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import wave_of
from vssflow_jax.evaluation import aggregate
from vssflow_jax.evaluation.metrics import asr, embedding, mos, published, reference_models
from vssflow_jax.evaluation.metrics.suite import Panel, Scored
from vssflow_jax.features.registry import encoders

FITTED = {"joint": 200, "sound": 80, "speech": 80}  # training clips that the judges learn from
THROUGH_CODEC = 0.3  # share of them that they hear through the codec as well
BATCH = 16
EMBEDDINGS = ("miniav", *published.NAMES)


def through_codec(codec, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waveforms encoded and decoded: what the best model with this codec could give."""
    out = []
    longest = max((len(wave) for wave in waves), default=0)
    for first in range(0, len(waves), BATCH):
        some = waves[first : first + BATCH]
        padded = np.zeros((BATCH, longest), np.float32)
        for row, wave in zip(padded, some, strict=False):
            row[: len(wave)] = wave
        decoded = np.asarray(there_and_back(codec, padded))
        out += [row[: len(wave)] for row, wave in zip(decoded, some, strict=False)]
    return out


def by_task(
    records, wanted: Mapping[str, int], seed: int | None = None
) -> tuple[dict[str, list], dict[str, list]]:
    """Clips of each task, as many as wanted: the first, or with a `seed` any.

    Returns:
      The clips by task, and those passed over because they have no sound, with that reason.
    """
    found: dict[str, list] = {task: [] for task in wanted}
    silent: dict[str, list] = {task: [] for task in wanted}
    rows = (
        range(len(records))
        if seed is None
        else np.random.default_rng(seed).permutation(len(records))
    )
    for row in rows:
        if all(len(found[task]) >= count for task, count in wanted.items()):
            break
        record = records[row]
        task = record["meta"]["task"]
        if task not in found or len(found[task]) >= wanted[task]:
            continue
        if len(wave_of(record)):
            found[task].append(record)
        else:
            reason = "the shards have no ground truth sound of it"
            silent[task].append({"id": record["meta"]["id"], "reason": reason})
    return found, silent


def fit_judges(folder: Path, codec) -> tuple[reference_models.Judges, dict]:
    """Judges that learned from the train split, some of it through the codec, and from what."""
    records, _ = by_task(shards.open_split(folder, "train", with_wave=True), FITTED, seed=0)
    chosen = [record for task in FITTED for record in records[task]]
    order = np.random.default_rng(0).permutation(len(chosen))
    chosen = [chosen[row] for row in order]
    waves = [wave_of(record) for record in chosen]
    coded = [] if codec is None else chosen[: round(THROUGH_CODEC * len(chosen))]
    again = through_codec(codec, waves[: len(coded)])
    fitted = reference_models.Judges.fit(chosen + coded, waves + again)
    return fitted, {"clips": len(chosen), "through_codec": len(coded), "split": "train", "seed": 0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Yardstick:
    """See the module.

    Attributes:
      clips: records with sound by task, speech, sound, joint.
      silent: clips without sound by task, with that reason.
      panel: who scores.
      fitted: what its judges learned from.
      floors: by id, of the ground truth through the codec; empty without a codec.
      ceilings: by id, of the ground truth.
      coded: by id, the ground truth through the codec.
      dataset: hash of the shards.
    """

    clips: Mapping[str, list]
    silent: Mapping[str, list]
    panel: Panel
    fitted: Mapping[str, object]
    floors: Mapping[str, Scored]
    ceilings: Mapping[str, Scored]
    coded: Mapping[str, np.ndarray]
    dataset: str

    @classmethod
    def make(
        cls,
        folder: str | Path,
        split: str,
        clips: int,
        codec=None,
        *,
        recogniser: str = asr.DEFAULT,
        opinions: str = "",
        embedded: str = EMBEDDINGS[0],
    ) -> Yardstick:
        """The yardstick of shards.

        Args:
          folder: of the shards.
          split: of them.
          clips: a task, at most.
          codec: of the floors; None: no floors.
          recogniser: a name as `recognisers.load` knows it.
          opinions: names as `opinion.load` knows them.
          embedded: one of EMBEDDINGS.

        Raises:
          InputError: no shards, no clips with sound, or something that is not installed.
        """
        folder = Path(folder)
        info = shards.load_dataset_info(folder)
        encoder_set = info.get("statistics", {}).get("encoders", "embedded")
        encoders(encoder_set)  # one that is not here is an error, not an absent metric
        listener, opinionated = asr.load(recogniser), mos.load(opinions)
        heard = embedding.load() if embedded == EMBEDDINGS[0] else published.load(embedded)
        records = shards.open_split(folder, split)
        found, silent = by_task(records, dict.fromkeys(TASKS, clips))
        chosen = [record for some in found.values() for record in some]
        if not chosen:
            raise InputError(f"{folder}, split {split}: found no clips with sound, expected some")
        fitted, learned = fit_judges(folder, codec)
        panel = Panel(
            judges=fitted,
            recogniser=listener,
            embedding=heard,
            opinions=opinionated,
            encoder_set=encoder_set,
        )
        waves = [wave_of(record) for record in chosen]
        coded = [] if codec is None else through_codec(codec, waves)
        if codec is not None:
            learned["codec"] = digest(codec)
        return cls(
            clips=found,
            silent=silent,
            panel=panel,
            fitted=learned,
            floors=_by_id(chosen, panel.scores(chosen, coded)) if coded else {},
            ceilings=_by_id(chosen, panel.scores(chosen, waves)),
            coded=_by_id(chosen, coded) if coded else {},
            dataset=info["hash"],
        )

    def score(self, clips: Sequence[Mapping], waves: Sequence[np.ndarray], task: str) -> Scores:
        """What the panel says of clips of a task, beside their floors and ceilings."""
        ids = [clip["meta"]["id"] for clip in clips]
        return Scores(
            clips=clips,
            scored=self.panel.scores(clips, waves, timed=task != "text"),
            floors=[self.floors[name] for name in ids] if self.floors else [],
            ceilings=[self.ceilings[name] for name in ids],
        )


def ids(folder: str | Path, split: str) -> list[str]:
    """Ids of all clips of a split."""
    records = shards.open_split(folder, split)
    return [records[row]["meta"]["id"] for row in range(len(records))]


def _by_id(clips: Iterable[Mapping], values: Iterable) -> dict:
    return {clip["meta"]["id"]: value for clip, value in zip(clips, values, strict=True)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Scored clips of a task, with floor and ceiling of each; `floors` may be empty."""

    clips: Sequence[Mapping]
    scored: Sequence[Scored]
    floors: Sequence[Scored]
    ceilings: Sequence[Scored]

    def summary(self, skipped: Sequence[Mapping]) -> dict:
        """The task's object in metrics.json."""
        return aggregate.of_task(self.scored, self.floors, self.ceilings, skipped)

    def lines(self) -> list[dict]:
        """A line of examples.csv a clip."""
        out = []
        for number, clip in enumerate(self.clips):
            line = {"id": clip["meta"]["id"], "text": clip["meta"].get("text", "")}
            line |= self.scored[number].row
            for name, some in (("floor", self.floors), ("ceiling", self.ceilings)):
                row = some[number].row if some else {}
                line |= {f"{key}_{name}": row[key] for key in row}
            out.append(line)
        return out
