"""The page of a checked data set: its counts, its problems, and plots of some of its clips."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.conditions import BY_NAME, NAMES, SAMPLE_RATE, TOKEN
from vssflow_jax.data import shards
from vssflow_jax.data.manifest import ManifestRow
from vssflow_jax.data.pipeline import read_mono, read_wave
from vssflow_jax.features import lips, thumbnails
from vssflow_jax.features.speaker import log_mel
from vssflow_jax.preparation.examples import list_notes
from vssflow_jax.preparation.validation import ValidationReport
from vssflow_jax.reports import plots
from vssflow_jax.reports.html import Card, Figure, Player, embed_image, embed_sound, render
from vssflow_jax.reports.stills import features_to_frames, select_evenly

PAGE = "check.html"
NUM_STILLS = 8  # frames of a clip
MAX_LINES = 50  # problems and skipped clips on the page
MIN_SECONDS = 0.1  # of sound, for a spectrogram


def write_page(validation: ValidationReport, rows: Sequence[ManifestRow] = ()) -> pathlib.Path:
    """Writes `check.html` into the folder of shards and returns its path.

    Args:
      validation: the result of the check.
      rows: of the manifest, for frames of the videos; without them thumbnails are shown.
    """
    info = validation.info
    rows_by_id = {row.id: row for row in rows}
    page = render(
        "dataset.html",
        title=f"Data set {info['hash']}",
        clips=sum(split["clips"] for split in info["splits"].values()),
        problems=validation.problems,
        limit=MAX_LINES,
        splits=_split_rows(validation),
        features=_feature_rows(info),
        skipped=_read_skipped(validation.folder),
        tasks={
            task: [make_card(record, info, rows_by_id) for record in records]
            for task, records in sorted(validation.examples.items())
        },
    )
    path = validation.folder / PAGE
    write_text(path, page)
    return path


def _split_rows(validation: ValidationReport) -> list[tuple]:
    rows = []
    for name, split in validation.info["splits"].items():
        hours = sum(split["seconds"].values()) / 3600
        tasks = ", ".join(f"{count} {task}" for task, count in split["tasks"].items())
        missing = ", ".join(f"{n} {k}" for k, n in sorted(validation.missing[name].items()))
        megabytes = f"{sum(split['bytes']) / 1e6:.1f}"
        rows.append((name, split["clips"], tasks, f"{hours:.2f}", megabytes, missing or "nothing"))
    return rows


def _feature_rows(info: Mapping) -> list[tuple]:
    return [
        (name, f["width"], f["rate"] or "once a clip", f["dtype"], f["encoder"], f["hash"])
        for name, f in info["features"].items()
    ]


def _read_skipped(folder: pathlib.Path) -> list[str]:
    path = folder / shards.SKIPPED
    return path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []


# ---- a clip -------------------------------------------------------------------------------


def make_card(record: Mapping, info: Mapping, rows: Mapping[str, ManifestRow]) -> Card:
    """A record on the page: frames, mouth, wave, spectrogram, features, and its sound."""
    meta = record[shards.META]
    frames, notes = read_frames(record, rows)
    facts = [f"{meta['duration']:g} s"]
    facts += [f"said: “{meta['text']}”" if meta.get("text") else "no text"]
    missing = [name for name in (shards.WAVE, *NAMES) if name not in record]
    facts += [f"missing: {', '.join(missing)}"] if missing else []
    facts += dict.fromkeys([*list_notes(meta), *notes])
    return Card(
        id=meta["id"],
        facts="; ".join(facts),
        figures=[
            Figure(caption=caption, image=embed_image(data, f"{caption} of {meta['id']}", kind))
            for caption, data, kind in _plot_record(record, info, frames)
        ],
        players=_make_players(record),
    )


def _make_players(record: Mapping) -> list[Player]:
    if shards.WAVE not in record:
        return []
    rate = shards.read_wave_rate(record)
    return [embed_sound("Sound", read_wave(record), sample_rate=rate)]


def _plot_record(
    record: Mapping, info: Mapping, frames: np.ndarray
) -> Iterator[tuple[str, bytes, str]]:
    """(caption, image, media type) of each plot of a record."""
    meta, features = record[shards.META], info["features"]
    seconds = meta["duration"]
    if len(frames):
        strip = plots.plot_strip(select_evenly(frames, NUM_STILLS), seconds)
        yield "Pictures", strip, "image/jpeg"
    if "lips" in record and features["lips"]["encoder"] == "mouth":
        crops = features_to_frames(record["lips"], (lips.SIDE, lips.SIDE))
        crops = np.repeat(crops[..., None], 3, axis=-1)
        strip = plots.plot_strip(select_evenly(crops, NUM_STILLS), seconds)
        yield "Mouth, as the model sees it", strip, "image/jpeg"
    if shards.WAVE in record:
        wave = read_mono(record)
        yield "Wave", plots.plot_waveform(wave, seconds), "image/png"
        if len(wave) >= MIN_SECONDS * SAMPLE_RATE:
            mel = log_mel(wave)
            phonemes = [tuple(row) for row in meta.get("alignment", ())]
            onsets = meta.get("annotation", {}).get("onsets", ())
            levels = plots.find_levels(mel)
            image = plots.plot_spectrogram(mel, seconds, levels, phonemes, onsets)
            yield "Log-mel spectrogram, 0 to 8 kHz, with phonemes and onsets", image, "image/png"
    for name in NAMES:
        if name in record and not BY_NAME[name].ids and BY_NAME[name].alignment != TOKEN:
            caption = f"{name}: {features[name]['encoder']}, {record[name].shape}"
            yield caption, plots.plot_features(record[name], seconds), "image/png"


def read_frames(
    record: Mapping, rows: Mapping[str, ManifestRow]
) -> tuple[np.ndarray, Sequence[str]]:
    """Frames uint8 [T, H, W, 3] of a record's video, and lines about what of them is missing.

    Without a video that can be read they are the record's thumbnails, else none (T = 0).
    """
    meta, notes = record[shards.META], []
    _, _, start = meta.get("source", "").partition("@")
    row = rows.get(meta["id"].rpartition("_")[0] if start else meta["id"])
    if row is None and not start:  # the first window of a longer clip
        row = rows.get(meta["id"].removesuffix("_0"))
    if row is not None and row.video:
        try:
            span = {"start": float(start or 0), "seconds": meta["duration"]}
            video = media.read_video(row.video, **span)
            return video.frames, video.notes
        except InputError as error:
            notes = [f"{error}: the pictures are those of its features"]
    if "clip" in record and record["clip"].shape[1] == thumbnails.WIDTH:
        shape = (thumbnails.SIDE, thumbnails.SIDE, 3)
        return features_to_frames(record["clip"], shape), notes
    return np.zeros((0, 1, 1, 3), np.uint8), notes
