"""Writes the corpus: clips by number, shared out to processes, and the manifest at the end."""

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
CLIPS, FEWEST = 2400, 9  # default size; the least with every task in every split
TEST, VALID = 64, 16  # clips a task, in a corpus that is large enough
VERSION = 2  # of the corpus; part of corpus.json
MANIFEST, SETTINGS = "clips.csv", "corpus.json"
JOB = 8  # clips that a process makes at a time

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
class Clip:
    """What a clip is, before any of it is made."""

    id: str
    number: int
    task: str
    split: str
    voice: str | None
    sound_class: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Clips for one process."""

    out: pathlib.Path
    seed: int
    clips: tuple[Clip, ...]


def plan(clips: int) -> list[Clip]:
    """The corpus' clips: tasks take turns; in each, classes and voices do, splits in blocks.

    Raises InputError if `clips` cannot give every task a clip in every split.
    """
    if clips < FEWEST:
        raise InputError(f"--clips: found {clips}, expected at least {FEWEST}")
    each = clips // len(TASKS)
    test, valid = max(1, min(TEST, each // 5)), max(1, min(VALID, each // 10))
    found = []
    for number in range(clips):
        turn, task = number // len(TASKS), TASKS[number % len(TASKS)]
        split = "test" if turn < test else "valid" if turn < test + valid else "train"
        voice = voices.VOICES[(turn + turn // len(sounds.CLASSES)) % len(voices.VOICES)].name
        found.append(Clip(
            id=f"{task}-{turn:05d}", number=number, task=task, split=split,
            voice=None if task == "sound" else voice,
            sound_class=None if task == "speech" else sounds.CLASSES[turn % len(sounds.CLASSES)],
        ))  # fmt: skip
    return found


@dataclasses.dataclass(kw_only=True)
class Made:
    """A clip in memory.

    Attributes:
      wave: float [n] at 16 kHz, in [-1, 1].
      row: its line of the manifest; note: its annotation.
      intervals: its phonemes' times; empty without speech.
      frames: uint8 [T, 128, 128, 3] at 25 a second.
    """

    wave: np.ndarray
    row: dict
    note: dict
    intervals: list[alignment.Interval] = dataclasses.field(default_factory=list)
    frames: np.ndarray | None = None


def make(clip: Clip, seed: int) -> Made:
    """One clip, from its number and the seed alone."""
    rng = np.random.default_rng((seed, clip.number))
    row = {"id": clip.id, "video": f"videos/{clip.id}.mp4", "split": clip.split, "task": clip.task}
    made = Made(wave=sounds.room(SAMPLES, rng), row=row, note={"id": clip.id})
    at, box = render.place(clip.task, rng)
    peak = rng.uniform(*(SPEECH_PEAK if clip.voice else EVENT_PEAK))
    speaker = _add_speech(made, clip, at, peak, rng) if clip.voice else None
    if clip.sound_class and clip.voice:
        peak *= BESIDE_SPEECH[clip.sound_class]
    source = _add_event(made, clip, box, peak, rng) if clip.sound_class else None
    made.wave = np.clip(made.wave, -0.99, 0.99).astype(np.float32)
    made.frames = render.render(speaker, source, FRAMES, rng)
    return made


def _add_speech(made: Made, clip: Clip, at, peak: float, rng) -> render.Speaker:
    words, spoken = _utterance(clip, rng)
    last = SAMPLES - len(spoken.wave) - round(TAIL * SAMPLE_RATE)
    first = int(rng.integers(round(LEAD * SAMPLE_RATE), last))
    made.wave[first : first + len(spoken.wave)] += peak * spoken.wave
    shift = first / SAMPLE_RATE
    made.intervals = [alignment.Interval(a + shift, b + shift, s) for a, b, s in spoken.sounds]
    x, y, scale = at
    look = voices.BY_NAME[clip.voice].look
    speaker = render.Speaker(look=look, sounds=made.intervals, x=x, y=y, scale=scale)
    made.row |= {
        "text": " ".join(words),
        "alignment": f"alignments/{clip.id}.csv",
        "speaker_audio": f"voices/{clip.voice}_{rng.integers(len(voices.REFERENCES))}.wav",
    }
    made.note |= {"speaker": clip.voice, "mouth": list(speaker.mouth)}
    return speaker


def _utterance(clip: Clip, rng: np.random.Generator) -> tuple[list[str], voices.Utterance]:
    """A sentence and how the clip's voice says it, spoken faster if it would not fit."""
    words = sentences.draw_sentence(clip.split, rng)
    voice, tempo = voices.BY_NAME[clip.voice], rng.uniform(*TEMPO)
    spoken = voices.speak(voice, words, tempo)
    while len(spoken.wave) / SAMPLE_RATE > DURATION - LEAD - TAIL - 0.1:
        tempo *= 1.1
        spoken = voices.speak(voice, words, tempo)
    return words, spoken


def _add_event(made: Made, clip: Clip, box, peak: float, rng) -> render.Source:
    scene = scenes.plan(clip.sound_class, DURATION, render.RATE, rng)
    made.wave += peak * scenes.sound(scene, SAMPLES, render.RATE, rng)
    made.note["sound_class"] = clip.sound_class
    if scene.density is None:
        made.note["onsets"] = [round(float(time), 4) for time in scene.onsets]
    return render.Source(scene=scene, box=box)


def _write(job: Job) -> list[tuple[int, dict, dict]]:
    """Makes and writes the clips of a job: their numbers, rows and annotations."""
    done = []
    for clip in job.clips:
        made = make(clip, job.seed)
        if made.intervals:
            alignment.write_alignment(job.out / made.row["alignment"], made.intervals)
        path = job.out / made.row["video"]
        media.write_video(path, made.frames, render.RATE, made.wave, SAMPLE_RATE)
        done.append((clip.number, made.row, made.note))
    return done


def _write_references(out: pathlib.Path) -> None:
    for voice in voices.VOICES:
        for number in range(len(voices.REFERENCES)):
            wave = 0.6 * voices.reference(voice, number)
            noise = sounds.room(len(wave), np.random.default_rng(number))
            media.write_wav(out / f"voices/{voice.name}_{number}.wav", wave + noise, SAMPLE_RATE)


def _complete(out: pathlib.Path, settings: dict) -> bool:
    """Whether `out` holds this corpus already; InputError if it holds another."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: found the file {out}, expected a folder")
    if not (out / MANIFEST).exists():
        return False
    try:
        found = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = "other clips"
    if found != settings:
        raise InputError(
            f"--out: found {out / MANIFEST} of {found}, expected {settings} or a "
            "folder without a corpus"
        )
    return True


def build(
    out: str | os.PathLike,
    clips: int = CLIPS,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Writes the corpus into folder `out` and returns its manifest, `out`/clips.csv.

    The same `clips` and `seed` give the same files, however many `workers` (None: all cores)
    there are. The manifest is written last, so a folder without one is not whole, and is made
    anew; a whole corpus is left as it is.

    Raises InputError for too few clips, or where `out` is a file or holds another corpus.
    """
    out = pathlib.Path(out)
    settings = {"corpus": "MiniAV", "version": VERSION, "clips": clips, "seed": seed}
    planned = plan(clips)
    if _complete(out, settings):
        print(f"{out / MANIFEST}: all {clips} clips are there already", file=sys.stderr)
        return out / MANIFEST
    out.mkdir(parents=True, exist_ok=True)
    _write_references(out)
    jobs = [Job(out=out, seed=seed, clips=tuple(planned[k : k + JOB]))
            for k in range(0, clips, JOB)]  # fmt: skip
    made = []
    with tqdm(total=clips, desc="MiniAV", unit="clip", disable=not progress) as bar:
        for done in process_pool.unordered(_write, jobs, workers):
            made += done
            bar.update(len(done))
    _write_tables(out, sorted(made, key=lambda m: m[0]), settings)
    return out / MANIFEST


def _write_tables(out: pathlib.Path, made: list[tuple[int, dict, dict]], settings: dict) -> None:
    lines = [json.dumps(note, sort_keys=True) for _, _, note in made]
    write_text(out / ANNOTATIONS, "\n".join(lines) + "\n")
    write_text(out / SETTINGS, json.dumps(settings) + "\n")
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row, _ in made)
    write_text(out / MANIFEST, table.getvalue())
