"""Bad input on the real command lines: one line, exit status 2, nothing left behind."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import fixtures, tiny_configs

from vssflow_jax import media
from vssflow_jax.data import shards


def refused(done, *words, out: Path | None = None):
    """Asserts a one-line error with `words`, status 2, and that `out` was not written."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    if out is not None:
        assert not out.exists()
        assert not list(out.parent.glob(f"*{out.name}*"))


def sample(workdir, out, *flags):
    return tiny_configs.run("sample", f"--workdir={workdir}", f"--out={out}", "--steps=2", *flags)


@pytest.mark.parametrize("command", ["sample", "corpus", "prepare"])
def test_help_is_no_error(command):
    done = tiny_configs.run(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"vssflow_jax.{command} --" in done.stdout and "  --out " in done.stdout
    assert ("  --config " in done.stdout) == (command == "prepare")
    assert str(tiny_configs.ROOT) not in done.stdout and "absl" not in done.stdout


def test_misspelt_config_field():
    refused(
        tiny_configs.run("train", "--config=configs/quickstart.py", "--config.train.stepz=3"),
        "stepz",
    )


def test_missing_config_file():
    refused(tiny_configs.run("train", "--config=configs/nothing.py", "--workdir=w"), "nothing.py")


def test_workdir_without_checkpoint(tmp_path):
    out = tmp_path / "out.wav"
    refused(sample(tmp_path, out, "--text=set blue"), str(tmp_path), out=out)
    refused(sample(tmp_path / "no", out, "--text=set blue"), "no such folder", out=out)


def bad_videos(folder):
    whole = fixtures.write_video(folder / "whole.mp4", seconds=4)
    (folder / "text.mp4").write_text("not a video")
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    media.write_wav(folder / "sound.wav", fixtures.make_tone())
    return {"missing.mp4": "no such file", "text.mp4": "", "cut.mp4": "", "sound.wav": "video"}


def test_bad_videos(tiny_run, tmp_path):
    out = tmp_path / "out.mp4"
    for name, word in bad_videos(tmp_path).items():
        refused(sample(tiny_run, out, f"--video={tmp_path / name}"), name, word, out=out)


def test_output_that_cannot_be_written(tiny_run, tmp_path):
    fixtures.write_video(tmp_path / "in.mp4")
    before = (tmp_path / "in.mp4").read_bytes()
    same = sample(tiny_run, tmp_path / "in.mp4", f"--video={tmp_path / 'in.mp4'}")
    refused(same, "the input video")
    assert (tmp_path / "in.mp4").read_bytes() == before
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out.wav"
    refused(sample(tiny_run, out, "--text=set blue"), "a file is where a folder is expected")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--text=",), "text"),
        (("--text=\u4f60\u597d",), "text"),
        (("--text=set blue", "--speech_start=3", "--speech_end=2"), "--speech_end"),
        (("--text=set blue at g nine now", "--speech_end=0.3"), "phonemes"),
    ],
)
def test_bad_text(tiny_run, tmp_path, flags, word):
    out = tmp_path / "out.wav"
    refused(sample(tiny_run, out, *flags), word, out=out)


def test_silent_voice(tiny_run, tmp_path):
    media.write_wav(tmp_path / "silence.wav", np.zeros(16_000, np.float32))
    out = tmp_path / "out.wav"
    done = sample(tiny_run, out, "--text=set blue", f"--speaker={tmp_path / 'silence.wav'}")
    refused(done, "silence.wav", out=out)


def test_good_sample(tiny_run, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4", seconds=4, sound=False)
    done = sample(tiny_run, tmp_path / "out.mp4", f"--video={video}", "--text=set blue")
    assert done.returncode == 0, done.stderr
    assert "conditions used: clip, phonemes, sync; missing: speaker, lips" in done.stdout
    assert media.probe(tmp_path / "out.mp4").has_audio


def test_places_that_take_no_file_are_refused_at_once(tiny_run, tmp_path):
    """Before the model is asked for anything: the text that follows could not be said."""
    refused(sample(tiny_run, "/proc/x/out.wav", "--text=\u4f60"), "--out=/proc/x/out.wav")
    (tmp_path / "out.wav").mkdir()
    refused(sample(tiny_run, tmp_path / "out.wav", "--text=\u4f60"), "found a folder")


def test_script_stems_and_candidates(tiny_run, tmp_path):
    (tmp_path / "lines.csv").write_text("start,text\n0.2,set blue\n,bin red by k two soon\n")
    script = f"--script={tmp_path / 'lines.csv'}"
    done = sample(tiny_run, tmp_path / "out.wav", script, "--candidates=2", "--stems")
    assert done.returncode == 0, done.stderr
    assert "ranked by: wer" in done.stdout
    names = {"out.wav", "out.2.wav", "out.speech.wav", "out.2.speech.wav", "lines.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
    refused(sample(tiny_run, tmp_path / "a.wav", script, "--scales=smell=2"), "smell")
    refused(sample(tiny_run, tmp_path / "a.wav", script, "--candidates=0"), "--candidates")


def test_split_of_shards(tiny_run, tmp_path):
    done = sample(tiny_run, tmp_path / "all", f"--shards={tiny_run / 'shards'}", "--split=test")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "all" / "manifest.csv").read_text().splitlines()
    assert len(rows) == 1 + len(list((tmp_path / "all").glob("*.wav")))


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
    flags = (f"--shards={tmp_path / 'shards'}", "--split=test")
    out = tmp_path / "a" / "b"
    done = sample(tiny_run, out, *flags)
    refused(done, f"{path}, record 0: found the id '{bad_id}', expected a file name")
    done = tiny_configs.run("evaluate", f"--workdir={tiny_run}", f"--out={out}", *flags)
    refused(done, f"{path}, record 0: found the id '{bad_id}', expected a file name")
    assert not list(tmp_path.rglob("*escaped*")) and not list(tmp_path.rglob("*.wav"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(tiny_run, small_disk):
    """Sampling and training onto a full disk: a sentence, and no half file under a final name."""
    (small_disk / "filler").write_bytes(bytes(1_000_000))
    out = small_disk / "out.wav"
    refused(sample(tiny_run, out, "--text=set blue at g nine now"), "no space left", out=out)
    done = tiny_configs.train(small_disk / "run", f"--config.data.shards={tiny_run / 'shards'}")
    refused(done, "no space left")


def test_missing_shards_are_not_replaced_by_the_corpus(tmp_path):
    """A mistyped folder of one's own data must not end in a model of something else."""
    done = tiny_configs.train(tmp_path / "run", f"--config.data.shards={tmp_path / 'typo'}")
    refused(done, "typo", "prepare", out=tmp_path / "run")
