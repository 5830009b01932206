"""The files of a corpus: reproducible, complete, of every task in every split."""

import hashlib
import itertools
import pathlib
from dataclasses import replace

import numpy as np
import pytest

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import build, render, sentences, sounds, visemes, voices
from vssflow_jax.data import lip_track, manifest
from vssflow_jax.text import alignment, normalize, phonemes

SETTINGS = build.CorpusSettings(clips=12, seed=5)  # of the fixture `corpus`
SMALL = build.CorpusSettings(clips=9, seed=5)


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_same_files_from_the_same_seed_for_any_number_of_processes(corpus, tmp_path):
    build.build_corpus(tmp_path, SETTINGS, workers=2, progress=False)
    assert digests(tmp_path) == digests(corpus)


def test_another_seed_gives_another_clip():
    clip = build.plan_corpus(SETTINGS)[1]
    waves = [build.make_example(clip, replace(SETTINGS, seed=seed)).wave for seed in (1, 2)]
    assert not np.array_equal(*waves)


def test_a_clip_does_not_depend_on_the_clips_made_before_it():
    clip = build.plan_corpus(SETTINGS)[2]
    first = build.make_example(clip, SETTINGS)
    build.make_example(build.plan_corpus(SETTINGS)[0], SETTINGS)
    again = build.make_example(clip, SETTINGS)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.wave, again.wave)


def test_small_corpus_has_every_task_in_every_split(rows):
    assert {(row["task"], row["split"]) for row in rows} == {
        (task, split) for task in build.TASKS for split in ("train", "valid", "test")
    }


def test_default_size_has_enough_held_out_clips_and_all_voices_and_classes():
    planned = build.plan_corpus(build.CorpusSettings())
    assert len({clip.id for clip in planned}) == build.DEFAULT_CLIPS
    for task in build.TASKS:
        clips = [clip for clip in planned if clip.task == task]
        assert sum(clip.split == "test" for clip in clips) == build.NUM_TEST
        assert sum(clip.split == "valid" for clip in clips) == build.NUM_VALID
        tested = [clip for clip in clips if clip.split == "test"]
        if task != "sound":
            assert {clip.voice for clip in tested} == {
                voice.name for voice in voices.load_voices("espeak").voices
            }
        if task != "speech":
            assert {clip.sound_class for clip in tested} == set(sounds.CLASSES)


def test_a_complete_corpus_is_kept_and_another_is_refused(corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    build.build_corpus(corpus, SETTINGS, workers=1, progress=False)
    assert "already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    with pytest.raises(InputError, match=r"--out: found .*clips\.csv"):
        build.build_corpus(corpus, replace(SETTINGS, seed=6), workers=1, progress=False)


def test_too_few_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="--clips: found 5"):
        build.build_corpus(tmp_path / "x", build.CorpusSettings(clips=5), workers=1)
    assert not (tmp_path / "x").exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        build.build_corpus(tmp_path / "x", SETTINGS, workers=1)


def test_a_stopped_build_leaves_no_manifest_and_goes_on_where_it_was(tmp_path, monkeypatch):
    write_video, written = build.media.write_video, []

    def write(path, *rest):
        if len(written) == 8:  # all of the first job
            raise OSError("full")
        written.append(path.name)
        write_video(path, *rest)

    monkeypatch.setattr(build.media, "write_video", write)
    with pytest.raises(OSError, match="full"):
        build.build_corpus(tmp_path, SMALL, workers=1, progress=False)
    assert not (tmp_path / "clips.csv").exists()
    monkeypatch.setattr(build.media, "write_video", lambda path, *rest: (
        written.append(path.name), write_video(path, *rest)))  # fmt: skip
    build.build_corpus(tmp_path, SMALL, workers=1, progress=False)
    assert len((tmp_path / "clips.csv").read_text().splitlines()) == 10
    assert len(written) == len(set(written)) == 9
    assert not (tmp_path / build.NOTES).exists()


def test_what_other_settings_have_written_is_written_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(build, "_write_tables", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            build.build_corpus(tmp_path, replace(SMALL, seed=6), workers=1, progress=False)
    build.build_corpus(tmp_path, SMALL, workers=1, progress=False)
    plan = build.plan_corpus(SMALL)[0]
    expected = build.make_example(plan, SMALL).wave
    recorded = media.read_audio(tmp_path / f"videos/{plan.id}.mp4")
    count = min(len(recorded), len(expected))
    assert np.corrcoef(recorded[:count], expected[:count])[0, 1] > 0.97


def test_files_hold_the_example(corpus, rows):
    planned = {clip.id: clip for clip in build.plan_corpus(SETTINGS)}
    for row in rows[:3]:
        example = build.make_example(planned[row["id"]], SETTINGS)
        frames, wave = example.frames, example.wave
        info = media.probe(corpus / row["video"])
        assert (info.frames, info.width, info.height) == (100, render.SIDE, render.SIDE)
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
        for column in ("video", "alignment", "speaker_audio", "lips"):
            assert not row[column] or (corpus / row[column]).is_file()
        if row["task"] == "sound":
            assert not (row["text"] or row["speaker_audio"] or row["alignment"] or row["lips"])
            assert "speaker" not in annotations[row["id"]] and "mouth" not in annotations[row["id"]]
        else:
            assert f"/{annotations[row['id']]['speaker']}_" in row["speaker_audio"]
        assert ("sound_class" in annotations[row["id"]]) == (row["task"] != "speech")


def test_lip_tracks_have_a_row_a_frame_and_open_with_the_drawn_mouth(corpus, rows):
    planned = {clip.id: clip for clip in build.plan_corpus(SETTINGS)}
    for row in (row for row in rows if row["task"] == "speech"):
        track = lip_track.read_lip_track(corpus / row["lips"])
        assert len(track.seen) == 100
        spans = build.make_example(planned[row["id"]], SETTINGS).intervals
        opened = visemes.trace_mouth(spans, 100, 25.0)[:, 0]
        seen = track.seen
        assert np.corrcoef(opened[seen], track.measurements[seen, 0])[0, 1] > 0.85


def test_alignment_is_of_the_transcript_and_in_order(corpus, rows):
    for row in rows:
        if row["text"]:
            spans = alignment.read_alignment(corpus / row["alignment"])
            words = normalize.words(row["text"])
            wanted = [s for word in phonemes.pronounce(words) for s in word]
            assert [span.symbol for span in spans] == wanted
            assert set(wanted) <= set(phonemes.IDS)
            assert all(a.end <= b.start + 1e-3 for a, b in itertools.pairwise(spans))
            assert all(0 <= a.start < a.end <= SETTINGS.seconds for a in spans)


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


# ---- other voices and sentences -----------------------------------------------------------


@pytest.fixture(scope="module")
def open_speech(tmp_path_factory):
    """A small corpus of hibari's voices and open English without pictures, and its rows."""
    pytest.importorskip("hibari")
    out = tmp_path_factory.mktemp("open")
    settings = build.CorpusSettings(
        clips=0, audio_clips=20, seed=1, voices="hibari", sentences="open", audio_seconds=6.0
    )
    build.build_corpus(out, settings, workers=1, progress=False)
    return settings, out, manifest.read_manifest(out / "clips.csv")


def test_clips_of_sound_alone_are_as_long_as_their_sentences(open_speech):
    settings, out, rows = open_speech
    annotations = manifest.read_annotations(out / "clips.csv")
    lengths = []
    for row in rows:
        assert row.video is None and row.task == "speech"
        wave = media.read_audio(row.audio)
        lengths.append(len(wave) / 16_000)
        spans = alignment.read_alignment(row.alignment)
        assert spans[0].start >= build.LEAD and spans[-1].end <= lengths[-1] - build.TAIL
        times = np.arange(len(wave)) / 16_000
        inside = np.logical_or.reduce([(times >= a) & (times < b) for a, b, _ in spans])
        power = wave.astype(float) ** 2
        assert power[inside].sum() / power.sum() > 0.95
        assert annotations[row.id]["speaker"] in str(row.speaker_audio)
        assert pathlib.Path(row.speaker_audio).is_file()
    assert max(lengths) <= settings.audio_seconds and len(set(lengths)) > 10


def test_held_out_voices_are_in_tests_alone(open_speech):
    _, out, rows = open_speech
    annotations = manifest.read_annotations(out / "clips.csv")
    held_out = {row.split for row in rows if annotations[row.id].get("held_out")}
    assert held_out and "train" not in held_out


def test_the_same_settings_are_needed_to_go_on(open_speech):
    settings, out, _ = open_speech
    build.build_corpus(out, settings, workers=1, progress=False)
    with pytest.raises(InputError, match=r"expected .*audio_seconds"):
        build.build_corpus(out, replace(settings, audio_seconds=5.0), workers=1, progress=False)


def test_clips_of_sound_alone_beside_videos_are_for_training_and_leave_the_videos_as_they_are():
    videos = build.plan_corpus(build.CorpusSettings(clips=24))
    both = build.plan_corpus(build.CorpusSettings(clips=24, audio_clips=6))
    assert both[:24] == videos
    assert [(plan.task, plan.split, plan.has_video) for plan in both[24:]] == (
        [("speech", "train", False)] * 6
    )
    assert len({plan.id for plan in both}) == len({plan.number for plan in both}) == 30


def test_videos_and_clips_of_sound_alone_say_sentences_of_their_own(tmp_path):
    """Videos of the GRID grammar, sound of a file's lines; without a second set both have one."""
    lines = tmp_path / "lines.txt"
    texts = [f"the {animal} was here" for animal in ("cat", "dog", "cow", "hen", "ewe")]
    lines.write_text("\n".join(texts))
    settings = build.CorpusSettings(clips=9, audio_clips=2, audio_sentences=str(lines))
    spoken = {
        plan.has_video: build.make_example(plan, settings).row["text"]
        for plan in build.plan_corpus(settings)
        if plan.task == "speech"
    }
    assert spoken[True].split()[0] in sentences.GRAMMAR[0]
    assert spoken[False] in texts
    (plan,) = build.plan_corpus(settings)[-1:]
    text = build.make_example(plan, replace(settings, audio_sentences="")).row["text"]
    assert text.split()[0] in sentences.GRAMMAR[0]


def test_an_unknown_second_set_of_sentences_is_refused(tmp_path):
    settings = build.CorpusSettings(clips=9, audio_clips=9, audio_sentences="none.txt")
    with pytest.raises(InputError, match=r"none\.txt: no such file, expected grid, open or a text"):
        build.build_corpus(tmp_path / "x", settings)


def test_faces_say_open_english_in_a_natural_voice():
    pytest.importorskip("hibari")
    settings = build.CorpusSettings(clips=9, voices="hibari", sentences="open")
    for plan in build.plan_corpus(settings)[3:6]:
        example = build.make_example(plan, settings)
        assert example.frames.shape == (100, render.SIDE, render.SIDE, 3)
        assert len(example.wave) == 64_000
        if plan.task != "sound":
            words = normalize.words(example.row["text"])
            assert len(example.intervals) >= 2 * len(words)


def test_wrong_lengths_are_refused(tmp_path):
    with pytest.raises(InputError, match="--seconds: found 1, expected 2 to 30"):
        build.build_corpus(tmp_path / "x", build.CorpusSettings(seconds=1.0))
    with pytest.raises(InputError, match="--audio_seconds: found 31, expected 2 to 30"):
        build.build_corpus(tmp_path / "x", build.CorpusSettings(audio_seconds=31.0))
    with pytest.raises(InputError, match="--clips: found 0, expected at least 9"):
        build.build_corpus(tmp_path / "x", build.CorpusSettings(clips=0, audio_clips=3))
