"""Joint examples mixed from a speech and a sound example, at the level of features.

From a random second of the sound on, the speech is either added to it, with the sound attenuated,
or inserted in its place. Waveforms are mixed in the same way, so that the latent agrees with the
conditions. Source: the feature-level data synthesis of VSSFlow (arXiv 2509.24773).

A muted mixture, which is not in the paper, has the talker's pictures and no words: the target is
the sound alone, so that a face without a text is silent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax.conditions import BY_NAME, LATENT_RATE, SYNC_HOP
from vssflow_jax.data.shards import read_wave_rate

ADD, INSERT = "add", "insert"
GAIN_RANGE = (0.3, 0.7)  # of the sound under added speech
SHARED_CONDITIONS = ("clip", "sync")  # mixed from both examples
SPEECH_CONDITIONS = ("phonemes", "lips")  # the speech example's, shifted to its start
PICTURE_DRAWS = 20  # speech examples that are looked at for one with pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixPlan:
    """How two examples are mixed.

    Attributes:
      mode: "add" or "insert".
      start: seconds into the sound at which the speech begins.
      gain: factor of the sound under the speech; 0 for "insert".
      muted: the speech's pictures are mixed, its words, voice and waveform are not.
    """

    mode: str
    start: float
    gain: float
    muted: bool = False


def sample_plan(
    rng: np.random.Generator,
    room: float,
    add: float = 0.5,
    grid: float = 0.0,
    muted: bool = False,
) -> MixPlan:
    """A random plan.

    Args:
      rng: the example's own generator.
      room: seconds by which the sound is longer than the speech; 0 or less: both start together.
      add: probability of adding the speech; else it is inserted.
      grid: seconds that the start is a multiple of; 0: any time.
      muted: of the plan; sound under a muted talker keeps its level.
    """
    start = rng.uniform() * max(room, 0.0)
    if grid:
        start = np.floor(start / grid + 1e-6) * grid
    added, gain = rng.uniform() < add, rng.uniform(*GAIN_RANGE)
    if muted:
        gain = 1.0
    return MixPlan(
        mode=ADD if added else INSERT,
        start=float(start),
        gain=float(gain) if added else 0.0,
        muted=muted,
    )


def mix_records(
    speech: Mapping, sound: Mapping, plan: MixPlan, rates: Mapping[str, float | None]
) -> dict:
    """The record of a joint example; `mixed` in its `meta` names the sources.

    Voice, phonemes and lips are those of the speech; where it is muted, there is no voice and the
    phonemes are silence. A video that one of the two lacks is zeros, as an absent condition
    projects to.

    Args:
      speech: record of a speech example.
      sound: record of a sound example.
      plan: where and how.
      rates: frames a second of the records' conditions.
    """
    if plan.muted:
        speech = _mute(speech)
    record = {"meta": _mix_meta(speech["meta"], sound["meta"], plan)}
    start = _find_row(plan, read_wave_rate(sound))
    record["wave"] = overlay(sound["wave"], speech["wave"], start, plan.gain)
    for name in SHARED_CONDITIONS:
        if name in speech or name in sound:
            under, over = (_read_frames(r, name, rates[name]) for r in (sound, speech))
            start, gain = _find_row(plan, rates[name]), float(plan.mode == ADD)
            record[name] = overlay(under, over, start, gain)
    for name in SPEECH_CONDITIONS:
        if name in speech:
            frames, start = speech[name], _find_row(plan, rates[name])
            record[name] = np.pad(frames, [(start, 0)] + [(0, 0)] * (frames.ndim - 1))
    if "speaker" in speech:
        record["speaker"] = speech["speaker"]
    return record


def _mute(speech: Mapping) -> dict:
    """A speech example whose talker moves the lips and says nothing."""
    silent = {name: np.zeros_like(speech[name]) for name in ("wave", "phonemes") if name in speech}
    muted = {**speech, **silent, "meta": {**speech["meta"], "text": ""}}
    muted.pop("speaker", None)
    return muted


def overlay(under: np.ndarray, over: np.ndarray, start: int, gain: float) -> np.ndarray:
    """`over` plus `gain` times `under`, from row `start` of `under` on; float32 [n, ...]."""
    length = max(len(under), start + len(over))
    out = np.zeros((length, *under.shape[1:]), np.float32)
    out[: len(under)] = under
    span = slice(start, start + len(over))
    out[span] = gain * out[span] + over
    return out


def _read_frames(record: Mapping, name: str, rate: float) -> np.ndarray:
    """A condition's frames, or zeros of the example's length."""
    if name in record:
        return record[name]
    return np.zeros((round(record["meta"]["duration"] * rate), BY_NAME[name].width))


def _find_row(plan: MixPlan, rate: float) -> int:
    """The row at which the speech begins."""
    return int(plan.start * rate + 1e-6)


def _mix_meta(speech: Mapping, sound: Mapping, plan: MixPlan) -> dict:
    mixed = {"speech": speech["id"], "sound": sound["id"], **dataclasses.asdict(plan)}
    if not plan.muted:
        del mixed["muted"]
    rate = {"sample_rate": sound["sample_rate"]} if "sample_rate" in sound else {}
    corrupt = [*speech.get("corrupt", ()), *sound.get("corrupt", ())]
    return {
        "id": f"{speech['id']}+{sound['id']}",
        "task": "sound" if plan.muted else "joint",
        "text": speech["text"],
        "duration": max(sound["duration"], plan.start + speech["duration"]),
        "mixed": mixed,
        **rate,
        **({"corrupt": corrupt} if corrupt else {}),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixer:
    """Replaces some training examples by mixed ones; can be pickled.

    Attributes:
      records: the training examples.
      speech: speech examples to mix.
      sound: sound examples to mix.
      rates: frames a second of their conditions.
      ratio: probability that an example is replaced by a mixed one.
      add: see `sample_plan`.
      grid: see `sample_plan`.
      mute: probability that the talker of a mixed one is muted.
    """

    records: Sequence
    speech: Sequence
    sound: Sequence
    rates: Mapping[str, float | None]
    ratio: float
    add: float
    grid: float = 0.0
    mute: float = 0.0

    def __call__(self, row: int, rng: np.random.Generator) -> dict:
        """The record of `row`, or a mixed one in its place; depends on `rng`'s state alone."""
        if rng.uniform() >= self.ratio:
            return self.records[row]
        muted = bool(self.mute and rng.uniform() < self.mute)
        speech = self._draw_speech(rng, with_pictures=muted)
        sound = self.sound[rng.integers(len(self.sound))]
        room = sound["meta"]["duration"] - speech["meta"]["duration"]
        plan = sample_plan(rng, room, self.add, self.grid, muted)
        return mix_records(speech, sound, plan, self.rates)

    def _draw_speech(self, rng: np.random.Generator, with_pictures: bool) -> Mapping:
        """A speech example; one with pictures, if they are asked for and not too rare."""
        for _ in range(PICTURE_DRAWS):
            speech = self.speech[rng.integers(len(self.speech))]
            if not with_pictures or not speech.keys().isdisjoint(SHARED_CONDITIONS):
                break
        return speech


def make_mixer(
    mixing,
    records: Sequence,
    speech: Sequence,
    sound: Sequence,
    rates: Mapping[str, float | None],
    time_aligned_sync: bool,
) -> Mixer:
    """The mixer of a config's `data.mix`.

    If sync tokens are aligned by the time of their frames (`time_aligned_sync`), there are as many
    tokens a second as frames, and speech starts at the start of a segment, so that segments are
    never cut.
    """
    grid = 0.0
    if time_aligned_sync and rates["sync"] != LATENT_RATE:
        grid, rates = SYNC_HOP / LATENT_RATE, {**rates, "sync": LATENT_RATE}
    return Mixer(
        records=records,
        speech=speech,
        sound=sound,
        rates=rates,
        ratio=mixing.ratio,
        add=mixing.add_ratio,
        grid=grid,
        mute=mixing.mute_ratio,
    )
