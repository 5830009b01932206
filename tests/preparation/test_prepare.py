"""The call and the command: options, skipped clips, and errors."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import fixtures, in_process, odd_media
from helpers.manifests import BAD, BROKEN, GOOD, read_skipped, run_prepare, write_manifest
from helpers.paths import ROOT

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.preparation.prepare import PrepareOptions, prepare


def test_keywords_replace_options(corpus, tmp_path):
    path = write_manifest(corpus, ["b,1.mp4,,,,,train,"], "options.csv")
    options = PrepareOptions(workers=0, max_seconds=1.0, progress=False)
    windows = prepare(path, tmp_path / "windows", options)
    assert windows["splits"]["train"]["clips"] == 2 and windows["max_seconds"] == 1.0
    info = prepare(path, tmp_path / "clips", options, max_seconds=2.0)
    assert info["splits"]["train"]["clips"] == 1 and info["max_seconds"] == 2.0
    with pytest.raises(TypeError, match="seconds"):
        prepare(path, tmp_path / "other", seconds=2.0)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"max_seconds": 0.0}, "--max_seconds: found 0 s, expected more than 0"),
        ({"max_seconds": float("nan")}, "--max_seconds: found nan s"),
        ({"overlap": 10.0}, "--overlap: found 10 s, expected 0 to less than 10"),
        ({"overlap": -1.0}, "--overlap: found -1 s"),
        ({"time_limit": float("nan")}, "--limit: found nan s, expected at most 1000000"),
        ({"time_limit": float("inf")}, "--limit: found inf s"),
    ],
)
def test_lengths_out_of_range_are_named(lengths, message):
    with pytest.raises(InputError, match=message):
        PrepareOptions(**lengths)


def test_broken_clips_are_skipped_and_named(corpus, tmp_path, capsys):
    path = write_manifest(corpus, [*BROKEN, "b,1.mp4,,,,,train,"], "bad.csv")
    info = prepare(path, tmp_path / "out", workers=0, max_seconds=4.0)
    assert info["splits"]["train"]["clips"] == 1 and info["skipped"] == len(BAD)
    skipped = read_skipped(tmp_path / "out")
    assert list(skipped) == [f"bad{n}" for n in range(len(BAD))]
    for reason, (_, message) in zip(skipped.values(), BAD, strict=True):
        assert message in reason and "\n" not in reason
    error = capsys.readouterr().err
    assert "WARNING: skipped 11 of 12 rows" in error and "bad0: " in error


def write_odd_sources(folder):
    """A manifest of clips whose sound has a gap, no data, another track, or needs a note."""
    click, chunks = odd_media.make_click, odd_media.split_chunks
    gap = [*chunks(click(2, [1])), *chunks(click(2, [1]), 4 * odd_media.RATE)]
    odd_media.write_media(folder / "gap.mkv", 150, [("pcm_s16le", "mono", gap)])
    odd_media.write_media(folder / "hollow.mkv", 50, [("pcm_s16le", "mono", [])])
    tracks = [("pcm_s16le", "mono", chunks(click(2, [k / 2]))) for k in (1, 2)]
    odd_media.write_media(folder / "tracks.mkv", 50, tracks)
    odd_media.write_media(folder / "mute.mkv", 50)
    tone = fixtures.make_tone(2)
    odd_media.write_float_wav(folder / "opposite.wav", np.stack([tone, -tone], 1))
    odd_media.write_float_wav(folder / "long.wav", fixtures.make_tone(5))
    (folder / "clips.csv").write_text(
        "id,video,audio,split\ngap,gap.mkv,,train\nhollow,hollow.mkv,,train\n"
        "tracks,tracks.mkv,,train\nopposite,mute.mkv,opposite.wav,train\n"
        "long,mute.mkv,long.wav,train\n"
    )
    return folder / "clips.csv"


def test_sound_is_never_lost_without_a_line(tmp_path, capsys):
    manifest = write_odd_sources(tmp_path)
    info = prepare(manifest, tmp_path / "shards", workers=0)
    lines = capsys.readouterr().err.splitlines()
    assert sum("note: opposite: " in line and "opposite phase" in line for line in lines) == 1
    assert sum("note: long: " in line and "found 5.00 s of sound" in line for line in lines) == 1
    assert (
        sum("note: gap: " in line and "no sound from 2.00 to 4.00 s" in line for line in lines) == 1
    )
    assert set(info["notes"]) == {"opposite", "long", "gap"}
    records = {r["meta"]["id"]: r for r in shards.open_split(tmp_path / "shards", "train")}
    clicks = {
        name: odd_media.find_clicks(records[name]["wave"] / 32_768) for name in ("gap", "tracks")
    }
    assert clicks == {"gap": [1.0, 5.0], "tracks": [0.5]}
    assert "wave" not in records["hollow"] and "sound_notes" not in records["tracks"]["meta"]
    assert "opposite phase" in records["opposite"]["meta"]["sound_notes"][0]


def test_another_audio_track_can_be_prepared(tmp_path):
    manifest = write_odd_sources(tmp_path)
    manifest.write_text("id,video,split\ntracks,tracks.mkv,train\ngap,gap.mkv,train\n")
    info = prepare(manifest, tmp_path / "shards", workers=0, audio_track=2)
    records = list(shards.open_split(tmp_path / "shards", "train"))
    assert odd_media.find_clicks(records[0]["wave"] / 32_768) == [1.0]
    assert info["skipped"] == 1
    assert "found 1 audio tracks" in read_skipped(tmp_path / "shards")["gap"]


def test_a_manifest_without_usable_clips_is_an_error(corpus, tmp_path):
    path = write_manifest(corpus, ["x,gone.mp4,,,,,train,"], "none.csv")
    with pytest.raises(InputError, match=r"none.csv: all 1 clips were skipped.* x: .*gone.mp4"):
        prepare(path, tmp_path / "out", workers=0, progress=False)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_two_runs_of_different_rows_in_one_folder_are_an_error(corpus, tmp_path, monkeypatch):
    path = write_manifest(corpus, ["k0,0.mp4,,,,,train,"], "mine.csv")
    monkeypatch.setattr("vssflow_jax.preparation.shard_jobs.is_finished", lambda job: False)
    with pytest.raises(InputError, match="found a shard of other rows"):
        prepare(path, tmp_path, workers=0, progress=False)


@pytest.mark.slow
def test_the_benchmark_prints_its_tables(corpus):
    path = write_manifest(corpus, GOOD[:3], "benchmark.csv")
    script = ROOT / "benchmarks" / "preparing.py"
    command = [sys.executable, script, f"--manifest={path}", "--workers=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| encode: sync | 3 |" in done.stdout and "| 3 | 1 |" in done.stdout


def test_the_command_line(corpus, tmp_path):
    path = write_manifest(corpus, ["b,1.mp4,,,,,train,", "x,gone.mp4,,,,,train,"], "command.csv")
    done = run_prepare(f"--manifest={path}", f"--out={tmp_path / 'out'}", "--workers=1")
    assert done.returncode == 0 and "prepared 1 clips" in done.stdout
    assert "prepare: 100%" in done.stderr and "x: " in done.stderr
    (tmp_path / "file").write_text("")
    for flags, word in (
        ([f"--manifest={tmp_path / 'no.csv'}", f"--out={tmp_path / 'o'}"], "no such file"),
        ([f"--manifest={path}", f"--out={tmp_path / 'file'}"], "found a file"),
        ([f"--manifest={path}"], "--out"),
        ([f"--manifest={path}", f"--out={tmp_path / 'o'}", "--manifets=x"], "manifets"),
        (
            [f"--manifest={path}", "--valid=0.5"],
            "--valid: found beside --manifest, expected without",
        ),
        ([f"--check={tmp_path}", "--latents=x"], "--latents: found beside --check"),
        ([f"--check={tmp_path}", "--encoders=bundled"], "--encoders: found beside --check"),
        (["--latents=x", "--workers=2"], "--workers: found without --manifest or --videos"),
        ([f"--manifest={path}", f"--videos={tmp_path}"], "--manifest and --videos"),
    ):
        done = in_process.run("prepare", *flags)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and word in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_how_many_clips_lack_sound_text_and_lips_is_said(corpus, tmp_path, capsys):
    rows = ["a,1.mp4,,,,,train,", "b,silent.mp4,,,,,train,", "c,2.mp4,,,,,test,"]
    prepare(write_manifest(corpus, rows, "lacking.csv"), tmp_path / "out", workers=0)
    lines = capsys.readouterr().out.splitlines()
    train, test = (
        next(line for line in lines if line.startswith(f"{name}: ")) for name in ("train", "test")
    )
    assert train.startswith("train: 1 of 2 clips without sound, 2 of 2 clips without text, ")
    assert test.startswith("test: 0 of 1 clips without sound, 1 of 1 clips without text, ")
    assert train.endswith(" of 2 clips without lips") and "valid: " not in "".join(lines)


def test_a_clip_named_like_a_window_of_a_long_one_is_refused_before_any_work(corpus, tmp_path):
    rows = ["long,long.mp4,,,,,train,", "long_1,1.mp4,,,,,test,"]
    path, out = write_manifest(corpus, rows, "windows.csv"), tmp_path / "out"
    with pytest.raises(InputError, match=r"row 3, field id: found 'long_1', .* window .* 'long'"):
        prepare(path, out, workers=0, max_seconds=2.0, progress=False)
    assert not out.exists()
    kept = prepare(path, out, workers=0, max_seconds=6.0, progress=False)
    assert kept["splits"]["test"]["clips"] == 1
    others = ["long,long.mp4,,,,,train,", "long_01,1.mp4,,,,,test,", "long_9,1.mp4,,,,,test,"]
    path = write_manifest(corpus, others, "windows.csv")
    prepare(path, tmp_path / "others", workers=0, max_seconds=2.0, progress=False)


def test_names_of_windows_of_a_long_sound_are_refused_too(corpus, tmp_path):
    media.write_wav(corpus / "long.wav", fixtures.make_tone(5.0, 150.0))
    rows = ["long,,long.wav,,,,train,", "long_1,1.mp4,,,,,test,"]
    path, out = write_manifest(corpus, rows, "sounds.csv"), tmp_path / "out"
    with pytest.raises(InputError, match=r"row 3, field id: found 'long_1', .* window .* 'long'"):
        prepare(path, out, workers=0, max_seconds=2.0, progress=False)
    assert not out.exists()
