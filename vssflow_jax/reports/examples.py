"""The examples in a run's report: a few of each task, selected by a fixed rule."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.codecs.interface import load_codec, reconstruct
from vssflow_jax.common.files import local_copy
from vssflow_jax.common.waves import to_mono
from vssflow_jax.conditions import SAMPLE_RATE, AudioFormat
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.features import thumbnails
from vssflow_jax.preparation.examples import list_notes
from vssflow_jax.reports import plots
from vssflow_jax.reports.html import Card, Figure, Player, embed_image, embed_sound
from vssflow_jax.reports.stills import features_to_frames, select_evenly
from vssflow_jax.text.alignment import predict_alignment

NUM_EXAMPLES = 3  # of a task
NUM_STILLS = 8  # frames of an example


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An example of a task.

    Attributes:
      task: its task.
      row: its line of eval/examples.csv.
      record: of the shards.
      truth: the ground truth, float32 [n] or [n, A].
      floor: the ground truth through the codec.
      generated: the model's sound.
      sample_rate: of the three.
    """

    task: str
    row: Mapping[str, str]
    record: Mapping
    truth: np.ndarray
    floor: np.ndarray
    generated: np.ndarray
    sample_rate: int


# ---- reading ------------------------------------------------------------------------------


def select_rows(workdir: Path, task: str) -> list[dict]:
    """The lines of eval/examples.csv to show, of those with a generated wave."""
    path = workdir / "eval" / "examples.csv"
    if not path.exists():
        return []
    with local_copy(path) as copy, copy.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task]
    return select_evenly([row for row in rows if wave_path(workdir, row).exists()], NUM_EXAMPLES)


def wave_path(workdir: Path, row: Mapping) -> Path:
    """The file with the generated wave of a line of eval/examples.csv."""
    return workdir / "eval" / "generated" / row["task"] / f"{row['id']}.wav"


def read_examples(
    workdir: Path, folder: Path, split: str, tasks: Sequence[str]
) -> dict[str, list[Example]]:
    """The examples to show of each task whose records are in the split.

    Raises:
      InputError: no shards, or a wave or the codec cannot be read.
    """
    rows = [row for task in tasks for row in select_rows(workdir, task)]
    records = read_records(folder, split, {row["id"] for row in rows}) if rows else {}
    examples: dict[str, list[Example]] = {}
    for row in rows:
        if row["id"] not in records:
            continue
        record = records[row["id"]]
        truth, sample_rate = read_wave(record), shards.read_wave_rate(record)
        audio = AudioFormat(sample_rate, 1 if truth.ndim == 1 else truth.shape[1])
        example = Example(
            task=row["task"],
            row=row,
            record=record,
            truth=truth,
            floor=read_floor(workdir, row["id"], truth, audio),
            generated=read_audio(wave_path(workdir, row), audio),
            sample_rate=sample_rate,
        )
        examples.setdefault(row["task"], []).append(example)
    return examples


def read_records(folder: Path, split: str, ids: set[str]) -> dict[str, dict]:
    """The records with these ids; reads no further than to the last of them."""
    split_records = shards.open_split(folder, split, with_wave=True)
    records: dict[str, dict] = {}
    for number in range(len(split_records)):
        if len(records) == len(ids):
            break
        record = split_records[number]
        if record["meta"]["id"] in ids:
            records[record["meta"]["id"]] = record
    return records


def read_audio(path: Path, audio: AudioFormat) -> np.ndarray:
    """The sound of a file, float32 [n] or [n, A]."""
    return media.read_audio(path, audio.sample_rate, channels=audio.channels)


def read_floor(workdir: Path, name: str, wave: np.ndarray, audio: AudioFormat) -> np.ndarray:
    """A wave through the codec: evaluation's file, else computed here."""
    path = workdir / "eval" / "floor" / f"{name}.wav"
    if path.exists():
        return read_audio(path, audio)
    return np.asarray(reconstruct(load_codec(workdir / "codec"), wave[None])[0])


def read_stills(workdir: Path, example: Example) -> list[np.ndarray]:
    """Frames uint8 [H, W, 3] spread over the example, of its video or of its thumbnails."""
    path = workdir / "corpus" / "videos" / f"{example.record['meta']['id']}.mp4"
    if path.exists():
        frames = media.read_video(path).frames
    elif "clip" in example.record and example.record["clip"].shape[1] == thumbnails.WIDTH:
        shape = (thumbnails.SIDE, thumbnails.SIDE, 3)
        frames = features_to_frames(example.record["clip"], shape)
    else:
        return []
    return select_evenly(frames, NUM_STILLS)


# ---- on the page --------------------------------------------------------------------------


def make_cards(
    workdir: Path, examples: Mapping[str, Sequence[Example]], durations: Mapping[str, float]
) -> dict[str, list[Card]]:
    """The examples of each task as the page shows them.

    Args:
      workdir: the run's folder.
      examples: by task.
      durations: mean seconds by phoneme, from which the alignments of texts are predicted.
    """
    flat = [example for group in examples.values() for example in group]
    # All in one call, because the analysis pads to a batch.
    mels = log_mels(
        [
            to_mono(wave, example.sample_rate, SAMPLE_RATE)
            for example in flat
            for wave in (example.truth, example.generated)
        ]
    )
    cards: dict[str, list[Card]] = {task: [] for task in examples}
    for example, *pair in zip(flat, mels[::2], mels[1::2], strict=True):
        cards[example.task].append(
            Card(
                id=example.record["meta"]["id"],
                facts=describe_record(example.record),
                figures=make_figures(workdir, example, durations, pair),
                players=make_players(example),
            )
        )
    return cards


def make_figures(
    workdir: Path, example: Example, durations: Mapping[str, float], mels: Sequence[np.ndarray]
) -> list[Figure]:
    """Frames, alignments and spectrograms on one time axis.

    Args:
      workdir: the run's folder.
      example: one example.
      durations: mean seconds by phoneme.
      mels: log-mels [T, 64] of the ground truth and of the generated wave.
    """
    meta = example.record["meta"]
    name, seconds = meta["id"], meta["duration"]
    true_alignment = meta.get("alignment") or []
    onsets = meta.get("annotation", {}).get("onsets", [])
    figures = []
    stills = read_stills(workdir, example) if example.task != "text" else []
    if stills:
        alt = f"{len(stills)} pictures of {name}, evenly spread over its {seconds:g} seconds"
        image = embed_image(plots.plot_strip(stills, seconds), alt, "image/jpeg")
        figures.append(Figure(caption="What the model sees", image=image))
    requested = true_alignment
    if example.task == "text" and durations:
        requested = predict_alignment(meta, durations, example.record.get("speaker"))
    if example.task == "text" and len(requested) == len(true_alignment):
        rows = {"true": true_alignment, "requested": requested}
        alt = f"Phonemes of {name} over {seconds:g} seconds: true times, and predicted ones"
        image = embed_image(plots.plot_alignments(rows, seconds, plots.DARK), alt)
        figures.append(Figure(caption="When each phoneme sounds", image=image))
    levels = plots.find_levels(*mels)
    marked = zip(("Ground truth", "Generated"), mels, (true_alignment, requested), strict=True)
    for caption, mel, phonemes in marked:
        alt = (
            f"Log-mel spectrogram of {name}, {caption.lower()}: 0 to 8 kHz over {seconds:g} seconds"
        )
        image = embed_image(plots.plot_spectrogram(mel, seconds, levels, phonemes, onsets), alt)
        figures.append(Figure(caption=caption, image=image))
    return figures


def make_players(example: Example) -> list[Player]:
    """The three waves of an example, with their scores."""
    sounds = (
        ("Ground truth", example.truth, ""),
        ("Ground truth through the codec", example.floor, describe_scores(example.row, "_floor")),
        ("Generated", example.generated, describe_scores(example.row)),
    )
    return [embed_sound(*sound, sample_rate=example.sample_rate) for sound in sounds]


def describe_scores(row: Mapping[str, str], suffix: str = "") -> str:
    """The scores of a wave in words; empty without any."""
    parts = []
    for recognizer, name in (("", ""), ("_open", " by the open recognizer")):
        ending = f"{recognizer}{suffix}"
        if row.get(f"words{ending}"):
            transcript = row.get(f"hypothesis{ending}") or "nothing"
            errors, words = row[f"errors{ending}"], row[f"words{ending}"]
            parts.append(f"heard{name} “{transcript}”, {errors} of {words} words wrong")
    if row.get(f"onset_f1{suffix}"):
        parts.append(f"onsets F1 {float(row[f'onset_f1{suffix}']):.2f}")
    if row.get(f"predicted_class{suffix}"):
        parts.append(f"sounds like {row[f'predicted_class{suffix}']}")
    if row.get(f"predicted_speaker{suffix}"):
        parts.append(f"voice like {row[f'predicted_speaker{suffix}']}")
    return "; ".join(parts)


def describe_record(record: Mapping) -> str:
    """The text, voice and sound class of a record in words, and what making it left out."""
    meta = record["meta"]
    annotation = meta.get("annotation", {})
    parts = [f"said: “{meta['text']}”"] if meta.get("text") else []
    parts += [f"voice: {annotation['speaker']}"] if annotation.get("speaker") else []
    parts += [f"events: {annotation['sound_class']}"] if annotation.get("sound_class") else []
    return "; ".join([*parts, *list_notes(meta)])
