"""The page of a checked data set: its counts, its problems, and some of its clips in pictures."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.conditions import BY_NAME, NAMES, TOKEN
from vssflow_jax.data import shards
from vssflow_jax.data.manifest import ManifestRow
from vssflow_jax.data.pipeline import read_wave
from vssflow_jax.features import lips, thumbnails
from vssflow_jax.features.speaker import log_mel
from vssflow_jax.preparation.validation import ValidationReport
from vssflow_jax.reports import plots
from vssflow_jax.reports.html import document, escape, figure, picture, player

PAGE = "check.html"
STILLS = 8  # pictures of a clip
LISTED = 50  # problems and skipped clips on the page
SHORTEST = 0.1  # seconds of sound that a spectrogram needs


def write_page(found: ValidationReport, rows: Sequence[ManifestRow] = ()) -> pathlib.Path:
    """Writes `check.html` into the folder of shards and returns its path.

    Args:
      found: what the check gave.
      rows: of the manifest, for the clips' own pictures; without them the features tell.
    """
    by_id = {row.id: row for row in rows}
    cards = [
        f"<h2>{escape(task)}</h2>" + "".join(card(record, found.info, by_id) for record in records)
        for task, records in sorted(found.examples.items())
    ]
    title = f"Data set {found.info['hash']}"
    body = f"<h1>{escape(title)}</h1>{_verdict(found)}{_splits(found)}{_features(found.info)}"
    path = found.folder / PAGE
    write_text(path, document(title, body + _skipped(found.folder) + "".join(cards)))
    return path


def table(head: Sequence[str], rows: Sequence[Sequence]) -> str:
    """An HTML table of text; the first column names the row."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(c)}</td>' for c in rest)}</tr>"
        for first, *rest in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _list(lines: Sequence[str]) -> str:
    shown = "".join(f"<li>{escape(line)}</li>" for line in lines[:LISTED])
    more = f"<li>… and {len(lines) - LISTED} more</li>" if len(lines) > LISTED else ""
    return f"<ul>{shown}{more}</ul>"


def _verdict(found: ValidationReport) -> str:
    clips = sum(split["clips"] for split in found.info["splits"].values())
    if not found.problems:
        return f"<p>All {clips} clips are whole: bytes, hashes, shapes, numbers, times.</p>"
    return f"<h2>{len(found.problems)} problems</h2>{_list(found.problems)}"


def _splits(found: ValidationReport) -> str:
    rows = []
    for name, split in found.info["splits"].items():
        hours = sum(split["seconds"].values()) / 3600
        tasks = ", ".join(f"{count} {task}" for task, count in split["tasks"].items())
        without = ", ".join(f"{n} {k}" for k, n in sorted(found.missing[name].items()))
        size = f"{sum(split['bytes']) / 1e6:.1f}"
        rows.append((name, split["clips"], tasks, f"{hours:.2f}", size, without or "nothing"))
    head = ("split", "clips", "of which", "hours", "megabytes", "missing")
    return f'<div class="card">{table(head, rows)}</div>'


def _features(info: Mapping) -> str:
    rows = [
        (name, f["width"], f["rate"] or "once a clip", f["dtype"], f["encoder"], f["hash"])
        for name, f in info["features"].items()
    ]
    head = ("condition", "width", "a second", "type", "encoder", "its hash")
    return f'<h2>Features</h2><div class="card">{table(head, rows)}</div>'


def _skipped(folder: pathlib.Path) -> str:
    path = folder / shards.SKIPPED
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return f"<h2>{len(lines)} clips left out</h2>{_list(lines)}" if lines else ""


# ---- a clip -------------------------------------------------------------------------------


def card(record: Mapping, info: Mapping, rows: Mapping[str, ManifestRow]) -> str:
    """One clip: its pictures, mouth, wave, spectrogram, features, and its sound."""
    meta = record[shards.META]
    seconds = meta["duration"]
    views = [figure(title, picture(data, f"{title} of {meta['id']}", kind))
             for title, data, kind in _views(record, info, rows)]  # fmt: skip
    facts = [f"{seconds:g} s", f"said: “{meta['text']}”" if meta.get("text") else "no text"]
    missing = [name for name in (shards.WAVE, *NAMES) if name not in record]
    facts += [f"missing: {', '.join(missing)}"] if missing else []
    sound = player("Sound", read_wave(record), "") if shards.WAVE in record else ""
    return (
        f'<article class="card"><h4>{escape(meta["id"])}</h4>'
        f'<p class="note">{escape("; ".join(facts))}</p>'
        f'<div class="views" tabindex="0">{"".join(views)}</div>'
        f'<div class="players">{sound}</div></article>'
    )


def _views(record: Mapping, info: Mapping, rows: Mapping[str, ManifestRow]):
    """(title, image, its kind) of each picture of a clip."""
    meta, features = record[shards.META], info["features"]
    seconds = meta["duration"]
    stills = _stills(record, rows)
    if len(stills):
        yield "Pictures", plots.strip(_spread(stills), seconds), "image/jpeg"
    if "lips" in record and features["lips"]["encoder"] == "mouth":
        crops = _pixels(record["lips"], (lips.SIDE, lips.SIDE))
        crops = np.repeat(crops[..., None], 3, axis=-1)
        yield "Mouth, as the model sees it", plots.strip(_spread(crops), seconds), "image/jpeg"
    if shards.WAVE in record:
        wave = read_wave(record)
        yield "Wave", plots.waveform(wave, seconds), "image/png"
        if len(wave) >= SHORTEST * 16_000:
            mel = log_mel(wave)
            marks = [tuple(row) for row in meta.get("alignment", ())]
            onsets = meta.get("annotation", {}).get("onsets", ())
            data = plots.spectrogram(mel, seconds, plots.limits(mel), marks, onsets)
            yield "Log-mel spectrogram, 0 to 8 kHz, with phonemes and onsets", data, "image/png"
    for name in NAMES:
        if name in record and not BY_NAME[name].ids and BY_NAME[name].align != TOKEN:
            title = f"{name}: {features[name]['encoder']}, {record[name].shape}"
            yield title, plots.heat(record[name], seconds), "image/png"


def _stills(record: Mapping, rows: Mapping[str, ManifestRow]) -> np.ndarray:
    """The clip's frames uint8 [T, H, W, 3]: of its video, else its thumbnails, else none."""
    meta = record[shards.META]
    _, _, start = meta.get("source", "").partition("@")
    row = rows.get(meta["id"].rpartition("_")[0] if start else meta["id"])
    if row is None and not start:  # the first window of a longer clip
        row = rows.get(meta["id"].removesuffix("_0"))
    if row is not None and row.video:
        try:
            span = {"start": float(start or 0), "seconds": meta["duration"]}
            return media.read_video(row.video, **span).frames
        except InputError:  # the video has gone; its features are still there
            pass
    if "clip" in record and record["clip"].shape[1] == thumbnails.WIDTH:
        return _pixels(record["clip"], (thumbnails.SIDE, thumbnails.SIDE, 3))
    return np.zeros((0, 1, 1, 3), np.uint8)


def _pixels(values: np.ndarray, shape: tuple) -> np.ndarray:
    """Numbers [T, W] in [-1, 1] as pictures uint8 [T, *shape]."""
    scaled = np.round((np.asarray(values, np.float32) + 1) * 127.5)
    return np.clip(scaled, 0, 255).astype(np.uint8).reshape(-1, *shape)


def _spread(frames: np.ndarray) -> list[np.ndarray]:
    count = min(STILLS, len(frames))
    return [frames[(2 * k + 1) * len(frames) // (2 * count)] for k in range(count)]
