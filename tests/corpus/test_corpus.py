import csv
import hashlib
import itertools
import json
import pathlib

import librosa
import numpy as np
import pytest

from vssflow_jax import conditions, media
from vssflow_jax.common.errors import InputError
from vssflow_jax.corpus import (
    build,
    face,
    phoneme_times,
    props,
    render,
    scenes,
    sentences,
    sounds,
    visemes,
    voices,
)
from vssflow_jax.text import alignment, phonemes

CLIPS, SEED = 12, 5
FRAME = 1 / render.RATE


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("miniav")
    build.build(out, CLIPS, SEED, workers=1, progress=False)
    return out


@pytest.fixture(scope="module")
def rows(corpus):
    with open(corpus / "clips.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def notes(corpus):
    lines = (corpus / "annotations.jsonl").read_text().splitlines()
    return {note["id"]: note for note in map(json.loads, lines)}


# ---- the whole ----------------------------------------------------------------------------


def test_same_files_from_the_same_seed_for_any_number_of_processes(corpus, tmp_path):
    build.build(tmp_path, CLIPS, SEED, workers=2, progress=False)
    assert digests(tmp_path) == digests(corpus)


def test_another_seed_gives_another_clip():
    clip = build.plan(CLIPS)[1]
    assert not np.array_equal(build.make(clip, 1).wave, build.make(clip, 2).wave)


def test_a_clip_does_not_depend_on_the_clips_made_before_it():
    clip = build.plan(CLIPS)[2]
    first = build.make(clip, SEED)
    build.make(build.plan(CLIPS)[0], SEED)
    again = build.make(clip, SEED)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.wave, again.wave)


def test_small_corpus_has_every_task_in_every_split(rows):
    assert {(row["task"], row["split"]) for row in rows} == {
        (task, split) for task in build.TASKS for split in ("train", "valid", "test")
    }


def test_default_size_has_enough_held_out_clips_and_all_voices_and_classes():
    planned = build.plan(build.CLIPS)
    assert len({clip.id for clip in planned}) == build.CLIPS
    for task in build.TASKS:
        clips = [clip for clip in planned if clip.task == task]
        assert sum(clip.split == "test" for clip in clips) == build.TEST
        assert sum(clip.split == "valid" for clip in clips) == build.VALID
        tested = [clip for clip in clips if clip.split == "test"]
        if task != "sound":
            assert {clip.voice for clip in tested} == set(voices.BY_NAME)
        if task != "speech":
            assert {clip.sound_class for clip in tested} == set(sounds.CLASSES)


def test_no_sentence_is_in_two_splits():
    said = {}
    for split in ("train", "valid", "test"):
        rng = np.random.default_rng(0)
        said[split] = {tuple(sentences.draw_sentence(split, rng)) for _ in range(3000)}
        for words in said[split]:
            assert all(word in slot for word, slot in zip(words, sentences.GRAMMAR, strict=True))
    assert not said["train"] & said["test"]
    assert not said["train"] & said["valid"]
    assert not said["valid"] & said["test"]


def test_whole_corpus_is_left_alone_and_another_is_refused(corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    build.build(corpus, CLIPS, SEED, workers=1, progress=False)
    assert "already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    with pytest.raises(InputError, match=r"--out: found .*clips\.csv"):
        build.build(corpus, CLIPS, SEED + 1, workers=1, progress=False)


def test_too_few_clips_are_refused(tmp_path):
    with pytest.raises(InputError, match="--clips: found 5"):
        build.build(tmp_path / "x", 5, 0, workers=1)
    assert not (tmp_path / "x").exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        build.build(tmp_path / "x", CLIPS, SEED, workers=1)


def test_an_interrupted_build_leaves_no_manifest_and_is_made_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(build.media, "write_video", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            build.build(tmp_path, 9, SEED, workers=1, progress=False)
    assert not (tmp_path / "clips.csv").exists()
    build.build(tmp_path, 9, SEED, workers=1, progress=False)
    assert len((tmp_path / "clips.csv").read_text().splitlines()) == 10


# ---- media --------------------------------------------------------------------------------


def test_files_hold_what_was_made(corpus, rows):
    planned = {clip.id: clip for clip in build.plan(CLIPS)}
    for row in rows[:3]:
        made = build.make(planned[row["id"]], SEED)
        frames, wave = made.frames, made.wave
        info = media.probe(corpus / row["video"])
        assert (info.frames, info.width, info.height) == (build.FRAMES, render.SIDE, render.SIDE)
        assert info.fps == render.RATE and info.has_audio
        video = media.read_video(corpus / row["video"])
        assert video.frames.shape == frames.shape
        assert np.abs(video.frames.astype(float) - frames).mean() < 6
        heard = media.read_audio(corpus / row["video"])
        assert abs(len(heard) - len(wave)) <= 1024
        count = min(len(heard), len(wave))
        assert np.corrcoef(heard[:count], wave[:count])[0, 1] > 0.97  # in step, to the sample


def test_paths_in_the_manifest_exist_and_the_reference_is_of_the_speaker(corpus, rows, notes):
    for row in rows:
        for column in ("video", "alignment", "speaker_audio"):
            assert not row[column] or (corpus / row[column]).is_file()
        if row["task"] == "sound":
            assert not (row["text"] or row["speaker_audio"] or row["alignment"])
            assert "speaker" not in notes[row["id"]] and "mouth" not in notes[row["id"]]
        else:
            assert f"/{notes[row['id']]['speaker']}_" in row["speaker_audio"]
        assert ("sound_class" in notes[row["id"]]) == (row["task"] != "speech")


# ---- speech -------------------------------------------------------------------------------


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


def test_every_letter_and_voice_can_be_aligned():
    for number, letter in enumerate(sentences.GRAMMAR[sentences.LETTER_PLACE]):
        words = ["set", "white", "with", letter, "zero", "again"]
        spoken = voices.speak(voices.VOICES[number % len(voices.VOICES)], words)
        assert len(spoken.sounds) == sum(map(len, voices.pronounce_sentence(words)))
        assert max(b - a for a, b, _ in spoken.sounds) < 0.5
        assert len(spoken.wave) / conditions.SAMPLE_RATE < 3.2


def test_align_shares_and_merges_times():
    heard = [(0.0, 0.1, "F"), (0.1, 0.3, "AO1")]
    merged = phoneme_times.align(heard, ["F", "AO1", "R"])
    assert [s for *_, s in merged] == ["F", "AO1", "R"]
    np.testing.assert_allclose([s[:2] for s in merged], [(0, 0.1), (0.1, 0.2), (0.2, 0.3)])
    extra = phoneme_times.align([(0, 0.1, "AE1"), (0.1, 0.2, "T"), (0.2, 0.3, "HH")], ["AE1", "T"])
    assert extra == [(0, 0.1, "AE1"), (0.1, 0.3, "T")]


def test_align_refuses_a_word_without_sound():
    with pytest.raises(ValueError, match="word 0"):
        phoneme_times.align_words([], [("S", "EH1", "T")])


def test_voices_are_many_and_differ():
    assert len(voices.VOICES) >= 8
    assert len({voice.name for voice in voices.VOICES}) == len(voices.VOICES)
    assert len({(v.base, v.pitch, v.scale) for v in voices.VOICES}) == len(voices.VOICES)
    assert len({voice.look for voice in voices.VOICES}) == len(voices.VOICES)


# ---- events -------------------------------------------------------------------------------


def test_attacks_are_heard_within_a_frame_of_every_contact(corpus, rows, notes):
    checked = 0
    for row in rows:
        onsets = notes[row["id"]].get("onsets")
        if row["task"] == "sound" and onsets:
            wave = media.read_audio(corpus / row["video"])
            hop = 80
            found = librosa.onset.onset_detect(y=wave, sr=16_000, hop_length=hop, units="time")
            for onset in onsets:
                assert np.abs(found - onset).min() <= FRAME
            checked += len(onsets)
    assert checked > 8


@pytest.mark.parametrize("name", sounds.MATERIALS)
def test_sound_starts_at_contact_and_sight_flashes_with_it(name):
    rng = np.random.default_rng(1)
    scene = scenes.plan(name, 4.0, render.RATE, rng)
    assert np.diff(scene.onsets).min() >= scenes.GAP - 1e-9
    assert scene.onsets[0] >= scenes.FIRST and scene.onsets[-1] <= 4.0 - scenes.LAST
    wave = np.abs(scenes.sound(scene, 64_000, render.RATE, rng))
    first = round(scene.onsets[0] * 16_000)
    assert wave[:first].max(initial=0) == 0
    assert wave[first : first + 160].max() > 0.1
    frames = render.render(None, render.Source(scene=scene, box=(10, 10, 118, 118)), 100, rng)
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean((1, 2, 3))
    contact = np.ceil(np.round(scene.onsets * render.RATE, 6)).astype(int) - 1  # into that frame
    others = np.setdiff1d(np.arange(99), np.concatenate([contact, contact + 1, contact - 1]))
    assert change[contact].mean() > 1.5 * change[others].mean()


def centroid(wave: np.ndarray) -> float:
    """Mean frequency of a wave's power, Hz."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float(np.average(np.fft.rfftfreq(len(wave), 1 / 16_000), weights=power))


def test_larger_things_sound_lower():
    rng = np.random.default_rng(0)
    for material in sounds.MATERIALS.values():
        small, large = (centroid(sounds.strike(material, size, rng)) for size in scenes.SIZES)
        if material.click < 1:  # the wheel's tick is mostly noise
            assert large < small


def test_rain_is_as_loud_and_as_full_as_it_is_dense():
    rng = np.random.default_rng(0)
    scene = scenes.plan(sounds.RAIN, 4.0, render.RATE, rng)
    assert not len(scene.onsets)
    wave = scenes.sound(scene, 64_000, render.RATE, rng)
    loud = np.sqrt((wave.reshape(100, -1) ** 2).mean(1))
    assert np.corrcoef(loud, scene.density)[0, 1] > 0.95


def test_classes_are_told_apart_by_colour_at_thumbnail_size():
    means = []
    for name in sounds.CLASSES:
        rng = np.random.default_rng(3)
        scene = scenes.plan(name, 4.0, render.RATE, rng)
        frames = render.render(None, render.Source(scene=scene, box=(4, 4, 124, 124)), 50, rng)
        means.append(frames.reshape(50, 16, 8, 16, 8, 3).mean((0, 2, 4)))
    means = np.array(means).reshape(len(means), -1)
    apart = np.sqrt(((means[:, None] - means[None]) ** 2).mean(-1))
    assert apart[~np.eye(len(means), dtype=bool)].min() > 12


def test_strikers_are_down_at_contact():
    scene = scenes.Scene(
        name="metal", size=1.0, onsets=np.array([1.0, 1.5]), strengths=np.array([1.0, 0.8])
    )
    assert props.lift(scenes.moment(scene, 1.0)) < 1e-6
    assert props.lift(scenes.moment(scene, 1.0 - 1e-6)) < 1e-3
    assert props.lift(scenes.moment(scene, 1.25)) > 0.9
    assert scenes.moment(scene, 1.0).flash == 1.0
    assert scenes.moment(scene, 0.99).flash == 0.0


# ---- the face -----------------------------------------------------------------------------


def test_mouth_box_holds_all_that_moves_when_a_mouth_speaks():
    look = voices.VOICES[0].look
    sounds_said = [(0.2 * k, 0.2 * k + 0.2, s) for k, s in enumerate(("AA1", "IY1", "F", "M"))]
    for scale in (0.7, 1.05):
        speaker = render.Speaker(look=look, sounds=sounds_said, x=64, y=60, scale=scale)
        silent = render.Speaker(look=look, sounds=[], x=64, y=60, scale=scale)
        talk, rest = (
            render.render(s, None, 25, np.random.default_rng(4)) for s in (speaker, silent)
        )
        ys, xs = np.nonzero((talk != rest).any((0, 3)))
        x0, y0, x1, y1 = speaker.mouth
        assert x0 <= xs.min() and xs.max() < x1 and y0 <= ys.min() and ys.max() < y1
        assert xs.max() - xs.min() > 0.5 * (x1 - x0)
        assert 0 <= x0 < x1 <= render.SIDE and 0 <= y0 < y1 <= render.SIDE


def test_mouth_boxes_lie_in_the_picture():
    rng = np.random.default_rng(0)
    for task in ("speech", "joint") * 200:
        (x, y, scale), _ = render.place(task, rng)
        x0, y0, x1, y1 = face.mouth_box(x, y, scale)
        assert 0 <= x0 < x1 <= render.SIDE and 0 <= y0 < y1 <= render.SIDE


def test_lips_close_for_m_and_open_for_aa():
    said = [(0.0, 0.3, "AA1"), (0.3, 0.42, "M"), (0.42, 0.8, "UW1")]
    path = visemes.path(said, 25, 25.0)
    opened, wide = path[:, 0], path[:, 1]
    assert opened[4] > 0.9 and opened[8] < 0.1
    assert wide[14] < -0.8
    assert np.abs(path[-1]).max() < 1e-6


def test_every_phoneme_has_a_mouth():
    for symbol in phonemes.SYMBOLS:
        if symbol not in ("sil", "<blank>"):
            assert symbol.rstrip("012") in visemes.SHAPES
