"""Manifests for tests of `prepare`, and what is in the shards that it writes."""

import csv
import subprocess
import sys

from vssflow_jax.data import shards
from vssflow_jax.data.manifest import COLUMNS, SPLITS
from vssflow_jax.text import alignment

# Rows of a manifest for the media of tests/preparation/conftest.py.
SENTENCE = "set blue at g nine now"
TIMES = alignment.place_phonemes(["S", "EH1", "T"], 0.5, 1.1, {})
GOOD = [
    f"a,0.mp4,,{SENTENCE},voice.wav,0.csv,train,",
    "b,1.mp4,,,,,train,",
    f"c,2.mp4,,{SENTENCE},,,train,joint",
    f"d,,voice.wav,{SENTENCE},,,valid,",
    f"e,silent.mp4,,{SENTENCE},voice.wav,,test,",
    "f,silent.mp4,voice.wav,,,,test,sound",
]
# The row without its id, and a part of the reason why it is skipped.
BAD = [
    ("gone.mp4,,,,,train,", "no such file"),
    ("text.mp4,,,,,train,", "not a media file"),
    ("cut.mp4,,,,,train,", "truncated"),
    ("0.mp4,,...,,,train,", "no words"),
    ("0.mp4,,世界,,,train,", "expected characters that can be pronounced"),
    ("0.mp4,silent.mp4,,,,train,", "no audio stream"),
    (f"0.mp4,,{SENTENCE},silence.wav,,train,", "silence.wav: speaker audio: found silence"),
    (f"0.mp4,,{SENTENCE},,gone.csv,train,", "gone.csv: no such file"),
    (f"0.mp4,,{' '.join([SENTENCE] * 9)},,,train,", "phonemes"),
    (f"long.mp4,,{SENTENCE},,long.csv,train,", "expected at most 4 s or pauses"),
    ("long.mp4,,bin blue,,0.csv,train,", "the phonemes 'S EH1 T' in the alignment for 'bin'"),
]
BROKEN = [f"bad{number},{row}" for number, (row, _) in enumerate(BAD)]


def write_manifest(folder, rows, name="clips.csv"):
    """Writes a manifest with all columns but the lips; returns its path."""
    path = folder / name
    path.write_text("\n".join([",".join(COLUMNS[:-1]), *rows]) + "\n", encoding="utf-8")
    return path


def run_prepare(*flags, **options):
    """Runs the command to its end."""
    command = [sys.executable, "-m", "vssflow_jax.prepare", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def read_records(out):
    """All records of a folder of shards by id."""
    splits = [shards.open_split(out, split) for split in SPLITS]
    return {record["meta"]["id"]: record for split in splits for record in split}


def read_skipped(out):
    """The reasons of skipped.csv by id."""
    with open(out / "skipped.csv", encoding="utf-8", newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def read_files(folder):
    """The bytes of the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
