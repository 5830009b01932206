"""Evaluation: what it writes for a run, and what it leaves out and why."""

import csv
import json
import math
import shutil
import types

import numpy as np
import pytest
from helpers import tiny_configs

from vssflow_jax import media
from vssflow_jax.codecs.interface import load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.evaluation import aggregate, evaluator
from vssflow_jax.evaluation.metrics import suite
from vssflow_jax.generation import hooks
from vssflow_jax.generation import scoring as evaluation
from vssflow_jax.generation.generator import Generator

NUMBERS = (
    "wer", "onset_f1", "onset_mae_ms", "sound_class_accuracy", "speaker_accuracy", "mcd", "kl",
)  # fmt: skip


def scored(**fields):
    row = {**dict.fromkeys(suite.COLUMNS), **fields}
    return suite.Scored(row=row, features=np.zeros(2), logits=np.zeros(2))


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory):
    """A copy of the tiny run, its scores and its folder: one clip a task."""
    workdir = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(tiny_run, workdir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "BATCH", 4)
        patch.setattr(evaluator, "BATCH", 4)
        return workdir, evaluation.evaluate(workdir, clips=1, seed=3)


def lines(folder):
    with (folder / "examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# ---- the numbers --------------------------------------------------------------------------


def test_scores_of_known_rows():
    rows = [scored(errors=1, words=6, onset_f1=0.5), scored(errors=3, words=6, onset_f1=1.0)]
    floor = [scored(errors=0, words=6), scored(errors=1, words=6), scored()]
    ceiling = [scored(errors=0, words=6), scored(errors=0, words=6), scored()]
    scores = aggregate.of_task([*rows, scored()], floor, ceiling, [{"id": "x", "reason": "why"}])
    assert scores["wer"] == pytest.approx(4 / 12)
    assert scores["wer_floor"] == pytest.approx(1 / 12)
    assert scores["wer_ceiling"] == 0
    assert scores["wer_ci95"][0] <= scores["wer"] <= scores["wer_ci95"][1]
    assert scores["onset_f1"] == 0.75
    assert "onset_f1_floor" not in scores  # not measured is absent
    assert "speaker_accuracy" not in scores
    assert scores["clips"] == 3
    assert scores["counted"] == {"wer": 2, "onset_f1": 2}
    assert scores["skipped"] == [{"id": "x", "reason": "why"}]


def test_fitting_clips_are_drawn_from_everywhere_and_scored_ones_are_the_first():
    wave = np.ones(4, np.int16)
    records = [{"meta": {"id": n, "task": "sound"}, "wave": wave} for n in range(1000)]
    del records[2]["wave"]
    drawn, _ = evaluator.by_task(records, {"sound": 50}, seed=0)
    ids = [r["meta"]["id"] for r in drawn["sound"]]
    assert len(set(ids)) == 50
    assert max(ids) > 800
    first, silent = evaluator.by_task(records, {"sound": 5})
    assert [r["meta"]["id"] for r in first["sound"]] == [0, 1, 3, 4, 5]
    assert [clip["id"] for clip in silent["sound"]] == [2]
    assert "no ground truth sound" in silent["sound"][0]["reason"]


def test_the_floor_of_a_clip_does_not_depend_on_its_batch(tiny_run, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH", 2)
    codec = load_codec(tiny_run / "codec")
    waves = [np.random.default_rng(n).normal(0, 0.1, 16_000).astype(np.float32) for n in range(3)]
    together = evaluator.through_codec(codec, waves)
    assert [len(wave) for wave in together] == [16_000] * 3
    np.testing.assert_allclose(evaluator.through_codec(codec, waves[2:])[0], together[2], atol=1e-4)
    assert evaluator.through_codec(codec, []) == []


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
        assert scores["mcd_floor" if task != "sound" else "kl_floor"] > 0
        for name in (n for n in NUMBERS if n in scores):
            assert {f"{name}_floor", f"{name}_ceiling"} <= set(scores) or name == "onset_mae_ms"
            low, high = scores[f"{name}_ci95"]
            assert all(map(math.isfinite, (low, high, scores[name])))
            assert low <= scores[name] + 1e-9
            assert scores[name] <= high + 1e-9


def test_text_shares_the_floor_of_speech(run):
    _, metrics = run
    assert metrics["text"]["wer_floor"] == metrics["speech"]["wer_floor"]


def test_examples_and_waves_are_there_for_each_clip(run):
    workdir, metrics = run
    found = lines(workdir / "eval")
    assert [line["task"] for line in found] == list(evaluation.TASKS)
    assert {"hypothesis", "errors", "errors_floor", "errors_ceiling", "mcd"} <= set(found[0])
    for line in found:
        made = workdir / "eval" / "generated" / line["task"] / f"{line['id']}.wav"
        floor = workdir / "eval" / "floor" / f"{line['id']}.wav"
        assert len(media.read_audio(made)) == len(media.read_audio(floor))
    speech = found[0]
    assert metrics["speech"]["wer"] == pytest.approx(int(speech["errors"]) / int(speech["words"]))
    assert not list((workdir / "eval").rglob("*.partial"))


def test_the_protocol_says_how_it_was_done(run):
    workdir, metrics = run
    protocol = json.loads((workdir / "eval" / "protocol.json").read_text())
    assert (protocol["seed"], protocol["solver"], protocol["split"]) == (3, "euler", "test")
    assert protocol["recogniser"]["name"] == "pocketsphinx"
    assert "lower case" in protocol["recogniser"]["normalisation"]
    assert (
        protocol["judges"]["codec"]
        == json.loads((workdir / "codec/codec.json").read_text())["hash"]
    )
    assert protocol["dataset"] == json.loads((workdir / "shards/dataset.json").read_text())["hash"]
    assert protocol["clips"]["text"] == protocol["clips"]["speech"]
    assert {"jax", "librosa", "jiwer"} <= set(protocol["versions"])
    scores = {name for task in evaluation.TASKS for name in metrics[task]} & set(NUMBERS)
    assert scores <= set(protocol["metrics"])


def test_the_table_names_every_score(run):
    _, metrics = run
    text = evaluation.table(metrics)
    for task in evaluation.TASKS:
        for name in (n for n in NUMBERS if n in metrics[task]):
            assert any(line.split()[:2] == [task, name] for line in text.splitlines())


# ---- waves that are there already ---------------------------------------------------------


def test_generated_waves_give_the_same_scores(run, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluator, "BATCH", 4)
    workdir, metrics = run
    names = [row["id"] for row in lines(workdir / "eval") if row["task"] in ("speech", "sound")]
    for task, name in zip(("speech", "sound"), names, strict=True):
        shutil.copy(workdir / "eval" / "generated" / task / f"{name}.wav", tmp_path)
    table = "".join(f"{name},{name}.wav\n" for name in names)
    (tmp_path / "manifest.csv").write_text("id,audio\n" + table)
    again = evaluation.evaluate(workdir, generated=tmp_path, clips=1, out=tmp_path / "scores")
    for name in ("wer", "speaker_accuracy", "wer_floor", "wer_ceiling"):
        assert again["speech"][name] == metrics["speech"][name]
    assert again["speech"]["mcd"] == pytest.approx(metrics["speech"]["mcd"], rel=0.01)
    assert "text" not in again
    (left_out,) = again["joint"]["skipped"]
    assert again["joint"]["clips"] == 0
    assert "wer" not in again["joint"]
    assert left_out["reason"].startswith("missing")
    assert (tmp_path / "scores" / "metrics.json").exists()
    assert evaluation.left_out(again) == [f"joint {left_out['id']}: {left_out['reason']}"]


def test_a_folder_of_any_system_needs_shards_alone_and_tells_what_was_left_out(tiny_run, tmp_path):
    records = evaluator.shards.open_split(tiny_run / "shards", "test", with_wave=True)
    clip = next(r for r in map(records.__getitem__, range(9)) if r["meta"]["task"] == "speech")
    name = clip["meta"]["id"]
    media.write_wav(tmp_path / f"{name}.wav", evaluator.wave_of(clip))
    media.write_wav(tmp_path / "stranger.wav", np.zeros(100, np.float32))
    flags = (f"--shards={tiny_run / 'shards'}", f"--generated={tmp_path}", "--clips=1")
    done = tiny_configs.run("evaluate", *flags)
    assert done.returncode == evaluation.LEFT_OUT, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert len(told) == 3
    assert any("stranger.wav" in line for line in told)
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert metrics["speech"]["clips"] == 1
    assert metrics["speech"]["mcd"] == pytest.approx(0, abs=0.2)
    assert metrics["speech"]["wer"] == metrics["speech"]["wer_ceiling"]
    assert "wer_floor" not in metrics["speech"]  # there is no codec
    assert {metrics[task]["clips"] for task in ("sound", "joint")} == {0}


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


def test_an_unknown_split_or_solver_is_an_error(tiny_run):
    with pytest.raises(InputError, match="split"):
        evaluation.evaluate(tiny_run, split="tets")
    with pytest.raises(InputError, match="solver"):
        evaluation.evaluate(tiny_run, solver="oiler")


def test_a_folder_alone_is_not_enough(tmp_path):
    with pytest.raises(InputError, match="--shards"):
        evaluation.evaluate(generated=tmp_path)


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(InputError):
        evaluation.evaluate(tmp_path)
    assert not (tmp_path / "eval").exists()


# ---- while training -----------------------------------------------------------------------


def test_training_scores_a_few_validation_clips_now_and_then(tiny_run, monkeypatch):
    monkeypatch.setattr(evaluation, "WATCHED", 1)
    monkeypatch.setattr(evaluation, "BATCH", 4)
    generator = Generator.from_workdir(tiny_run)
    config = generator.config.copy_and_resolve_references()
    config.train.evaluate_every = 2
    given = (tiny_run / "shards", generator.codec, generator.statistics)
    hook = hooks.score_while_training(config, *given)
    now = types.SimpleNamespace(weights=generator.params)
    assert hook(1, now) is None
    scores = hook(2, now)
    assert {"speech/wer", "sound/kl", "joint/mcd"} <= set(scores)
    assert all(math.isfinite(value) for value in scores.values())
    config.train.evaluate_every = 0
    assert hooks.score_while_training(config, *given)(2, now) is None


@pytest.mark.slow
def test_scores_of_training_stand_in_the_log_and_a_run_goes_on_behind_them(tmp_path):
    flags = ("--config.train.evaluate_every=2", f"--workdir={tmp_path}")
    for steps in (2, 3):
        done = tiny_configs.run(
            "train", *tiny_configs.FLAGS, *flags, f"--config.train.steps={steps}", timeout=900
        )
        assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 2, 3]
    assert "speech/wer" in log[2] and log[2]["seconds"] == log[1]["seconds"]
