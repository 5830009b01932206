"""The files of a corpus: reproducible, complete, of every task in every split."""

import hashlib
import itertools
import pathlib

import numpy as np
import pytest

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import (
    build,
    render,
    sounds,
    voices,
)
from vssflow_jax.text import alignment, phonemes

CLIPS, SEED = 12, 5  # of the fixture `corpus`


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_same_files_from_the_same_seed_for_any_number_of_processes(corpus, tmp_path):
    build.build_corpus(tmp_path, CLIPS, SEED, workers=2, progress=False)
    assert digests(tmp_path) == digests(corpus)


def test_another_seed_gives_another_clip():
    clip = build.plan_corpus(CLIPS)[1]
    assert not np.array_equal(build.make_example(clip, 1).wave, build.make_example(clip, 2).wave)


def test_a_clip_does_not_depend_on_the_clips_made_before_it():
    clip = build.plan_corpus(CLIPS)[2]
    first = build.make_example(clip, SEED)
    build.make_example(build.plan_corpus(CLIPS)[0], SEED)
    again = build.make_example(clip, SEED)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.wave, again.wave)


def test_small_corpus_has_every_task_in_every_split(rows):
    assert {(row["task"], row["split"]) for row in rows} == {
        (task, split) for task in build.TASKS for split in ("train", "valid", "test")
    }


def test_default_size_has_enough_held_out_clips_and_all_voices_and_classes():
    planned = build.plan_corpus(build.DEFAULT_CLIPS)
    assert len({clip.id for clip in planned}) == build.DEFAULT_CLIPS
    for task in build.TASKS:
        clips = [clip for clip in planned if clip.task == task]
        assert sum(clip.split == "test" for clip in clips) == build.NUM_TEST
        assert sum(clip.split == "valid" for clip in clips) == build.NUM_VALID
        tested = [clip for clip in clips if clip.split == "test"]
        if task != "sound":
            assert {clip.voice for clip in tested} == set(voices.BY_NAME)
        if task != "speech":
            assert {clip.sound_class for clip in tested} == set(sounds.CLASSES)


def test_a_complete_corpus_is_kept_and_another_is_refused(corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    build.build_corpus(corpus, CLIPS, SEED, workers=1, progress=False)
    assert "already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    with pytest.raises(InputError, match=r"--out: found .*clips\.csv"):
        build.build_corpus(corpus, CLIPS, SEED + 1, workers=1, progress=False)


def test_too_few_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="--clips: found 5"):
        build.build_corpus(tmp_path / "x", 5, 0, workers=1)
    assert not (tmp_path / "x").exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        build.build_corpus(tmp_path / "x", CLIPS, SEED, workers=1)


def test_an_interrupted_build_leaves_no_manifest_and_starts_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(build.media, "write_video", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            build.build_corpus(tmp_path, 9, SEED, workers=1, progress=False)
    assert not (tmp_path / "clips.csv").exists()
    build.build_corpus(tmp_path, 9, SEED, workers=1, progress=False)
    assert len((tmp_path / "clips.csv").read_text().splitlines()) == 10


def test_files_hold_the_example(corpus, rows):
    planned = {clip.id: clip for clip in build.plan_corpus(CLIPS)}
    for row in rows[:3]:
        example = build.make_example(planned[row["id"]], SEED)
        frames, wave = example.frames, example.wave
        info = media.probe(corpus / row["video"])
        assert (info.frames, info.width, info.height) == (build.FRAMES, render.SIDE, render.SIDE)
        assert info.fps == render.RATE and info.has_audio
        video = media.read_video(corpus / row["video"])
        assert video.frames.shape == frames.shape
        assert np.abs(video.frames.astype(float) - frames).mean() < 6
        recorded = media.read_audio(corpus / row["video"])
        assert abs(len(recorded) - len(wave)) <= 1024
        count = min(len(recorded), len(wave))
        assert np.corrcoef(recorded[:count], wave[:count])[0, 1] > 0.97  # in step, to the sample


def test_paths_in_the_manifest_exist_and_the_reference_is_of_the_speaker(corpus, rows, annotations):
    for row in rows:
        for column in ("video", "alignment", "speaker_audio"):
            assert not row[column] or (corpus / row[column]).is_file()
        if row["task"] == "sound":
            assert not (row["text"] or row["speaker_audio"] or row["alignment"])
            assert "speaker" not in annotations[row["id"]] and "mouth" not in annotations[row["id"]]
        else:
            assert f"/{annotations[row['id']]['speaker']}_" in row["speaker_audio"]
        assert ("sound_class" in annotations[row["id"]]) == (row["task"] != "speech")


def test_alignment_is_of_the_transcript_and_in_order(corpus, rows):
    for row in rows:
        if row["text"]:
            spans = alignment.read_alignment(corpus / row["alignment"])
            words = row["text"].split()
            wanted = [s for word in voices.pronounce_sentence(words) for s in word]
            assert [span.symbol for span in spans] == wanted
            assert set(wanted) <= set(phonemes.IDS)
            assert all(a.end <= b.start + 1e-3 for a, b in itertools.pairwise(spans))
            assert all(0 <= a.start < a.end <= build.DURATION for a in spans)


def test_alignment_covers_the_energy_of_speech_and_little_else(corpus, rows):
    for row in rows:
        if row["task"] == "speech":
            wave = media.read_audio(corpus / row["video"])
            times = np.arange(len(wave)) / 16_000
            inside = np.zeros(len(wave), bool)
            for start, end, _ in alignment.read_alignment(corpus / row["alignment"]):
                inside |= (times >= start) & (times < end)
            power = wave.astype(float) ** 2
            assert power[inside].sum() / power.sum() > 0.98
            assert inside.mean() < 0.8
