"""A data set's listing to clips.csv, with alignments, annotations and what is missing beside it."""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import check_writable, write_text
from vssflow_jax.common.tables import parse_header, read_table
from vssflow_jax.data.manifest import ANNOTATIONS, COLUMNS, SPLITS, read_annotations
from vssflow_jax.datasets.interface import (
    ALIGNMENT_PART,
    CLIP_PART,
    DataSet,
    Example,
    FileIndex,
    Listing,
    MediaFormat,
    Source,
)
from vssflow_jax.text import alignment

ALIGNMENTS = "alignments"  # folder beside the manifest
MISSING = ".missing.csv"  # ending of the list of what is missing, after the manifest's stem
MISSING_COLUMNS = ("id", "split", "missing", "reason")
MIN_SHARE = 0.01  # of the listed clips that must be on disk
NUM_INSPECTED = 5  # clips whose headers are compared with what is known of the set
MAX_NOTES = 20  # lines about the listing that are printed


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Where a data set is, and how its manifest is made.

    Attributes:
      root: folder with the data set.
      out: the manifest to write.
      lists: folder with its lists, if they are elsewhere.
      split: division into training, validation and test; empty: the data set's first.
      transcripts: folder with a text for each clip, for data sets without.
      append: keep the rows of other data sets that are in `out`.
    """

    root: str
    out: str
    lists: str | None = None
    split: str = ""
    transcripts: str | None = None
    append: bool = False


def build_manifest(dataset: DataSet, options: DatasetOptions) -> list[str]:
    """Writes the manifest of a data set on disk; nothing is downloaded.

    Beside it: `alignments/`, `annotations.jsonl`, which keeps the lines of other data sets, and
    the list of what is missing. Ids begin with the name of the data set.

    Returns:
      Lines for the screen: what was found, and how it differs from what is known of the set.

    Raises:
      InputError: a wrong option, a list that is missing or broken, or hardly any clip on disk.
    """
    out = pathlib.Path(options.out)
    check_writable(out)
    source = open_source(dataset, options)
    rows = _read_other_rows(dataset, out) if options.append else []
    listing = _remove_repeated(dataset.list_examples(source))
    check_share(dataset, source, listing)
    references = choose_references(listing.examples)
    alignments = _write_alignments(dataset, listing, out)
    for example in listing.examples:
        rows.append(_make_row(dataset, example, references, alignments))
    _write_annotations(dataset, listing.examples, out)
    missing_path = out.with_name(out.stem + MISSING)
    write_text(missing_path, _format_missing(dataset, listing))
    write_text(out, _format_csv(COLUMNS, ([row.get(name, "") for name in COLUMNS] for row in rows)))
    lines = _describe(dataset, listing, missing_path)
    if alignments:
        lines.insert(1, f"phoneme times: {len(alignments):,} clips")
    return [*lines, *_describe_voices(listing, references)]


def open_source(dataset: DataSet, options: DatasetOptions) -> Source:
    """The files that the options name, listed.

    Raises:
      InputError: a folder that there is not, a split that the set does not have, or transcripts
        that are missing or not needed.
    """
    if options.split and options.split not in dataset.splits:
        choices = " or ".join(dataset.splits) or f"none: {dataset.name} has one split"
        raise InputError(f"--split: found {options.split!r}, expected {choices}")
    if dataset.needs_transcripts and options.transcripts is None:
        raise InputError(
            f"--transcripts: found nothing, expected a folder with a text for each clip "
            f"({dataset.name} has none)"
        )
    if options.transcripts is not None and not dataset.needs_transcripts:
        raise InputError(f"--transcripts: found a folder, expected none for {dataset.name}")
    folders = {"root": options.root, "lists": options.lists, "transcripts": options.transcripts}
    for flag, folder in folders.items():
        if folder is not None and not pathlib.Path(folder).is_dir():
            raise InputError(f"--{flag}={folder}: no such folder, expected that of {dataset.name}")
    files = FileIndex(os.path.abspath(options.root))
    lists = FileIndex(os.path.abspath(options.lists)) if options.lists else files
    transcripts = options.transcripts and FileIndex(os.path.abspath(options.transcripts))
    return Source(
        files=files,
        lists=lists,
        split=options.split or next(iter(dataset.splits), ""),
        transcripts=transcripts or None,
    )


def check_share(dataset: DataSet, source: Source, listing: Listing) -> None:
    """Raises InputError if hardly any of the listed clips is on disk."""
    absent = sum(entry.part == CLIP_PART for entry in listing.missing)
    count = len(listing.examples)
    if count and count >= MIN_SHARE * (count + absent):
        return
    archives = source.files.count_archives()
    hint = f"; there are {archives} archives: unpack them first" if archives else ""
    first = f" (the first: {listing.missing[0].reason})" if listing.missing else ""
    raise InputError(
        f"--root={source.files.root}: found {count} of {count + absent} clips of {dataset.name}"
        f"{first}, expected the data set's folder{hint}"
    )


def choose_references(examples: Iterable[Example]) -> dict[str, str]:
    """Another recording of the voice for each clip, by its id; none for voices heard once.

    The clips of a voice and a split form a ring in the order of their hashes, so that each is the
    reference of one other.
    """
    rings: dict[tuple[str, str], list[Example]] = collections.defaultdict(list)
    for example in examples:
        if example.speaker is not None:
            rings[example.speaker, example.split].append(example)
    references: dict[str, str] = {}
    for ring in rings.values():
        ring.sort(key=lambda example: hashlib.sha256(example.id.encode()).digest())
        for example, other in zip(ring, ring[1:] + ring[:1], strict=True):
            if other is not example:
                references[example.id] = other.audio or other.video
    return references


def inspect_media(expected: MediaFormat, examples: Sequence[Example]) -> list[str]:
    """Lines that compare the headers of a few clips with what the data set's are said to be."""
    step = max(1, len(examples) // NUM_INSPECTED)
    headers, lines = [], []
    for example in examples[::step][:NUM_INSPECTED]:
        try:
            headers.append(media.read_header(example.audio or example.video))
            if example.video and example.audio:
                video = media.read_header(example.video)
                headers[-1] = dataclasses.replace(video, sample_rate=headers[-1].sample_rate)
        except InputError as error:
            lines.append(f"cannot be read: {error}")
    units = {
        "fps": "frames a second",
        "width": "pixels wide",
        "height": "pixels high",
        "sample_rate": "Hz",
    }
    for name, unit in units.items():
        value = getattr(expected, name)
        values = sorted({round(v, 3) for h in headers if (v := getattr(h, name)) is not None})
        if value is not None and values:
            listed = ", ".join(f"{v:,.6g}" for v in values)
            lines.append(
                f"{unit}: found {listed} in {len(headers)} clips, expected {value:,.6g} "
                f"({expected.basis})"
            )
    return lines


# ---- files --------------------------------------------------------------------------------


def _add_prefix(dataset: DataSet, name: str) -> str:
    return f"{dataset.name}-{name}"


def _remove_repeated(listing: Listing) -> Listing:
    """The listing with each id once; later clips of the same are listed as missing."""
    unique: dict[str, Example] = {}
    for example in listing.examples:
        if example.id in unique:
            other = unique[example.id]
            reason = f"a second clip of this name; used: {other.video or other.audio}"
            listing.omit(example.id, reason, example.split)
        else:
            unique[example.id] = example
    listing.examples = list(unique.values())
    return listing


def _read_other_rows(dataset: DataSet, out: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a manifest, as they are, that are not the data set's; none without the file."""
    if not out.exists():
        return []
    table = read_table(out, "a manifest (clips.csv)")
    header = parse_header(next(table, (1, []))[1])
    if "id" not in header or not set(header) <= set(COLUMNS):
        raise InputError(f"{out} row 1: found {','.join(header)[:80]!r}, expected a manifest")
    rows = (dict(zip(header, cells, strict=False)) for _, cells in table)
    return [row for row in rows if row.get("id") and not _is_ours(dataset, row["id"])]


def _is_ours(dataset: DataSet, name: str) -> bool:
    return name.startswith(_add_prefix(dataset, ""))


def _make_row(
    dataset: DataSet,
    example: Example,
    references: Mapping[str, str],
    alignments: Mapping[str, str],
) -> dict[str, str]:
    row = {
        "id": _add_prefix(dataset, example.id),
        "video": example.video,
        "audio": example.audio,
        "text": example.text,
        "speaker_audio": references.get(example.id),
        "alignment": alignments.get(example.id),
        "split": example.split,
        "task": example.task,
    }
    return {name: value or "" for name, value in row.items()}


def _write_alignments(dataset: DataSet, listing: Listing, out: pathlib.Path) -> dict[str, str]:
    """Writes phoneme times of the clips with word times; paths from the manifest's folder."""
    paths: dict[str, str] = {}
    for example in listing.examples:
        if not example.words:
            continue
        try:
            intervals = alignment.place_words(example.words)
        except InputError as error:
            listing.omit(example.id, str(error), example.split, ALIGNMENT_PART)
            continue
        path = f"{ALIGNMENTS}/{_add_prefix(dataset, example.id)}.csv"
        alignment.write_alignment(out.parent / path, intervals)
        paths[example.id] = path
    return paths


def _write_annotations(dataset: DataSet, examples: Iterable[Example], out: pathlib.Path) -> None:
    """Writes annotations.jsonl with those of other data sets kept."""
    annotations = read_annotations(out)
    lines = [line for name, line in annotations.items() if not _is_ours(dataset, name)]
    lines += [{"id": _add_prefix(dataset, e.id), **e.annotation} for e in examples if e.annotation]
    if lines or annotations:
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        write_text(out.with_name(ANNOTATIONS), text)


def _format_missing(dataset: DataSet, listing: Listing) -> str:
    entries = (
        (_add_prefix(dataset, entry.id), entry.split, entry.part, entry.reason)
        for entry in listing.missing
    )
    return _format_csv(MISSING_COLUMNS, entries)


def _format_csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


# ---- lines for the screen -------------------------------------------------------------------


def _describe(dataset: DataSet, listing: Listing, missing_path: pathlib.Path) -> list[str]:
    """What was found, and how it differs from what is known of the data set."""
    splits = collections.Counter(example.split for example in listing.examples)
    parts = collections.Counter(entry.part for entry in listing.missing)
    lines = [
        f"{dataset.name}: {len(listing.examples):,} clips: "
        + ", ".join(f"{splits[name]:,} {name}" for name in SPLITS)
    ]
    for part, count in sorted(parts.items()):
        lines.append(f"missing: {count:,} {part}s ({missing_path})")
    for name, count in listing.counts.items():
        known = dataset.expected.get(name)
        expected = f", expected {known.count:,} ({known.basis})" if known else ""
        lines.append(f"{name}: found {count:,}{expected}")
    lines += inspect_media(dataset.media, listing.examples)
    lines += listing.notes[:MAX_NOTES]
    if len(listing.notes) > MAX_NOTES:
        lines.append(f"and {len(listing.notes) - MAX_NOTES} more such lines")
    return lines


def _describe_voices(listing: Listing, references: Mapping[str, str]) -> list[str]:
    alone = sum(e.speaker is not None and e.id not in references for e in listing.examples)
    if not alone:
        return []
    return [f"{alone:,} clips are the only ones of their voice: they are their own reference"]
