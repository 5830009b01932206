"""A folder of ordinary videos: which clips it holds, and how damaged and unusual ones fare."""

import collections
import errno
import os
import shutil
import sys

import av
import numpy as np
import pytest
from helpers import fault_cases, fixtures, in_process
from helpers.manifests import read_records, read_skipped, run_prepare

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import build
from vssflow_jax.data import folder as folders
from vssflow_jax.features import thumbnails


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Faulty files and a few of MiniAV, prepared with one command."""
    folder, out = (tmp_path_factory.mktemp("odd") / name for name in ("videos", "shards"))
    seconds_of, reasons = fault_cases.write_faulty_folder(folder)
    corpus, settings = folder / "corpus", build.CorpusSettings(clips=9)
    for clip in build.plan_corpus(settings)[:3]:
        example = build.make_example(clip, settings)
        corpus.mkdir(exist_ok=True)
        media.write_video(corpus / f"{clip.id}.mp4", example.frames, 25, example.wave)
        seconds_of[f"corpus/{clip.id}"] = 4.0
    done = run_prepare(f"--videos={folder}", f"--out={out}", "--workers=2")
    assert done.returncode == 0, done.stderr
    return folder, out, seconds_of, reasons, done


def test_each_file_is_a_clip_or_listed_with_its_reason(prepared):
    folder, out, seconds_of, reasons, done = prepared
    rows = {folders._split_ending(os.path.relpath(row.video or row.audio, folder))[0]: row
            for row in folders.read_folder(folder)}  # fmt: skip
    assert rows.keys() == seconds_of.keys() | reasons.keys()
    skipped, records = read_skipped(out), read_records(out)
    assert skipped.keys() == {rows[name].id for name in reasons}
    assert [i for i in records if i.startswith("long cut")] == [f"long cut_{k}" for k in range(4)]
    for name, word in reasons.items():
        assert word in skipped[rows[name].id], name
    for name, seconds in seconds_of.items():
        own = rows[name].id
        parts = [r for clip, r in records.items() if clip == own or clip[:-1] == f"{own}_"]
        assert sum(r["meta"]["duration"] for r in parts) == pytest.approx(seconds), name
    assert f"skipped {len(reasons)} of {len(rows)} rows" in done.stderr
    assert "have no sound" in done.stderr
    for name, row in rows.items():
        assert row.id.isprintable() and "/" not in row.id and len(row.id.encode()) <= 200, name


def test_unusual_files_are_read_correctly(prepared):
    folder, out, *_ = prepared
    records = read_records(out)
    upright = media.read_video(folder / "plain.mp4").frames
    for name, frames in (("plain", upright), ("rotated", np.rot90(upright, -1, (1, 2)))):
        expected = thumbnails.make_thumbnails(np.ascontiguousarray(frames))[::5][:10].astype(
            np.float16
        )
        np.testing.assert_array_equal(records[name]["clip"][::2], expected)
    peaks = {name: find_peaks(records[name]["wave"]) for name in ("plain", "narrow", "wide")}
    assert peaks["plain"] == peaks["narrow"] == pytest.approx(440, abs=1)
    assert set(find_peaks(records["wide"]["wave"], 5)) >= {110, 220, 330, 550}, (
        "mixed, not one channel"
    )
    assert records["spoken"]["meta"]["text"] == "set blue at g nine now"
    assert records["spoken"]["phonemes"].any() and "wave" not in records["mute"]
    assert records["long_6"]["meta"]["duration"] == 5.0


def find_peaks(wave, count=1):
    """Hertz of the highest peaks of a wave's spectrum; one as a number."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    hertz = np.fft.rfftfreq(len(wave), 1 / 16_000)
    peaks = [k for k in range(1, len(hertz) - 1) if spectrum[k - 1 : k + 2].argmax() == 1]
    top = [round(hertz[k]) for k in sorted(peaks, key=lambda k: -spectrum[k])[:count]]
    return top[0] if count == 1 else top


BAD_DECODER = """
import os, signal, sys, time
try:
    import av
except ImportError:
    av = None
if av:
    real = av.open
    def open(file, *arguments, **options):
        if "crash" in os.path.basename(file):
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hang" in os.path.basename(file):
            time.sleep(1000)
        return real(file, *arguments, **options)
    av.open = open
"""


def test_a_decoder_that_hangs_or_crashes_costs_one_clip(tmp_path):
    fixtures.write_video(tmp_path / "videos" / "a.mp4")
    for name in ("b_hang", "c", "d_crash", "e"):
        shutil.copy(tmp_path / "videos" / "a.mp4", tmp_path / "videos" / f"{name}.mp4")
    (tmp_path / "sitecustomize.py").write_text(BAD_DECODER)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    flags = ("--workers=2", "--limit=6", "--test=0", "--valid=0", f"--out={tmp_path / 'out'}")
    environment = {**os.environ, "PYTHONPATH": paths}
    done = run_prepare(f"--videos={tmp_path / 'videos'}", *flags, env=environment)
    assert done.returncode == 0, done.stderr
    assert read_records(tmp_path / "out").keys() == {"a", "c", "e"}
    skipped = read_skipped(tmp_path / "out")
    assert "b_hang.mp4: took longer than 6 s" in skipped["b_hang"]
    assert "d_crash.mp4: crashed its process twice (SIGSEGV)" in skipped["d_crash"]


def test_shares_are_kept_and_splits_stay():
    names = [f"clip{n}" for n in range(4000)]
    splits = {name: folders.assign_split(name, 0.05, 0.1) for name in names}
    count = collections.Counter(splits.values())
    assert count["valid"] == pytest.approx(200, abs=50) and count["test"] == pytest.approx(
        400, abs=70
    )
    smaller = [folders.assign_split(name, 0.02, 0.1) for name in names]
    assert {s for s, t in zip(smaller, splits.values(), strict=True) if t == "test"} == {"test"}


def test_files_of_one_name_belong_together(tmp_path):
    names = "a.mp4 a.wav a.txt a.TextGrid b.mkv b.csv c.flac d.mp3 d.TXT x/a.mp4 x_a.mp4"
    for name in names.split():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("hello\n  you" if name.lower().endswith("txt") else "")
    rows = {os.path.relpath(row.video or row.audio, tmp_path): row
            for row in folders.read_folder(tmp_path)}  # fmt: skip
    assert list(rows) == ["a.mp4", "b.mkv", "d.mp3", "x_a.mp4", "x/a.mp4"]
    a = rows["a.mp4"]
    assert (a.id, a.text, a.task) == ("a", "hello you", "speech")
    assert a.audio == str(tmp_path / "a.wav") and a.alignment == str(tmp_path / "a.TextGrid")
    assert rows["b.mkv"].alignment is None, "phonemes without words"
    assert rows["d.mp3"].video is None and rows["d.mp3"].text == "hello you"
    ids = [row.id for row in rows.values()]
    assert len(set(ids)) == 5 and all(i.startswith("x_a-") for i in ids[3:])


def test_problems_with_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        folders.read_folder(tmp_path / "none")
    with pytest.raises(InputError, match="found no videos"):
        folders.read_folder(tmp_path)
    for shares in ((-0.1, 0), (0.6, 0.5), (float("nan"), 0)):
        with pytest.raises(InputError, match="--valid, --test"):
            folders.read_folder(tmp_path, *shares)
    flags = (f"--videos={tmp_path}", "--manifest=x.csv", f"--out={tmp_path / 'o'}")
    both = in_process.run("prepare", *flags)
    assert both.returncode == 2 and "expected one of them" in both.stderr
    assert not (tmp_path / "o").exists()


def test_names_that_look_like_addresses_are_files(tmp_path):
    """FFmpeg takes what stands before a colon for a protocol."""
    fixtures.write_video(tmp_path / "http:a?b=%20d.mp4")
    row = folders.read_folder(tmp_path)[0]
    assert media.probe(row.video).duration == pytest.approx(2.0)
    assert av.open(row.video).streams.video


def write_names(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("set blue")


def test_files_that_belong_to_no_clip_are_listed(tmp_path):
    used = ("a.mp4", "a.txt", "a.TextGrid", "a.wav", "b.wav", "b.txt", "sub/c.mp4", "d.MTS")
    unused = ("a.flac", "a.srt", "alone.txt", "lonely.wav", "sub/c.TextGrid", "x.mp3", "e.gif",
              "notes.md", "a.mp4.part")  # fmt: skip
    write_names(tmp_path, *used, *unused, ".hidden.wav", "annotations.jsonl")
    write_names(tmp_path / "shards", "dataset.json", "skipped.csv", "train-00000.array_record")
    write_names(tmp_path / "elsewhere", "f.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert folders.find_unused(tmp_path) == sorted([*unused, "link"])
    assert [row.id for row in folders.read_folder(tmp_path)] == [
        "a",
        "b",
        "d",
        "elsewhere_f",
        "sub_c",
    ]


def test_what_macos_writes_beside_each_file_is_ignored(tmp_path):
    write_names(tmp_path, "a.mp4", "._a.mp4", "._a.txt", "__MACOSX/._a.mp4", "__MACOSX/b.mp4")
    (row,) = folders.read_folder(tmp_path)
    assert row.id == "a" and row.text is None and not folders.find_unused(tmp_path)


def test_empty_transcripts_are_listed(tmp_path):
    write_names(tmp_path, "a.mp4", "a.txt", "sub/b.mp4", "c.mp4", "alone.txt")
    (tmp_path / "sub" / "b.TXT").touch()
    (tmp_path / "c.txt").write_text(" \n", encoding="utf-16")
    assert folders.find_empty_transcripts(tmp_path) == ["c.txt", "sub/b.TXT"]
    assert [row.task for row in folders.read_folder(tmp_path)] == ["speech", "sound", "sound"]


@pytest.mark.parametrize("name", ["a.3gp", "a.MTS", "a.ogv", "a.vob", "a.mxf", "a.aiff", "a.oga"])
def test_less_common_endings_are_media(tmp_path, name):
    write_names(tmp_path, name, "a.txt")
    (row,) = folders.read_folder(tmp_path)
    assert (row.video or row.audio) == str(tmp_path / name) and row.text == "set blue"


def test_accents_in_either_form_are_one_name(tmp_path):
    write_names(tmp_path, "e\u0301.mp4", "\u00e9.txt", "\u00fc.mp4", "u\u0308.wav")
    rows = folders.read_folder(tmp_path)
    assert [(row.text, row.audio is not None) for row in rows] == [
        ("set blue", False),
        (None, True),
    ]
    assert not folders.find_unused(tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    write_names(tmp_path, "a.mp4", "closed/b.mp4")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="closed: Permission denied, expected a folder"):
        folders.read_folder(tmp_path)
