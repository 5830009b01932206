"""Evaluation: what it writes for a run, and what it leaves out and why."""

import csv
import json
import math
import shutil
import types

import numpy as np
import pytest

from vssflow_jax import evaluate as evaluation
from vssflow_jax import media
from vssflow_jax.audio.codec import load_codec
from vssflow_jax.errors import InputError
from vssflow_jax.metrics import judges

NUMBERS = ("wer", "onset_f1", "onset_mae_ms", "sound_class_accuracy", "speaker_accuracy")


def row(**fields):
    return {**dict.fromkeys(judges.COLUMNS), **fields}


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the tiny run, its scores and its folder: one clip a task."""
    workdir = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(tiny_run, workdir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "BATCH", 4)
        return workdir, evaluation.evaluate(workdir, clips=1, seed=3)


def lines(workdir):
    with (workdir / "eval" / "examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# ---- the numbers --------------------------------------------------------------------------


def test_scores_of_known_rows():
    rows = [row(errors=1, words=6, onset_f1=0.5), row(errors=3, words=6, onset_f1=1.0), row()]
    floor = [row(errors=0, words=6), row(errors=1, words=6), row()]
    scores = evaluation.task_scores(rows, floor, [{"id": "x", "reason": "why"}])
    assert scores["wer"] == pytest.approx(4 / 12)
    assert scores["wer_floor"] == pytest.approx(1 / 12)
    assert scores["wer_ci95"][0] <= scores["wer"] <= scores["wer_ci95"][1]
    assert scores["onset_f1"] == 0.75
    assert "onset_f1_floor" not in scores  # not measured is absent
    assert "speaker_accuracy" not in scores
    assert scores["clips"] == 3
    assert scores["skipped"] == [{"id": "x", "reason": "why"}]


def test_fitting_clips_are_drawn_from_everywhere_and_scored_ones_are_the_first():
    records = [{"meta": {"id": n, "task": "sound"}} for n in range(1000)]
    drawn = [r["meta"]["id"] for r in evaluation.by_task(records, {"sound": 50}, seed=0)["sound"]]
    assert len(set(drawn)) == 50
    assert max(drawn) > 800
    first = [r["meta"]["id"] for r in evaluation.by_task(records, {"sound": 5})["sound"]]
    assert first == [0, 1, 2, 3, 4]


def test_the_floor_of_a_clip_does_not_depend_on_its_batch(tiny_run, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH", 2)
    codec = load_codec(tiny_run / "codec")
    waves = [np.random.default_rng(n).normal(0, 0.1, 16_000).astype(np.float32) for n in range(3)]
    together = evaluation.through_codec(codec, waves)
    assert [len(wave) for wave in together] == [16_000] * 3
    np.testing.assert_allclose(
        evaluation.through_codec(codec, waves[2:])[0], together[2], atol=1e-4
    )
    assert evaluation.through_codec(codec, []) == []


# ---- what is written ----------------------------------------------------------------------


def test_metrics_json_has_every_task_and_the_run(run):
    workdir, metrics = run
    written = json.loads((workdir / "eval" / "metrics.json").read_text())
    assert written == metrics
    assert set(written) == {"speech", "sound", "joint", "text", "run"}
    assert {"checkpoint", "config_hash", "seed", "solver", "steps", "guidance", "versions"} <= set(
        written["run"]
    )
    assert (written["run"]["seed"], written["run"]["checkpoint"]) == (3, 6)
    for task in ("speech", "joint", "text"):
        assert written[task]["wer"] >= 0
    assert "onset_f1" not in written["speech"]
    assert "wer" not in written["sound"]
    for task in evaluation.TASKS:
        scores = written[task]
        assert scores["clips"] == 1
        assert scores["skipped"] == []
        for name in (n for n in NUMBERS if n in scores):
            low, high = scores[f"{name}_ci95"]
            assert all(map(math.isfinite, (low, high, scores[name])))
            assert low <= scores[name] + 1e-9
            assert scores[name] <= high + 1e-9


def test_text_shares_the_floor_of_speech(run):
    _, metrics = run
    assert metrics["text"]["wer_floor"] == metrics["speech"]["wer_floor"]


def test_examples_and_waves_are_there_for_each_clip(run):
    workdir, metrics = run
    found = lines(workdir)
    assert [line["task"] for line in found] == list(evaluation.TASKS)
    assert {"hypothesis", "errors", "words", "hypothesis_floor", "errors_floor"} <= set(found[0])
    for line in found:
        made = workdir / "eval" / "generated" / line["task"] / f"{line['id']}.wav"
        floor = workdir / "eval" / "floor" / f"{line['id']}.wav"
        assert len(media.read_audio(made)) == len(media.read_audio(floor))
    speech = found[0]
    assert metrics["speech"]["wer"] == pytest.approx(int(speech["errors"]) / int(speech["words"]))
    assert not list((workdir / "eval").rglob("*.partial"))


def test_the_table_names_every_score(run):
    _, metrics = run
    text = evaluation.table(metrics)
    for task in evaluation.TASKS:
        for name in (n for n in NUMBERS if n in metrics[task]):
            assert any(line.split()[:2] == [task, name] for line in text.splitlines())


# ---- waves that are there already ---------------------------------------------------------


def test_generated_waves_give_the_same_scores(run, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH", 4)
    workdir, metrics = run
    names = [line["id"] for line in lines(workdir) if line["task"] in ("speech", "sound")]
    for task, name in zip(("speech", "sound"), names, strict=True):
        shutil.copy(workdir / "eval" / "generated" / task / f"{name}.wav", tmp_path)
    table = "".join(f"{name},{name}.wav\n" for name in names)
    (tmp_path / "manifest.csv").write_text("id,audio\n" + table)
    again = evaluation.evaluate(workdir, generated=tmp_path, clips=1)
    assert again["speech"]["wer"] == metrics["speech"]["wer"]
    assert "text" not in again
    (left_out,) = again["joint"]["skipped"]
    assert again["joint"]["clips"] == 0
    assert "wer" not in again["joint"]
    assert "manifest.csv" in left_out["reason"]


def test_a_wave_that_cannot_be_read_is_skipped_with_its_reason(tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    media.write_wav(tmp_path / "good.wav", np.zeros(8000, np.float32))
    clips = [{"meta": {"id": name}} for name in ("bad", "good", "absent")]
    files = {"bad": "bad.wav", "good": "good.wav"}
    found = evaluation.read_generated(tmp_path, clips, files)
    assert [clip["meta"]["id"] for clip in found.clips] == ["good"]
    assert [skip["id"] for skip in found.skipped] == ["bad", "absent"]
    assert all(skip["reason"] for skip in found.skipped)


def test_a_text_that_cannot_fit_is_skipped_and_the_rest_is_scored():
    def without_video(clip):
        if clip["meta"]["id"] == "long":
            raise InputError("too long")

    def batch(clips, task, **sampling):
        return [np.zeros(10) for _ in clips]

    generator = types.SimpleNamespace(without_video=without_video, batch=batch)
    clips = [{"meta": {"id": name}} for name in ("long", "short")]
    found = evaluation.generate(generator, clips, "text")
    assert [clip["meta"]["id"] for clip in found.clips] == ["short"]
    assert len(found.waves) == 1
    assert found.skipped == [{"id": "long", "reason": "too long"}]


# ---- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), ("id,name\na,b\n", "audio"), (b"\xff\xfe\x00\xd8", "no text")],
)
def test_a_wrong_manifest_is_an_error(tmp_path, content, words):
    if content is not None:
        path = tmp_path / "manifest.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        evaluation.read_manifest(tmp_path)


def test_an_unknown_split_or_solver_is_an_error(tiny_run):
    with pytest.raises(InputError, match="split"):
        evaluation.evaluate(tiny_run, split="tets")
    with pytest.raises(InputError, match="solver"):
        evaluation.evaluate(tiny_run, solver="oiler")


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(InputError):
        evaluation.evaluate(tmp_path)
    assert not (tmp_path / "eval").exists()
