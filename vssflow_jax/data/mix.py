"""Joint clips made of a speech clip and a sound clip, at the level of features.

The sound clip lasts on; from a random second the speech clip lies over it, either added (the
sound turned down) or put in its place. Waveforms are mixed too, so that the latent is encoded
from what is heard. Source: the feature-level data synthesis of VSSFlow (arXiv 2509.24773).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.conditions import BY_NAME, LATENT_RATE, SAMPLE_RATE

ADD, INSERT = "add", "insert"
GAIN = (0.3, 0.7)  # least and largest factor of the sound under added speech
SEGMENT_HOP = 8  # video frames from one segment of sync tokens to the next; it has as many tokens
BOTH = ("clip", "sync")  # conditions that both clips have; the others are the speech clip's
SPOKEN = ("phonemes", "lips")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How two clips are mixed.

    Attributes:
      mode: "add" or "insert".
      start: seconds of the sound clip at which the speech begins.
      gain: factor of the sound under the speech; 0 where it is replaced.
    """

    mode: str
    start: float
    gain: float


def draw(rng: np.random.Generator, room: float, add: float = 0.5, grid: float = 0.0) -> Plan:
    """A random plan.

    Args:
      rng: of this clip.
      room: seconds by which the sound is longer than the speech; none: both start together.
      add: probability of adding; else the speech is inserted.
      grid: starts are multiples of it, seconds; 0: any time.
    """
    start = rng.uniform() * max(room, 0.0)
    if grid:
        start = np.floor(start / grid + 1e-6) * grid
    added, gain = rng.uniform() < add, rng.uniform(*GAIN)
    return Plan(
        mode=ADD if added else INSERT, start=float(start), gain=float(gain) if added else 0.0
    )


def mix(speech: Mapping, sound: Mapping, plan: Plan, rates: Mapping[str, float | None]) -> dict:
    """The record of a joint clip; `meta` tells in `mixed` what it was made of.

    Voice, phonemes and lips are the speech clip's. A video that one of the two does not have
    is zeros, which is what a condition that is absent projects to.

    Args:
      speech: record of a speech clip.
      sound: record of a sound clip.
      plan: where and how.
      rates: frames a second of the records' conditions.
    """
    record = {"meta": _meta(speech["meta"], sound["meta"], plan)}
    at = _position(plan, SAMPLE_RATE)
    record["wave"] = overlay(sound["wave"], speech["wave"], at, plan.gain)
    for name in BOTH:
        if name in speech or name in sound:
            under, over = (_rows(clip, name, rates[name]) for clip in (sound, speech))
            at, kept = _position(plan, rates[name]), float(plan.mode == ADD)
            record[name] = overlay(under, over, at, kept)
    for name in SPOKEN:
        if name in speech:
            rows, before = speech[name], _position(plan, rates[name])
            record[name] = np.pad(rows, [(before, 0)] + [(0, 0)] * (rows.ndim - 1))
    if "speaker" in speech:
        record["speaker"] = speech["speaker"]
    return record


def overlay(under: np.ndarray, over: np.ndarray, at: int, gain: float) -> np.ndarray:
    """`over` laid on `under` from row `at`, where `under` counts `gain`; float32 [n, ..]."""
    length = max(len(under), at + len(over))
    out = np.zeros((length, *under.shape[1:]), np.float32)
    out[: len(under)] = under
    place = slice(at, at + len(over))
    out[place] = gain * out[place] + over
    return out


def _rows(record: Mapping, name: str, rate: float) -> np.ndarray:
    """A condition's frames, or zeros as long as the clip."""
    if name in record:
        return record[name]
    return np.zeros((round(record["meta"]["duration"] * rate), BY_NAME[name].width))


def _position(plan: Plan, rate: float) -> int:
    """The row at which the speech begins."""
    return int(plan.start * rate + 1e-6)


def _meta(speech: Mapping, sound: Mapping, plan: Plan) -> dict:
    mixed = {"speech": speech["id"], "sound": sound["id"], **dataclasses.asdict(plan)}
    corrupt = [*speech.get("corrupt", ()), *sound.get("corrupt", ())]
    return {
        "id": f"{speech['id']}+{sound['id']}",
        "task": "joint",
        "text": speech["text"],
        "duration": max(sound["duration"], plan.start + speech["duration"]),
        "mixed": mixed,
        **({"corrupt": corrupt} if corrupt else {}),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixer:
    """Gives the training clips, some of them mixed; can be pickled.

    Attributes:
      records: the clips themselves.
      speech: the clips of which one is spoken.
      sound: the clips of which one is heard behind it.
      rates: frames a second of their conditions.
      ratio: probability that a clip is replaced by a mixed one.
      add: see `draw`.
      grid: see `draw`.
    """

    records: Sequence
    speech: Sequence
    sound: Sequence
    rates: Mapping[str, float | None]
    ratio: float
    add: float
    grid: float = 0.0

    def __call__(self, row: int, rng: np.random.Generator) -> dict:
        """The record that stands in `row` this time; the same for the same state of `rng`."""
        if rng.uniform() >= self.ratio:
            return self.records[row]
        speech = self.speech[rng.integers(len(self.speech))]
        sound = self.sound[rng.integers(len(self.sound))]
        room = sound["meta"]["duration"] - speech["meta"]["duration"]
        return mix(speech, sound, draw(rng, room, self.add, self.grid), self.rates)


def mixer(
    mixing,
    records: Sequence,
    speech: Sequence,
    sound: Sequence,
    rates: Mapping[str, float | None],
    sync_by_time: bool,
) -> Mixer:
    """The mixer of a config's `data.mix`.

    Where sync tokens lie at the time of their frames, speech starts with a segment of them,
    so that whole segments are put in: as many tokens a second as frames.
    """
    grid = 0.0
    if sync_by_time and rates["sync"] != LATENT_RATE:
        grid, rates = SEGMENT_HOP / LATENT_RATE, {**rates, "sync": LATENT_RATE}
    return Mixer(
        records=records,
        speech=speech,
        sound=sound,
        rates=rates,
        ratio=mixing.ratio,
        add=mixing.add,
        grid=grid,
    )
