"""The clips of a report: pictures, spectrograms and sounds of a few, chosen by a fixed rule."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.codecs.interface import load_codec, reconstruct
from vssflow_jax.data import shards
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.evaluation.metrics.common import log_mels
from vssflow_jax.features import thumbnails
from vssflow_jax.reports import plots
from vssflow_jax.reports.html import escape, figure, picture, player
from vssflow_jax.text.alignment import predict_alignment

CLIPS = 3  # a task
FRAMES = 8  # pictures a clip
SHOWN = ("Ground truth", "Generated")  # the waves whose spectrograms are shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One clip of a task: its line of examples.csv, its record, three waves (float32 [n])."""

    task: str
    row: Mapping[str, str]
    record: Mapping
    truth: np.ndarray
    floor: np.ndarray
    generated: np.ndarray


# ---- finding them -------------------------------------------------------------------------


def evenly(rows: Sequence, count: int) -> list:
    """`count` of the rows: the middles of so many equal parts of the list; all, if fewer."""
    if len(rows) <= count:
        return list(rows)
    return [rows[(2 * k + 1) * len(rows) // (2 * count)] for k in range(count)]


def chosen(workdir: Path, task: str) -> list[dict]:
    """Lines of examples.csv whose clips are shown, of those that have a generated wave."""
    path = workdir / "eval" / "examples.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task]
    return evenly([row for row in rows if generated_path(workdir, row).exists()], CLIPS)


def generated_path(workdir: Path, row: Mapping) -> Path:
    """Where evaluation put what was generated for a line of examples.csv."""
    return workdir / "eval" / "generated" / row["task"] / f"{row['id']}.wav"


def find(workdir: Path, folder: Path, split: str, tasks: Sequence[str]) -> dict[str, list[Example]]:
    """The clips to show of each task, those whose record is in the split.

    Raises:
      InputError: the shards are not there, or a wave or the codec cannot be read.
    """
    rows = [row for task in tasks for row in chosen(workdir, task)]
    records = read_records(folder, split, {row["id"] for row in rows}) if rows else {}
    found: dict[str, list[Example]] = {}
    for row in rows:
        if row["id"] not in records:
            continue
        record = records[row["id"]]
        truth = read_wave(record)
        example = Example(
            task=row["task"],
            row=row,
            record=record,
            truth=truth,
            floor=through_codec(workdir, row["id"], truth),
            generated=media.read_audio(generated_path(workdir, row)),
        )
        found.setdefault(row["task"], []).append(example)
    return found


def read_records(folder: Path, split: str, wanted: set[str]) -> dict[str, dict]:
    """The records of some clips by id; reads no further than to the last of them."""
    records = shards.open_split(folder, split, with_wave=True)
    found: dict[str, dict] = {}
    for number in range(len(records)):
        if len(found) == len(wanted):
            break
        record = records[number]
        if record["meta"]["id"] in wanted:
            found[record["meta"]["id"]] = record
    return found


def through_codec(workdir: Path, name: str, wave: np.ndarray) -> np.ndarray:
    """The wave through the codec: as evaluation left it, else made here."""
    path = workdir / "eval" / "floor" / f"{name}.wav"
    if path.exists():
        return media.read_audio(path)
    return np.asarray(reconstruct(load_codec(workdir / "codec"), wave[None])[0])


# ---- showing them -------------------------------------------------------------------------


def frames(workdir: Path, example: Example) -> list[np.ndarray]:
    """Pictures uint8 [H, W, 3] spread over the clip, of its video or of its thumbnails."""
    meta = example.record["meta"]
    path = workdir / "corpus" / "videos" / f"{meta['id']}.mp4"
    if path.exists():
        every = media.read_video(path).frames
    elif "clip" in example.record and example.record["clip"].shape[1] == thumbnails.WIDTH:
        thumbs = np.asarray(example.record["clip"], np.float32)
        every = np.clip(np.round((thumbs + 1) * 127.5), 0, 255).astype(np.uint8)
        every = every.reshape(-1, thumbnails.SIDE, thumbnails.SIDE, 3)
    else:
        return []
    return [every[(2 * k + 1) * len(every) // (2 * FRAMES)] for k in range(FRAMES)]


def views(
    workdir: Path,
    example: Example,
    durations: Mapping[str, float],
    spectrograms: Sequence[np.ndarray],
) -> str:
    """The strip of pictures and the spectrograms of truth and result, on one time axis."""
    meta = example.record["meta"]
    name, seconds = meta["id"], meta["duration"]
    spoken = meta.get("alignment") or []
    onsets = meta.get("annotation", {}).get("onsets", [])
    parts = []
    stills = frames(workdir, example) if example.task != "text" else []
    if stills:
        alt = f"{FRAMES} pictures of {name}, evenly spread over its {seconds:g} seconds"
        image = picture(plots.strip(stills, seconds), alt, "image/jpeg")
        parts.append(figure("What the model sees", image))
    said = spoken
    if example.task == "text" and durations:
        said = predict_alignment(meta, durations, example.record.get("speaker"))
    if example.task == "text" and len(said) == len(spoken):
        image = plots.phoneme_times({"true": spoken, "asked for": said}, seconds, plots.DARK)
        alt = f"Phonemes of {name} over {seconds:g} seconds: true times, and predicted ones"
        parts.append(figure("When each phoneme sounds", picture(image, alt)))
    levels = plots.limits(*spectrograms)
    for title, mel, marks in zip(SHOWN, spectrograms, (spoken, said), strict=True):
        alt = f"Log-mel spectrogram of {name}, {title.lower()}: 0 to 8 kHz over {seconds:g} seconds"
        image = plots.spectrogram(mel, seconds, levels, marks, onsets)
        parts.append(figure(title, picture(image, alt)))
    return (
        '<div class="views" tabindex="0" role="region" '
        f'aria-label="Pictures and spectrograms of {escape(name)}">{"".join(parts)}</div>'
    )


def heard(row: Mapping[str, str], suffix: str = "") -> str:
    """What the judges made of a wave, as HTML; empty where they did not judge it."""
    parts = []
    if row.get(f"words{suffix}"):
        words = escape(row.get(f"hypothesis{suffix}") or "nothing")
        wrong = row[f"errors{suffix}"]
        parts.append(
            f"heard “{words}”, {escape(wrong)} of {escape(row[f'words{suffix}'])} words wrong"
        )
    if row.get(f"onset_f1{suffix}"):
        parts.append(f"onsets F1 {float(row[f'onset_f1{suffix}']):.2f}")
    if row.get(f"predicted_class{suffix}"):
        parts.append(f"sounds like {escape(row[f'predicted_class{suffix}'])}")
    if row.get(f"predicted_speaker{suffix}"):
        parts.append(f"voice like {escape(row[f'predicted_speaker{suffix}'])}")
    return "; ".join(parts)


def facts(example: Example) -> str:
    """What is true of the clip, as HTML."""
    meta = example.record["meta"]
    note = meta.get("annotation", {})
    parts = [f"said: “{escape(meta['text'])}”"] if meta.get("text") else []
    parts += [f"voice: {escape(note['speaker'])}"] if note.get("speaker") else []
    parts += [f"events: {escape(note['sound_class'])}"] if note.get("sound_class") else []
    return "; ".join(parts)


def card(
    workdir: Path, example: Example, durations: Mapping[str, float], mels: Sequence[np.ndarray]
) -> str:
    """One clip; `mels` are the log-mels of truth and result."""
    name = escape(example.record["meta"]["id"])
    players = (
        player("Ground truth", example.truth, ""),
        player("Ground truth through the codec", example.floor, heard(example.row, "_floor")),
        player("Generated", example.generated, heard(example.row)),
    )
    return (
        f'<article class="card"><h4>{name}</h4><p class="note">{facts(example)}</p>'
        f"{views(workdir, example, durations, mels)}"
        f'<div class="players">{"".join(players)}</div></article>'
    )


def cards(
    workdir: Path, found: Mapping[str, Sequence[Example]], durations: Mapping[str, float]
) -> dict[str, str]:
    """The clips of each task as HTML.

    Args:
      workdir: the run's folder.
      found: examples by task.
      durations: mean seconds by phoneme, to tell the times that were predicted.
    """
    every = [example for examples in found.values() for example in examples]
    # All at once: the analysis pads to a batch.
    mels = log_mels([wave for example in every for wave in (example.truth, example.generated)])
    pairs = zip(mels[::2], mels[1::2], strict=True)
    made: dict[str, str] = dict.fromkeys(found, "")
    for example, pair in zip(every, pairs, strict=True):
        made[example.task] += card(workdir, example, durations, pair)
    return made
