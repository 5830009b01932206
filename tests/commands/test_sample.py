"""The command `sample`: files it writes, and mistakes as one line and status 2."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ebur128, fixtures, in_process, odd_media, tiny_configs
from helpers.in_process import assert_error
from helpers.synthetic_audio import reference_voice

from vssflow_jax import bundled, media
from vssflow_jax.data import shards

pytestmark = pytest.mark.usefixtures("loaded_generator")


def sample(workdir, out, *flags):
    return in_process.run("sample", f"--workdir={workdir}", f"--out={out}", "--steps=2", *flags)


# ---- files --------------------------------------------------------------------------------


def test_a_video_with_a_text(tiny_run, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=4, sound=False)
    flags = (f"--workdir={tiny_run}", f"--video={video}", "--text=set blue", "--steps=2")
    done = tiny_configs.run("sample", *flags, f"--out={tmp_path / 'out.mp4'}")
    assert done.returncode == 0, done.stderr
    assert "conditions used: clip, phonemes, sync; not used: speaker, lips" in done.stdout
    assert media.probe(tmp_path / "out.mp4").has_audio


@pytest.mark.slow
def test_the_shipped_model_is_the_default(tmp_path):
    paths = [tmp_path / "default.wav", tmp_path / "named.wav"]
    for path, workdir in zip(paths, ((), (f"--workdir={bundled.DEFAULT_MODEL}",)), strict=True):
        flags = ("--text=place red by k two soon", "--steps=1", f"--out={path}", *workdir)
        done = in_process.run("sample", *flags)
        assert done.returncode == 0, done.stderr
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_script_stems_and_candidates(tiny_run, tmp_path):
    (tmp_path / "lines.csv").write_text("start,text\n0.2,set blue\n,bin red by k two soon\n")
    script = f"--script={tmp_path / 'lines.csv'}"
    done = sample(tiny_run, tmp_path / "out.wav", script, "--seeds=7,3", "--stems")
    assert done.returncode == 0, done.stderr
    assert "ranked by: wer" in done.stdout and "heard: " in done.stdout
    names = {"out.wav", "out.2.wav", "out.speech.wav", "out.2.speech.wav", "lines.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"out.candidates.csv"}
    with (tmp_path / "out.candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["out.wav", "out.2.wav"]
    assert {row["seed"] for row in rows} == {"3", "7"}
    assert float(rows[0]["wer"]) <= float(rows[1]["wer"]) and rows[0]["speaker_similarity"] == ""
    assert all(f"heard: {row['transcript']!r}" in done.stdout for row in rows)


def test_subtitles_with_two_voices_and_their_lines(tiny_run, tmp_path):
    subtitles = tmp_path / "talk.srt"
    subtitles.write_text(
        "1\n00:00:00,400 --> 00:00:02,000\n[Anna] set blue\n\n"
        "2\n00:00:02,100 --> 00:00:02,200\n<v Bob>bin red</v> ♪\n\n"
        "3\n00:00:09,000 --> 00:00:10,000\nlay white\n"
    )
    media.write_wav(tmp_path / "anna.wav", fixtures.make_tone())
    flags = (f"--script={subtitles}", "--duration=4", f"--voice=Anna={tmp_path / 'anna.wav'}")
    done = sample(tiny_run, tmp_path / "talk.wav", *flags, "--times_out=srt")
    assert_error(done, f"found {subtitles}, which would be written, among the inputs")
    done = sample(tiny_run, tmp_path / "out.wav", *flags, "--times_out=srt,json")
    assert done.returncode == 0, done.stderr
    assert "00:00:00,400 --> " in (tmp_path / "out.srt").read_text()
    assert '"speaker": "Anna"' in (tmp_path / "out.json").read_text()
    for line in (
        "talk.srt: not spoken: cue 2 '♪'",
        "talk.srt: found no --voice for Bob",
        "cue 2: its text needs about",
        "cue 3 of the subtitles: found a start behind the clip's end, 4.00 s: not spoken",
    ):
        assert line in done.stderr
    assert "phoneme times: requested" in done.stdout


def test_a_mix_with_the_sound_of_the_video(tiny_run, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=2)
    flags = (f"--video={video}", "--text=set blue", "--speech_start=1", "--task=speech", "--stems")
    done = sample(tiny_run, tmp_path / "out.mp4", *flags, "--mix=duck", "--loudness=-23")
    assert done.returncode == 0, done.stderr
    names = {"in.mp4", "out.mp4", "out.wav", "out.speech.wav", "out.original.wav"}
    assert {path.name for path in tmp_path.iterdir()} == names
    wave = media.read_audio(tmp_path / "out.wav")
    assert ebur128.measure(wave, 16_000)[0] == pytest.approx(-23, abs=0.5)
    done = sample(tiny_run, tmp_path / "in.original.wav", *flags, "--mix=loop")
    assert_error(done, "--mix", "duck")


def test_text_that_is_not_spoken_is_a_warning_and_unreadable_text_a_line(tiny_run, tmp_path):
    done = sample(tiny_run, tmp_path / "out.wav", "--text=♪ set blue ж")
    assert_error(done, "CYRILLIC SMALL LETTER ZHE, character 12")
    assert not list(tmp_path.iterdir())
    done = sample(tiny_run, tmp_path / "out.wav", "--text=♪ set blue ж", "--text_policy=skip")
    assert done.returncode == 0 and "warning: text: skipped 'ж'" in done.stderr
    assert "warning: text: left out '♪' (EIGHTH NOTE, character 1)" in done.stderr


def test_a_guidance_scale_of_zero(tiny_run, tmp_path):
    """Without the guidance of the phonemes the text does not matter."""
    waves = []
    for text in ("set blue at g nine now", "lay red by k two soon"):
        scales = "--scales=phonemes=0,clip=0,speaker=0,lips=0,sync=0"
        flags = (f"--text={text}", "--duration=2", "--guidance=0", scales)
        done = sample(tiny_run, tmp_path / "out.wav", *flags)
        assert done.returncode == 0, done.stderr
        waves.append((tmp_path / "out.wav").read_bytes())
    assert waves[0] == waves[1]


def test_a_span_is_generated_anew_and_the_rest_of_the_file_stays(tiny_run, tmp_path):
    voice = tiny_run / "corpus" / "voices" / "ada_0.wav"
    done = sample(tiny_run, tmp_path / "out.wav", f"--keep={voice}", "--redo=0.2:0.6,1:1.25")
    assert done.returncode == 0, done.stderr
    kept, redone = (media.read_audio(path) for path in (voice, tmp_path / "out.wav"))
    changed = np.flatnonzero(kept != redone) / 16_000
    assert set(np.floor(changed * 20) / 20) == {
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.45,
        0.5,
        0.55,
        1,
        1.05,
        1.1,
        1.15,
        1.2,
    }
    assert "generated anew: 0.20 to 0.60 s, 1.00 to 1.25 s" in done.stdout


def test_a_loop_is_one_file_and_a_line_says_of_how_many_it_is_the_best(tiny_run, tmp_path):
    flags = ("--text=set blue", "--duration=1.2", "--loop")
    done = sample(tiny_run, tmp_path / "out.wav", *flags, "--seed=3")
    assert done.returncode == 0, done.stderr
    assert "best of 8 loops drawn (--candidates=1 draws one); seed " in done.stdout
    assert "ranked by: loop_join 0." in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]
    for choice in ("--candidates=1", "--seeds=3"):
        done = sample(tiny_run, tmp_path / "one.wav", *flags, choice)
        assert done.returncode == 0 and "loops drawn" not in done.stdout


def test_the_voice_of_kept_words_is_named(tiny_run, tmp_path):
    flags = ("--text=set blue at g nine now", "--duration=4")
    first = tmp_path / "first.wav"
    assert sample(tiny_run, first, *flags).returncode == 0
    edit = (f"--keep={first}", "--redo=3.5:", *flags)
    done = sample(tiny_run, tmp_path / "out.wav", *edit)
    assert "voice: that of the kept words" in done.stdout
    done = sample(tiny_run, tmp_path / "out.wav", *edit, f"--speaker={first}")
    assert done.returncode == 0 and "kept words" not in done.stdout


def test_a_voice_prompt_is_recognized(tiny_run, tmp_path):
    media.write_wav(tmp_path / "ada.wav", reference_voice("ada"))
    flags = (f"--prompt_audio={tmp_path / 'ada.wav'}", "--recognizer=pocketsphinx")
    done = sample(tiny_run, tmp_path / "out.wav", "--text=bin red by k two soon", *flags)
    assert done.returncode == 0, done.stderr
    assert "ada.wav: recognized 'set blue at " in done.stdout
    assert "conditions used: speaker, phonemes" in done.stdout


def test_a_split_of_shards(tiny_run, tmp_path):
    done = sample(tiny_run, tmp_path / "all", f"--shards={tiny_run / 'shards'}", "--split=test")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "all" / "manifest.csv").read_text().splitlines()
    assert len(rows) == 1 + len(list((tmp_path / "all").glob("*.wav")))


# ---- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--voice=Anna",), "--voice: found 'Anna', expected NAME=FILE"),
        (("--voice==a.wav",), "--voice: found '=a.wav'"),
        (("--voice=A=a.wav", "--voice=A=b.wav"), "--voice: found 'A' twice, expected it once"),
        (("--voice=A=no.wav",), "--voice=A=no.wav: no such file"),
        ((), "found no room for the text of cue 1 (needs"),
    ],
)
def test_subtitles_and_voices_that_are_refused(tiny_run, tmp_path, flags, message):
    subtitles = tmp_path / "talk.srt"
    subtitles.write_text(
        "1\n00:00:01,000 --> 00:00:01,200\nset blue at g nine now\n\n"
        "2\n00:00:01,300 --> 00:00:02,200\nbin red\n"
    )
    out = tmp_path / "out.wav"
    assert_error(sample(tiny_run, out, f"--script={subtitles}", *flags), message, out=out)


def test_times_without_words_are_an_error(tiny_run, tmp_path):
    video, out = fixtures.write_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    done = sample(tiny_run, out, f"--video={video}", "--times_out=srt")
    assert_error(done, "--times_out: found neither --text nor --script", out=out)
    done = sample(tiny_run, tmp_path / "out.avi", f"--video={video}", "--times_out=track")
    assert_error(done, "without subtitle tracks", out=tmp_path / "out.avi")


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path):
    out = tmp_path / "out.wav"
    assert_error(sample(tmp_path, out, "--text=set blue"), str(tmp_path), out=out)
    assert_error(sample(tmp_path / "no", out, "--text=set blue"), "no such folder", out=out)


@pytest.mark.parametrize(
    ("name", "word"),
    [("missing.mp4", "no such file"), ("text.mp4", ""), ("cut.mp4", ""), ("sound.wav", "video")],
)
def test_a_broken_video_is_an_error(tiny_run, tmp_path, name, word):
    video = fixtures.write_video(tmp_path / "intact.mp4", seconds=4)
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    media.write_wav(tmp_path / "sound.wav", fixtures.make_tone())
    out = tmp_path / "out.mp4"
    assert_error(sample(tiny_run, out, f"--video={tmp_path / name}"), name, word, out=out)


def test_the_input_is_not_overwritten(tiny_run, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4")
    before = video.read_bytes()
    assert_error(sample(tiny_run, video, f"--video={video}"), "among the inputs")
    assert video.read_bytes() == before
    voice = tmp_path / "in.wav"
    media.write_wav(voice, fixtures.make_tone())
    before = voice.read_bytes()
    for out, flags in {
        "in.wav": (),
        "in.mkv": (f"--video={video}",),  # in.wav is written beside it
        "link.wav": (),
    }.items():
        if out == "link.wav":
            (tmp_path / out).symlink_to(voice)
        done = sample(tiny_run, tmp_path / out, "--text=set blue", f"--speaker={voice}", *flags)
        assert_error(done, f"found {voice.with_name(Path(out).stem)}.wav", "among the inputs")
        assert voice.read_bytes() == before
    assert_error(sample(tiny_run, voice, f"--keep={voice}", "--redo=0:1"), "among the inputs")
    assert voice.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "flags", "lines"),
    [
        ("in.gif", ("--out=o.mp4",), ["encoded again as H.264"]),
        ("in.mp4", ("--out=O.MKV",), []),
        ("in.mp4", ("--out=o.mov", "--duration=5"), ["encoded again", "last picture is held"]),
        ("in.mp4", ("--out=o.webm", "--duration=1"), ["encoded again as VP9", "silence follows"]),
        ("in.png", ("--out=o.avi", "--duration=2"), ["encoded again", "last picture is held"]),
        ("raw.h264", ("--out=o.ts",), ["encoded again"]),
    ],
)
def test_each_change_of_a_video_is_a_line(tiny_run, tmp_path, monkeypatch, name, flags, lines):
    monkeypatch.chdir(tmp_path)
    settings = {
        "in.gif": {"codec": "gif", "pixels": "rgb8"},
        "in.png": {"codec": "png", "pixels": "rgb24", "container": "image2", "pictures": 1},
        "raw.h264": {"container": "h264"},
    }.get(name, {})
    odd_media.write_media(name, **settings)
    flags = (f"--workdir={tiny_run}", f"--video={name}", "--steps=1", *flags)
    done = in_process.run("sample", *flags)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: in.")]
    warnings += [line for line in done.stderr.splitlines() if line.startswith("warning: raw.")]
    assert len(warnings) == len(lines)
    for line, words in zip(warnings, lines, strict=True):
        assert words in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--video=in.mp4", "--out=o.mp3"), "found the suffix '.mp3'"),
        (("--video=in.mp4", "--out=o.flv"), "found the suffix '.flv'"),
        (("--video=in.png", "--out=o.mp4"), "in.png: found a still image"),
        (("--video=unknown.mp4", "--out=o.mp4"), "unknown.mp4: stream 0 (video): found codec zzzz"),
        (
            ("--text=set blue", "--speaker=nan.wav", "--out=o.wav"),
            "nan.wav: found samples that are",
        ),
        (("--text=set blue", "--speaker=unknown.mp4", "--out=o.wav"), "no audio stream"),
        (
            ("--text=set blue", "--speaker=tone.wav", "--audio_track=2", "--out=o.wav"),
            "tone.wav: found 1 audio tracks, expected number 2",
        ),
    ],
)
def test_media_are_refused_before_the_generation(tiny_run, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vssflow_jax.generation.synthesis.Synthesizer.__call__", None)
    video = odd_media.write_media(tmp_path / "in.mp4")
    odd_media.rename_codec(video, tmp_path / "unknown.mp4", b"avc1")
    odd_media.write_media(tmp_path / "in.png", 1, codec="png", pixels="rgb24", container="image2")
    odd_media.write_float_wav(tmp_path / "nan.wav", np.full(16_000, np.nan))
    odd_media.write_float_wav(tmp_path / "tone.wav", fixtures.make_tone())
    out = tmp_path / flags[-1].removeprefix("--out=")
    assert_error(in_process.run("sample", f"--workdir={tiny_run}", *flags), words, out=out)


def test_a_changed_voice_is_a_line(tiny_run, tmp_path):
    loud = odd_media.write_float_wav(tmp_path / "loud.wav", fixtures.make_tone(2, 150) * 32_768)
    flags = ("--text=set blue", f"--speaker={loud}")
    done = sample(tiny_run, tmp_path / "out.wav", *flags)
    assert done.returncode == 0, done.stderr
    assert f"warning: {loud}: found samples of up to" in done.stderr


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--text=",), "text"),
        (("--text=\u4f60\u597d",), "text"),
        (("--text=set blue", "--speech_start=3", "--speech_end=2"), "--speech_end"),
        (("--text=set blue", "--speech_end=0"), "--speech_end: found 0 s"),
        (("--text=set blue at g nine now", "--speech_end=0.3"), "phonemes"),
        (("--text=set blue", "--duration=0"), "--duration: found 0 s"),
        (("--text=set blue", "--steps=0"), "--steps: found 0"),
        (("--text=set blue", "--seed=-1"), "--seed: found -1"),
        (("--text=set blue", "--scales=smell=2"), "smell"),
        (("--text=set blue", "--scales=sync"), "'sync'"),
        (("--text=set blue", "--scales=sync=1,sync=2"), "--scales: found 'sync' twice"),
        (("--text=set blue", "--candidates=0"), "--candidates"),
        (("--text=set blue", "--redo=1:2"), "--redo without --keep"),
        (("--keep=/dev/null", "--redo=1:2"), "/dev/null"),
        (("--text=set blue", "--seeds=1,x"), "--seeds: found '1,x'"),
        (("--text=set blue", "--seeds=1,1"), "--seeds: found '1,1'"),
        (("--text=set blue", "--seeds=1,01"), "--seeds: found '1,01'"),
        (("--text=set blue", "--seeds=1,2", "--seed=3"), "--seed beside --seeds"),
        (("--text=set blue", "--seeds=1,2", "--candidates=3"), "--candidates beside --seeds"),
        (("--text=set blue", f"--seeds={2**32},1"), f"--seed: found {2**32}"),
        (("--text=set blue", "--prompt_text=set red"), "--prompt_text without --prompt_audio"),
        (("--text=set blue", "--prompt_audio=/dev/null"), "/dev/null: found no --prompt_text"),
        (("--loop", "--shards=DATA"), "--loop beside --shards"),
        (("--text=set blue", "--shards=DATA"), "--text beside --shards"),
        (("--candidates=3", "--shards=DATA"), "--candidates beside --shards"),
        (("--loudness=-23", "--shards=DATA"), "--loudness beside --shards"),
        (("--text=set blue", "--split=valid"), "--split: found without --shards, expected with it"),
        (("--text=set blue", "--recognizer=x"), "--recognizer: found without --candidates or"),
        (("--text=set blue", "--audio_track=1"), "--audio_track: found without --speaker or"),
        (("--text=set blue", "--duck_level=-3"), "--duck_level: found beside --mix=replace"),
        (("--mix=add", "--duck_level=-3"), "--mix=add, expected --mix=duck"),
        (("--text=set blue", "--original_level=-3"), "expected --mix=add or --mix=duck"),
        (("--text=set blue", "--lenght=3"), "lenght"),
    ],
)
def test_wrong_flags_are_errors(tiny_run, tmp_path, flags, word):
    out = tmp_path / "out.wav"
    assert_error(sample(tiny_run, out, *flags), word, out=out)


def test_a_silent_voice_is_an_error(tiny_run, tmp_path):
    media.write_wav(tmp_path / "silence.wav", np.zeros(16_000, np.float32))
    out = tmp_path / "out.wav"
    done = sample(tiny_run, out, "--text=set blue", f"--speaker={tmp_path / 'silence.wav'}")
    assert_error(done, "silence.wav", out=out)


def test_a_path_that_takes_no_file_is_an_error_before_the_text_is_read(tiny_run, tmp_path):
    unspeakable = "--text=\u4f60"
    assert_error(sample(tiny_run, "/proc/x/out.wav", unspeakable), "--out=/proc/x/out.wav")
    (tmp_path / "out.wav").mkdir()
    assert_error(sample(tiny_run, tmp_path / "out.wav", unspeakable), "found a folder")
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out.wav"
    assert_error(sample(tiny_run, out, unspeakable), "a file is where a folder is expected")


def write_shards_with_id(source, folder, bad_id):
    """A copy of prepared shards whose first test record has another id."""
    shutil.copytree(source, folder)
    info = shards.load_dataset_info(folder)
    split = info["splits"]["test"]
    path = folder / split["files"][0]
    records = list(shards.iterate_shard(path))
    records[0]["meta"]["id"] = bad_id
    with shards.open_shard_writer(path) as write:
        for record in records:
            write(record)
    split["bytes"][0] = path.stat().st_size
    (folder / shards.DATASET).write_text(json.dumps(info))
    return path


def test_an_id_that_is_a_path_writes_nothing_outside_the_folder(tiny_run, tmp_path):
    bad_id = "../../escaped"
    path = write_shards_with_id(tiny_run / "shards", tmp_path / "shards", bad_id)
    message = f"{path}, record 0: found the id '{bad_id}', expected a file name"
    flags = (f"--shards={tmp_path / 'shards'}", "--split=test")
    out = tmp_path / "a" / "b"
    assert_error(sample(tiny_run, out, *flags), message)
    done = in_process.run("evaluate", f"--workdir={tiny_run}", f"--out={out}", *flags)
    assert_error(done, message)
    assert not list(tmp_path.rglob("*escaped*")) and not list(tmp_path.rglob("*.wav"))
