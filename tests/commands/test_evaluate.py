"""The command `evaluate`: what it prints and its exit status."""

import json

import pytest
from helpers import in_process

from vssflow_jax import evaluate, media
from vssflow_jax.data import pipeline, shards


def test_left_out_clips_and_files_are_listed():
    skipped = [{"id": "joint-1", "reason": "missing: the folder has no file of this clip"}]
    extra = [{"file": "a.wav", "reason": "another file has this id"}]
    metrics = {"joint": {"skipped": skipped}, "run": {"extra": extra}}
    assert evaluate.left_out(metrics) == [
        "joint joint-1: missing: the folder has no file of this clip",
        "a.wav: another file has this id",
    ]


def test_a_folder_of_sound_files_is_scored_without_a_run(tiny_run, tmp_path):
    records = shards.open_split(tiny_run / "shards", "test", with_wave=True, tasks=("speech",))
    record = records[0]
    media.write_wav(tmp_path / f"{record['meta']['id']}.wav", pipeline.read_wave(record))
    media.write_wav(tmp_path / "stranger.wav", pipeline.read_wave(record)[:100])
    flags = (f"--shards={tiny_run / 'shards'}", f"--generated={tmp_path}", "--clips=1")
    done = in_process.run("evaluate", *flags)
    assert done.returncode == evaluate.LEFT_OUT, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert len(lines) == 3
    assert any("stranger.wav" in line for line in lines)
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert metrics["speech"]["clips"] == 1
    assert metrics["speech"]["mcd"] == pytest.approx(0, abs=0.2)
    assert metrics["speech"]["wer"] == metrics["speech"]["wer_ceiling"]
    assert "wer_floor" not in metrics["speech"]  # there is no codec
    assert {metrics[task]["clips"] for task in ("sound", "joint")} == {0}


@pytest.mark.parametrize(
    "flag", ["--steps=2", "--scales=sync=2", "--seed=1", "--precision=float32"]
)
def test_flags_of_sampling_have_no_use_beside_files(tmp_path, flag):
    done = in_process.run("evaluate", f"--shards={tmp_path}", f"--generated={tmp_path}", flag)
    assert done.returncode == 2
    name = flag.split("=")[0]
    assert done.stderr == f"error: {name}: found beside --generated, expected without\n"
    assert not list(tmp_path.iterdir())


def test_a_manifest_of_videos_is_for_lse_alone(tmp_path):
    files = f"--shards={tmp_path}", f"--generated={tmp_path}"
    done = in_process.run("evaluate", *files, "--videos=clips.csv", "--measures=desync")
    in_process.assert_error(done, "--videos: found without --measures=lse, expected with it")
