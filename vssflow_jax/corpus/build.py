"""Building MiniAV: its clips, by number and in several processes, then its tables."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
import sys

import numpy as np
from tqdm import tqdm

from vssflow_jax import media
from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.conditions import SAMPLE_RATE, TASKS
from vssflow_jax.corpus import render, scenes, sentences, sounds, voices
from vssflow_jax.data.manifest import ANNOTATIONS, COLUMNS
from vssflow_jax.text import alignment

DURATION = 4.0  # seconds of a clip
SAMPLES, FRAMES = round(DURATION * SAMPLE_RATE), round(DURATION * render.RATE)
DEFAULT_CLIPS = 2400
MIN_CLIPS = 9  # for every task in every split
NUM_TEST, NUM_VALID = 64, 16  # clips of a task, in a corpus that is large enough
VERSION = 2  # of the corpus; part of corpus.json
MANIFEST, SETTINGS = "clips.csv", "corpus.json"
JOB_SIZE = 8  # clips that a process makes at a time

SPEECH_PEAK = (0.45, 0.7)
EVENT_PEAK = (0.4, 0.7)
# Peak of the strongest contact (for rain, the noise's usual scale) over the speech's in a joint
# clip: what rings long or fills the band of speech is softer, so that the words stay clear.
BESIDE_SPEECH = {
    "wood": 0.7, "metal": 0.7, "glass": 0.75, "drum": 0.85, "bell": 0.48, "drop": 0.65,
    "wheel": 0.75, "rain": 0.09,
}  # fmt: skip
TEMPO = (0.94, 1.08)  # how much faster than usual a voice speaks
LEAD, TAIL = 0.1, 0.15  # silence at least before and behind a sentence, seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The content of one clip: its task and split, who speaks, what sounds."""

    id: str
    number: int
    task: str
    split: str
    voice: str | None
    sound_class: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Clips for one process to write into folder `out`."""

    out: pathlib.Path
    seed: int
    plans: tuple[Plan, ...]


def plan_corpus(clips: int) -> list[Plan]:
    """The plans of a corpus: tasks alternate; in each, classes and voices do; splits in blocks.

    Raises:
      InputError: too few clips for every task to be in every split.
    """
    if clips < MIN_CLIPS:
        raise InputError(f"--clips: found {clips}, expected at least {MIN_CLIPS}")
    per_task = clips // len(TASKS)
    test, valid = max(1, min(NUM_TEST, per_task // 5)), max(1, min(NUM_VALID, per_task // 10))
    plans = []
    for number in range(clips):
        index, task = number // len(TASKS), TASKS[number % len(TASKS)]
        split = "test" if index < test else "valid" if index < test + valid else "train"
        voice = voices.VOICES[(index + index // len(sounds.CLASSES)) % len(voices.VOICES)].name
        sound_class = sounds.CLASSES[index % len(sounds.CLASSES)]
        plans.append(Plan(
            id=f"{task}-{index:05d}", number=number, task=task, split=split,
            voice=None if task == "sound" else voice,
            sound_class=None if task == "speech" else sound_class,
        ))  # fmt: skip
    return plans


@dataclasses.dataclass(kw_only=True)
class Example:
    """A clip in memory.

    Attributes:
      wave: float [n] at 16 kHz, in [-1, 1].
      row: its row of the manifest.
      annotation: its line of annotations.jsonl.
      intervals: its phonemes' times; empty without speech.
      frames: uint8 [T, 128, 128, 3] at 25 a second.
    """

    wave: np.ndarray
    row: dict
    annotation: dict
    intervals: list[alignment.Interval] = dataclasses.field(default_factory=list)
    frames: np.ndarray | None = None


def make_example(plan: Plan, seed: int) -> Example:
    """One clip; it depends on its plan and the seed alone."""
    rng = np.random.default_rng((seed, plan.number))
    row = {"id": plan.id, "video": f"videos/{plan.id}.mp4", "split": plan.split, "task": plan.task}
    wave = sounds.synthesize_room(SAMPLES, rng)
    example = Example(wave=wave, row=row, annotation={"id": plan.id})
    position, box = render.draw_layout(plan.task, rng)
    peak = rng.uniform(*(SPEECH_PEAK if plan.voice else EVENT_PEAK))
    speaker = _add_speech(example, plan, position, peak, rng) if plan.voice else None
    if plan.sound_class and plan.voice:
        peak *= BESIDE_SPEECH[plan.sound_class]
    source = _add_event(example, plan, box, peak, rng) if plan.sound_class else None
    example.wave = np.clip(example.wave, -0.99, 0.99).astype(np.float32)
    example.frames = render.render_frames(speaker, source, FRAMES, rng)
    return example


def _add_speech(example: Example, plan: Plan, position, peak: float, rng) -> render.Speaker:
    words, spoken = _draw_utterance(plan, rng)
    last = SAMPLES - len(spoken.wave) - round(TAIL * SAMPLE_RATE)
    first = int(rng.integers(round(LEAD * SAMPLE_RATE), last))
    example.wave[first : first + len(spoken.wave)] += peak * spoken.wave
    shift = first / SAMPLE_RATE
    example.intervals = [alignment.Interval(a + shift, b + shift, s) for a, b, s in spoken.sounds]
    x, y, scale = position
    look = voices.BY_NAME[plan.voice].look
    speaker = render.Speaker(look=look, sounds=example.intervals, x=x, y=y, scale=scale)
    example.row |= {
        "text": " ".join(words),
        "alignment": f"alignments/{plan.id}.csv",
        "speaker_audio": f"voices/{plan.voice}_{rng.integers(len(voices.REFERENCES))}.wav",
    }
    example.annotation |= {"speaker": plan.voice, "mouth": list(speaker.mouth)}
    return speaker


def _draw_utterance(plan: Plan, rng: np.random.Generator) -> tuple[list[str], voices.Utterance]:
    """A sentence in the plan's voice, spoken faster if it would not fit."""
    words = sentences.draw_sentence(plan.split, rng)
    voice, tempo = voices.BY_NAME[plan.voice], rng.uniform(*TEMPO)
    spoken = voices.speak(voice, words, tempo)
    while len(spoken.wave) / SAMPLE_RATE > DURATION - LEAD - TAIL - 0.1:
        tempo *= 1.1
        spoken = voices.speak(voice, words, tempo)
    return words, spoken


def _add_event(example: Example, plan: Plan, box, peak: float, rng) -> render.Source:
    scene = scenes.draw_scene(plan.sound_class, DURATION, render.RATE, rng)
    example.wave += peak * scenes.synthesize_scene(scene, SAMPLES, render.RATE, rng)
    example.annotation["sound_class"] = plan.sound_class
    if scene.density is None:
        example.annotation["onsets"] = [round(float(time), 4) for time in scene.onsets]
    return render.Source(scene=scene, box=box)


# ---- files --------------------------------------------------------------------------------


def _write_clips(job: Job) -> list[tuple[int, dict, dict]]:
    """Makes and writes the clips of a job: their numbers, rows and annotations."""
    entries = []
    for plan in job.plans:
        example = make_example(plan, job.seed)
        if example.intervals:
            path = job.out / example.row["alignment"]
            alignment.write_alignment(path, example.intervals)
        path = job.out / example.row["video"]
        media.write_video(path, example.frames, render.RATE, example.wave, SAMPLE_RATE)
        entries.append((plan.number, example.row, example.annotation))
    return entries


def _write_references(out: pathlib.Path) -> None:
    for voice in voices.VOICES:
        for number in range(len(voices.REFERENCES)):
            wave = 0.6 * voices.speak_reference(voice, number)
            noise = sounds.synthesize_room(len(wave), np.random.default_rng(number))
            media.write_wav(out / f"voices/{voice.name}_{number}.wav", wave + noise, SAMPLE_RATE)


def _is_complete(out: pathlib.Path, settings: dict) -> bool:
    """Whether `out` already holds this corpus; InputError if it holds another."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: found the file {out}, expected a folder")
    if not (out / MANIFEST).exists():
        return False
    try:
        existing = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        existing = "other clips"
    if existing != settings:
        raise InputError(
            f"--out: found {out / MANIFEST} of {existing}, expected {settings} or a "
            "folder without a corpus"
        )
    return True


def build_corpus(
    out: str | os.PathLike,
    clips: int = DEFAULT_CLIPS,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Writes the corpus into folder `out` and returns its manifest, `out`/clips.csv.

    The same `clips` and `seed` give the same files for any number of `workers` (None: all cores).
    The manifest is written last: a folder without one is incomplete and is written again; a
    complete corpus is left as it is.

    Raises:
      InputError: too few clips, or `out` is a file or holds another corpus.
    """
    out = pathlib.Path(out)
    settings = {"corpus": "MiniAV", "version": VERSION, "clips": clips, "seed": seed}
    plans = plan_corpus(clips)
    if _is_complete(out, settings):
        print(f"{out / MANIFEST}: all {clips} clips are already there", file=sys.stderr)
        return out / MANIFEST
    out.mkdir(parents=True, exist_ok=True)
    _write_references(out)
    jobs = [Job(out=out, seed=seed, plans=tuple(plans[first : first + JOB_SIZE]))
            for first in range(0, clips, JOB_SIZE)]  # fmt: skip
    entries = []
    with tqdm(total=clips, desc="MiniAV", unit="clip", disable=not progress) as bar:
        for written in process_pool.unordered(_write_clips, jobs, workers):
            entries += written
            bar.update(len(written))
    _write_tables(out, sorted(entries, key=lambda entry: entry[0]), settings)
    return out / MANIFEST


def _write_tables(out: pathlib.Path, entries: list[tuple[int, dict, dict]], settings: dict) -> None:
    lines = [json.dumps(annotation, sort_keys=True) for _, _, annotation in entries]
    write_text(out / ANNOTATIONS, "\n".join(lines) + "\n")
    write_text(out / SETTINGS, json.dumps(settings) + "\n")
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row, _ in entries)
    write_text(out / MANIFEST, table.getvalue())
