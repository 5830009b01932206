"""Building MiniAV: its clips, by number and in several processes, then its tables.

What a process has written is noted in a file of its own, so that a build that was stopped goes on
where it was.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from vssflow_jax import media
from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.conditions import SAMPLE_RATE, TASKS
from vssflow_jax.corpus import lip_tracks, render, scenes, sentences, sounds, visemes, voices
from vssflow_jax.corpus.voices import Utterance, Voice
from vssflow_jax.data.lip_track import LipTrack, write_lip_track
from vssflow_jax.data.manifest import ANNOTATIONS, COLUMNS, SPLITS
from vssflow_jax.text import alignment, normalize

DEFAULT_CLIPS = 2400
MIN_SECONDS, MAX_SECONDS = 2.0, 30.0
MIN_CLIPS = 9  # for every task in every split
NUM_TEST, NUM_VALID = 64, 16  # clips of a task, in a corpus that is large enough
VERSION = 3  # of the corpus; part of corpus.json
LIP_STREAM = 1  # of the random numbers of a clip: the errors of its lip track
MANIFEST, SETTINGS, NOTES = "clips.csv", "corpus.json", "notes"
JOB_SIZE, AUDIO_JOB_SIZE = 8, 64  # clips that a process makes at a time, with pictures and without

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
SLACK = 0.1  # seconds by which the place of a sentence may vary at least
AUDIO_SLACK = 0.4  # seconds of silence at most beside those, in clips without pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """What a corpus consists of; the same settings give the same files.

    Attributes:
      clips: number of videos; the three tasks alternate.
      audio_clips: number of further clips of speech without pictures, each as long as its
        sentence; for training alone, unless there are no videos.
      seed: another one gives other clips.
      voices: the set of voices (`voices.load_voices`).
      sentences: the set of sentences (`sentences.load_sentences`).
      audio_sentences: that of the clips without pictures; empty: `sentences`.
      seconds: length of a video.
      audio_seconds: longest clip without pictures.
    """

    clips: int = DEFAULT_CLIPS
    audio_clips: int = 0
    seed: int = 0
    voices: str = "espeak"
    sentences: str = "grid"
    audio_sentences: str = ""
    seconds: float = 4.0
    audio_seconds: float = 8.0

    def choose_sentences(self, has_video: bool) -> sentences.Sentences:
        """The sentences of clips with pictures, or of those without."""
        name = self.sentences if has_video else self.audio_sentences or self.sentences
        return sentences.load_sentences(name)

    def describe(self) -> dict:
        """The settings as corpus.json has them: those that are not the default's."""
        named = dataclasses.asdict(self)
        usual = dataclasses.asdict(CorpusSettings(clips=self.clips, seed=self.seed))
        other = {name: value for name, value in named.items() if value != usual[name]}
        numbers = {"clips": self.clips, "seed": self.seed}
        return {"corpus": "MiniAV", "version": VERSION, **numbers, **other}


def check_settings(settings: CorpusSettings) -> None:
    """Raises an InputError for settings of which no corpus can be made."""
    if 0 < settings.clips < MIN_CLIPS or settings.clips + settings.audio_clips < MIN_CLIPS:
        raise InputError(
            f"--clips: found {settings.clips}, expected at least {MIN_CLIPS}, or 0 beside "
            f"--audio_clips of at least {MIN_CLIPS}"
        )
    lengths = {"seconds": settings.seconds, "audio_seconds": settings.audio_seconds}
    for name, length in lengths.items():
        if not MIN_SECONDS <= length <= MAX_SECONDS:
            raise InputError(
                f"--{name}: found {length:g}, expected {MIN_SECONDS:g} to {MAX_SECONDS:g}"
            )
    voices.load_voices(settings.voices)
    for has_video in (True, False):
        settings.choose_sentences(has_video)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The content of one clip: its task and split, who speaks, what sounds."""

    id: str
    number: int
    task: str
    split: str
    voice: str | None
    sound_class: str | None
    has_video: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Clips, and references of voices, for one process to write into folder `out`."""

    out: pathlib.Path
    settings: CorpusSettings
    note: pathlib.Path
    plans: tuple[Plan, ...] = ()
    voices: tuple[str, ...] = ()


def plan_corpus(settings: CorpusSettings) -> list[Plan]:
    """The plans of a corpus: tasks alternate; in each, classes and voices do; splits in blocks."""
    voice_set = voices.load_voices(settings.voices)
    rotations = {split: voices.rotate_voices(voice_set, split) for split in SPLITS}
    held_out = _count_held_out(settings.clips // len(TASKS))
    plans = []
    for number in range(settings.clips):
        index, task = number // len(TASKS), TASKS[number % len(TASKS)]
        split = _find_split(index, *held_out)
        plans.append(Plan(
            id=f"{task}-{index:05d}", number=number, task=task, split=split,
            voice=None if task == "sound" else _choose_voice(rotations[split], index),
            sound_class=None if task == "speech" else sounds.CLASSES[index % len(sounds.CLASSES)],
        ))  # fmt: skip
    held_out = (0, 0) if settings.clips else _count_held_out(settings.audio_clips)
    for index in range(settings.audio_clips):
        split = _find_split(index, *held_out)
        plans.append(Plan(
            id=f"audio-{index:05d}", number=settings.clips + index, task="speech", split=split,
            voice=_choose_voice(rotations[split], index), sound_class=None, has_video=False,
        ))  # fmt: skip
    return plans


def _count_held_out(clips: int) -> tuple[int, int]:
    """Clips of the splits test and valid among those of a task."""
    return max(1, min(NUM_TEST, clips // 5)), max(1, min(NUM_VALID, clips // 10))


def _find_split(index: int, test: int, valid: int) -> str:
    return "test" if index < test else "valid" if index < test + valid else "train"


def _choose_voice(rotation: tuple[Voice, ...], index: int) -> str:
    return rotation[(index + index // len(sounds.CLASSES)) % len(rotation)].name


@dataclasses.dataclass(kw_only=True)
class Example:
    """A clip in memory.

    Attributes:
      wave: float [n] at 16 kHz, in [-1, 1].
      row: its row of the manifest.
      annotation: its line of annotations.jsonl.
      intervals: its phonemes' times; empty without speech.
      frames: uint8 [T, 128, 128, 3] at 25 a second; None without pictures.
      lips: the track of the speaker's lips; None without a face.
    """

    wave: np.ndarray
    row: dict
    annotation: dict
    intervals: list[alignment.Interval] = dataclasses.field(default_factory=list)
    frames: np.ndarray | None = None
    lips: LipTrack | None = None


def make_example(plan: Plan, settings: CorpusSettings) -> Example:
    """One clip; it depends on its plan and the settings alone."""
    rng_seed = (settings.seed, plan.number)
    rng = np.random.default_rng(rng_seed)
    row = {"id": plan.id, "split": plan.split, "task": plan.task}
    if not plan.has_video:
        return _make_audio_example(plan, settings, row, rng)
    row["video"] = f"videos/{plan.id}.mp4"
    wave = sounds.synthesize_room(round(settings.seconds * SAMPLE_RATE), rng)
    example = Example(wave=wave, row=row, annotation={"id": plan.id})
    position, box = render.draw_layout(plan.task, rng)
    peak = rng.uniform(*(SPEECH_PEAK if plan.voice else EVENT_PEAK))
    speaker = _add_speaker(example, plan, settings, position, peak, rng) if plan.voice else None
    if plan.sound_class and plan.voice:
        peak *= BESIDE_SPEECH[plan.sound_class]
    source = _add_event(example, plan, box, peak, rng) if plan.sound_class else None
    example.wave = np.clip(example.wave, -0.99, 0.99).astype(np.float32)
    frames = round(settings.seconds * render.RATE)
    if speaker is not None:
        _add_lips(example, speaker, frames, np.random.default_rng((*rng_seed, LIP_STREAM)))
    example.frames = render.render_frames(speaker, source, frames, rng)
    return example


def _make_audio_example(plan: Plan, settings: CorpusSettings, row: dict, rng) -> Example:
    """A sentence with a little silence around it."""
    voice = voices.find_voice(voices.load_voices(settings.voices), plan.voice)
    text, spoken = _draw_utterance(voice, plan, settings, rng)
    room = settings.audio_seconds - len(spoken.wave) / SAMPLE_RATE - LEAD - TAIL
    silence = LEAD + TAIL + rng.uniform(0, min(AUDIO_SLACK, room))
    samples = len(spoken.wave) + round(silence * SAMPLE_RATE)
    wave = sounds.synthesize_room(samples, rng)
    example = Example(wave=wave, row=row | {"audio": f"audio/{plan.id}.wav"},
                      annotation={"id": plan.id})  # fmt: skip
    _add_speech(example, voice, text, spoken, rng.uniform(*SPEECH_PEAK), rng)
    example.wave = np.clip(example.wave, -0.99, 0.99).astype(np.float32)
    return example


def _add_speaker(
    example: Example, plan: Plan, settings: CorpusSettings, position, peak: float, rng
) -> render.Speaker:
    """Adds a sentence and who says it."""
    voice = voices.find_voice(voices.load_voices(settings.voices), plan.voice)
    text, spoken = _draw_utterance(voice, plan, settings, rng)
    _add_speech(example, voice, text, spoken, peak, rng)
    x, y, scale = position
    speaker = render.Speaker(look=voice.look, sounds=example.intervals, x=x, y=y, scale=scale)
    example.annotation["mouth"] = list(speaker.mouth)
    return speaker


def _add_lips(example: Example, speaker: render.Speaker, frames: int, rng) -> None:
    """Adds the track of the speaker's lips, with errors of its own random numbers."""
    shapes = visemes.trace_mouth(speaker.sounds, frames, render.RATE)
    example.lips = lip_tracks.track_lips(speaker.look, shapes, rng)
    example.row["lips"] = f"lips/{example.row['id']}.safetensors"


def _add_speech(
    example: Example, voice: Voice, text: str, spoken: Utterance, peak: float, rng
) -> None:
    """Adds an utterance to the wave at a random time, and says so in row and annotation."""
    last = len(example.wave) - len(spoken.wave) - round(TAIL * SAMPLE_RATE)
    lead = round(LEAD * SAMPLE_RATE)
    first = int(rng.integers(lead, max(last, lead + 1)))
    example.wave[first : first + len(spoken.wave)] += peak * spoken.wave
    shift = first / SAMPLE_RATE
    example.intervals = [alignment.Interval(a + shift, b + shift, s) for a, b, s in spoken.sounds]
    example.row |= {
        "text": text,
        "alignment": f"alignments/{example.row['id']}.csv",
        "speaker_audio": f"voices/{voice.name}_{rng.integers(len(voices.REFERENCES))}.wav",
    }
    example.annotation["speaker"] = voice.name
    if voice.held_out:
        example.annotation["held_out"] = True


def _draw_utterance(
    voice: Voice, plan: Plan, settings: CorpusSettings, rng: np.random.Generator
) -> tuple[str, Utterance]:
    """A sentence in a voice; where one would not fit, others are tried, then it is hurried."""
    voice_set = voices.load_voices(settings.voices)
    sentence_set = settings.choose_sentences(plan.has_video)
    longest = settings.seconds if plan.has_video else settings.audio_seconds
    text, tempo = sentence_set.draw(plan.split, rng), rng.uniform(*TEMPO)
    redraws = sentence_set.redraws
    while True:
        spoken = voice_set.speak(voice, normalize.words(text), tempo, plan.number)
        if len(spoken.wave) / SAMPLE_RATE <= longest - LEAD - TAIL - SLACK:
            return text, spoken
        if redraws:
            text, redraws = sentence_set.draw(plan.split, rng), redraws - 1
        else:
            tempo *= 1.1


def _add_event(example: Example, plan: Plan, box, peak: float, rng) -> render.Source:
    duration = len(example.wave) / SAMPLE_RATE
    scene = scenes.draw_scene(plan.sound_class, duration, render.RATE, rng)
    example.wave += peak * scenes.synthesize_scene(scene, len(example.wave), render.RATE, rng)
    example.annotation["sound_class"] = plan.sound_class
    if scene.density is None:
        example.annotation["onsets"] = [round(float(time), 4) for time in scene.onsets]
    return render.Source(scene=scene, box=box)


# ---- files --------------------------------------------------------------------------------


def _write_job(job: Job) -> int:
    """Writes a job's files, then the note that it is done: the number of its clips."""
    _write_references(job)
    entries = [_write_clip(job, plan) for plan in job.plans]
    write_text(job.note, json.dumps(entries))
    return len(entries)


def _write_clip(job: Job, plan: Plan) -> tuple[int, dict, dict]:
    """Makes and writes a clip: its number, row and annotation."""
    example = make_example(plan, job.settings)
    if example.intervals:
        path = job.out / example.row["alignment"]
        alignment.write_alignment(path, example.intervals)
    if example.lips is not None:
        write_lip_track(job.out / example.row["lips"], example.lips)
    if example.frames is None:
        media.write_wav(job.out / example.row["audio"], example.wave, SAMPLE_RATE)
    else:
        path = job.out / example.row["video"]
        media.write_video(path, example.frames, render.RATE, example.wave, SAMPLE_RATE)
    return plan.number, example.row, example.annotation


def _write_references(job: Job) -> None:
    voice_set = voices.load_voices(job.settings.voices)
    for name in job.voices:
        voice = voices.find_voice(voice_set, name)
        for number in range(len(voices.REFERENCES)):
            wave = voices.record_reference(voice_set, voice, number)
            media.write_wav(job.out / f"voices/{name}_{number}.wav", wave, SAMPLE_RATE)


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
    settings: CorpusSettings | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Writes the corpus into folder `out` and returns its manifest, `out`/clips.csv.

    The same settings (default: `CorpusSettings()`) give the same files for any number of
    `workers` (None: all cores). The manifest is written last: a folder without one is incomplete,
    and what it lacks is written; a complete corpus is left as it is.

    Raises:
      InputError: settings of which no corpus can be made, or `out` is a file or holds another
        corpus.
    """
    out, settings = pathlib.Path(out), settings or CorpusSettings()
    check_settings(settings)
    if _is_complete(out, settings.describe()):
        count = settings.clips + settings.audio_clips
        print(f"{out / MANIFEST}: all {count} clips are already there", file=sys.stderr)
        return out / MANIFEST
    jobs = _make_jobs(out, settings)
    remaining = [job for job in jobs if not job.note.exists()]
    done = sum(len(job.plans) for job in jobs) - sum(len(job.plans) for job in remaining)
    with tqdm(total=settings.clips + settings.audio_clips, initial=done, desc="MiniAV",
              unit="clip", disable=not progress) as bar:  # fmt: skip
        for count in process_pool.map_unordered(_write_job, remaining, workers):
            bar.update(count)
    entries = [entry for job in jobs for entry in json.loads(job.note.read_text("utf-8"))]
    _write_tables(out, sorted(entries, key=lambda entry: entry[0]), settings.describe())
    shutil.rmtree(out / NOTES)
    return out / MANIFEST


def _make_jobs(out: pathlib.Path, settings: CorpusSettings) -> list[Job]:
    """The jobs of a corpus: references of the voices that speak, then clips."""
    plans = plan_corpus(settings)
    names = tuple(dict.fromkeys(plan.voice for plan in plans if plan.voice))
    digest = hashlib.sha256(json.dumps(settings.describe(), sort_keys=True).encode()).hexdigest()
    folder = out / NOTES / digest[:16]  # notes of other settings do not count
    folder.mkdir(parents=True, exist_ok=True)
    parts = [{"voices": part} for part in _split(names, JOB_SIZE)]
    videos = [plan for plan in plans if plan.has_video]
    audio = [plan for plan in plans if not plan.has_video]
    parts += [{"plans": part} for part in _split(videos, JOB_SIZE)]
    parts += [{"plans": part} for part in _split(audio, AUDIO_JOB_SIZE)]
    return [
        Job(out=out, settings=settings, note=folder / f"{number:05d}.json", **part)
        for number, part in enumerate(parts)
    ]


def _split(items: Sequence, size: int) -> list[tuple]:
    """Parts of `size` items; the last may be smaller."""
    return [tuple(items[k : k + size]) for k in range(0, len(items), size)]


def _write_tables(out: pathlib.Path, entries: list[tuple[int, dict, dict]], settings: dict) -> None:
    lines = [json.dumps(annotation, sort_keys=True) for _, _, annotation in entries]
    write_text(out / ANNOTATIONS, "\n".join(lines) + "\n")
    write_text(out / SETTINGS, json.dumps(settings) + "\n")
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for _, row, _ in entries)
    write_text(out / MANIFEST, table.getvalue())
