"""Evaluation of a run or a folder: what it writes, and what it leaves out and why."""

import csv
import json
import math
import shutil
import types

import numpy as np
import pytest
from helpers import in_process

import vssflow_jax
from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.evaluation import evaluator
from vssflow_jax.generation import scoring
from vssflow_jax.generation.scoring import EvaluationOptions, evaluate

METRICS = (
    "wer", "onset_f1", "onset_mae_ms", "sound_class_accuracy", "speaker_accuracy", "mcd", "kl",
)  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tiny_run, tmp_path_factory):
    """A copy of the tiny run, and its scores on one example a task."""
    workdir = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(tiny_run, workdir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "BATCH_SIZE", 4)
        patch.setattr(evaluator, "BATCH_SIZE", 4)
        return workdir, evaluate(EvaluationOptions(workdir=workdir, clips=1, seed=3))


def read_rows(folder):
    with (folder / "examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_json_has_every_task_and_the_run(evaluated):
    workdir, metrics = evaluated
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
    for task in EVALUATED_TASKS:
        scores = written[task]
        assert scores["clips"] == 1
        assert scores["skipped"] == []
        assert scores["mcd_floor" if task != "sound" else "kl_floor"] > 0
        for name in (n for n in METRICS if n in scores):
            assert {f"{name}_floor", f"{name}_ceiling"} <= set(scores) or name == "onset_mae_ms"
            low, high = scores[f"{name}_ci95"]
            assert all(map(math.isfinite, (low, high, scores[name])))
            assert low <= scores[name] + 1e-9
            assert scores[name] <= high + 1e-9


def test_text_shares_the_floor_of_speech(evaluated):
    _, metrics = evaluated
    assert metrics["text"]["wer_floor"] == metrics["speech"]["wer_floor"]


def test_every_example_has_a_row_and_waves(evaluated):
    workdir, metrics = evaluated
    rows = read_rows(workdir / "eval")
    assert [row["task"] for row in rows] == list(EVALUATED_TASKS)
    assert {"hypothesis", "errors", "errors_floor", "errors_ceiling", "mcd"} <= set(rows[0])
    for row in rows:
        generated = workdir / "eval" / "generated" / row["task"] / f"{row['id']}.wav"
        floor = workdir / "eval" / "floor" / f"{row['id']}.wav"
        assert len(media.read_audio(generated)) == len(media.read_audio(floor))
    speech = rows[0]
    assert metrics["speech"]["wer"] == pytest.approx(int(speech["errors"]) / int(speech["words"]))
    assert not list((workdir / "eval").rglob("*.partial"))


def test_the_protocol_describes_the_procedure(evaluated):
    workdir, metrics = evaluated
    protocol = json.loads((workdir / "eval" / "protocol.json").read_text())
    assert (protocol["seed"], protocol["solver"], protocol["split"]) == (3, "euler", "test")
    assert protocol["recognizer"]["name"] == "pocketsphinx"
    assert "lower case" in protocol["recognizer"]["normalization"]
    codec = json.loads((workdir / "codec/codec.json").read_text())
    assert protocol["reference_models"]["codec"] == codec["hash"]
    assert protocol["dataset"] == json.loads((workdir / "shards/dataset.json").read_text())["hash"]
    assert protocol["clips"]["text"] == protocol["clips"]["speech"]
    assert {"jax", "librosa", "jiwer"} <= set(protocol["versions"])
    names = {name for task in EVALUATED_TASKS for name in metrics[task]} & set(METRICS)
    assert names <= set(protocol["metrics"])


def test_the_table_has_every_score(evaluated):
    _, metrics = evaluated
    text = scoring.score_table(metrics)
    for task in EVALUATED_TASKS:
        for name in (n for n in METRICS if n in metrics[task]):
            assert any(line.split()[:2] == [task, name] for line in text.splitlines())


def test_generated_waves_have_the_same_scores_from_a_folder(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH_SIZE", 4)
    workdir, metrics = evaluated
    names = [row["id"] for row in read_rows(workdir / "eval") if row["task"] in ("speech", "sound")]
    for task, name in zip(("speech", "sound"), names, strict=True):
        shutil.copy(workdir / "eval" / "generated" / task / f"{name}.wav", tmp_path)
    rows = "".join(f"{name},{name}.wav\n" for name in names)
    (tmp_path / "manifest.csv").write_text("id,audio\n" + rows)
    again = evaluate(
        EvaluationOptions(workdir=workdir, generated=tmp_path, clips=1, out=tmp_path / "scores")
    )
    for name in ("wer", "wer_floor", "wer_ceiling"):
        assert again["speech"][name] == metrics["speech"][name]
    assert again["speech"]["mcd"] == pytest.approx(metrics["speech"]["mcd"], rel=0.01)
    assert "text" not in again
    (skipped,) = again["joint"]["skipped"]
    assert again["joint"]["clips"] == 0
    assert "wer" not in again["joint"]
    assert skipped["reason"].startswith("missing")
    assert (tmp_path / "scores" / "metrics.json").exists()


def test_a_text_that_does_not_fit_is_skipped_and_the_rest_is_scored():
    def remove_video(example):
        if example["meta"]["id"] == "long":
            raise InputError("too long")
        return example

    def generate_batch(examples, **options):
        return [np.zeros(10) for _ in examples]

    codec = types.SimpleNamespace(sample_rate=16_000)
    generator = types.SimpleNamespace(
        remove_video=remove_video, generate_batch=generate_batch, codec=codec
    )
    examples = [{"meta": {"id": name}} for name in ("long", "short")]
    generated = scoring.generate_waves(generator, examples, "text")
    assert [example["meta"]["id"] for example in generated.examples] == ["short"]
    assert len(generated.waves) == 1
    assert generated.skipped == [{"id": "long", "reason": "too long"}]


def test_shards_without_training_clips_have_a_line_about_scores_that_are_absent(
    evaluated, tmp_path
):
    """Those by models that are fitted to training clips; the others are as before."""
    workdir, scored = evaluated
    shutil.copytree(workdir / "shards", tmp_path / "shards")
    path = tmp_path / "shards" / "dataset.json"
    info = json.loads(path.read_text())
    train = info["splits"]["train"]
    train |= {"files": [], "bytes": [], "sha256": [], "clips": 0, "rows": {}, "tasks": {}}
    path.write_text(json.dumps(info))
    options = EvaluationOptions(
        shards=tmp_path / "shards",
        generated=workdir / "eval/generated/speech",
        out=tmp_path,
        clips=1,
    )
    metrics = evaluate(options)
    (line,) = metrics["run"]["warnings"]
    assert "shards: found no training clips with sound" in line
    assert metrics["speech"]["wer"] == scored["speech"]["wer"]
    assert "speaker_accuracy" not in metrics["speech"]
    assert "warnings" not in scored["run"]


def test_an_unknown_split_or_solver_is_an_error(tiny_run):
    with pytest.raises(InputError, match="split"):
        evaluate(EvaluationOptions(workdir=tiny_run, split="tets"))
    with pytest.raises(InputError, match="solver"):
        evaluate(EvaluationOptions(workdir=tiny_run, solver="oiler"))


def test_a_folder_of_sound_files_needs_shards(tmp_path):
    with pytest.raises(InputError, match="--shards"):
        evaluate(EvaluationOptions(generated=tmp_path))


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(InputError):
        evaluate(EvaluationOptions(workdir=tmp_path))
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize("encoders", ["bundled", "speaker=bundled,clip=built-in"])
def test_features_of_another_encoder_are_refused(tiny_run, loaded_generator, tmp_path, encoders):
    """A d-vector is as wide as the built-in statistics of a voice."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for path in (tiny_run / "shards").iterdir():
        (folder / path.name).symlink_to(path)
    info = json.loads((folder / "dataset.json").read_text())
    info["statistics"]["encoders"] = encoders
    (folder / "dataset.json").unlink()
    (folder / "dataset.json").write_text(json.dumps(info))
    out = tmp_path / "out"
    for command in ("sample", "evaluate"):
        flags = (f"--workdir={tiny_run}", f"--shards={folder}", f"--out={out}")
        done = in_process.run(command, *flags)
        words = f"{folder}: found speaker by the bundled encoder, expected the built-in one"
        in_process.assert_error(done, words, "prepare with --encoders=built-in", out=out)
    info["statistics"]["encoders"] = "clip=bundled,sync=bundled"  # none of these are
    (folder / "dataset.json").write_text(json.dumps(info))
    vssflow_jax.Generator.from_workdir(tiny_run).check_shards(folder)
