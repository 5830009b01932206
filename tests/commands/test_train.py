"""The command `train`: wrong recipes, fields and shards are one line and status 2."""

import pytest
from helpers import in_process, tiny_configs
from helpers.in_process import assert_error

from vssflow_jax import train
from vssflow_jax.config.fields import default_config
from vssflow_jax.generation import scoring
from vssflow_jax.reports import run as run_report


def test_a_misspelt_config_field_is_an_error():
    flags = ("--config=configs/grid.py", "--config.train.stepz=3")
    assert_error(in_process.run("train", *flags), "stepz")


def test_a_missing_recipe_is_an_error():
    flags = ("--config=configs/nothing.py", "--workdir=w")
    assert_error(in_process.run("train", *flags), "nothing.py")


def test_a_student_without_its_teacher_is_an_error():
    done = in_process.run("train", "--config=configs/distill.py:nowhere", "--workdir=w")
    assert_error(done, "--config: ", "nowhere")


@pytest.mark.slow
def test_a_student_is_trained_and_samples(tiny_run, tmp_path):
    """Distills the tiny run for two steps, and speaks with the student."""
    done = tiny_configs.run(
        "train",
        f"--config=configs/distill.py:{tiny_run}",
        f"--workdir={tmp_path / 'student'}",
        "--config.train.steps=2",
        "--config.train.validate_every=2",
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out.wav"
    flags = ("--text=set blue at g nine now", "--steps=2", "--scales=phonemes=9", f"--out={out}")
    done = tiny_configs.run("sample", f"--workdir={tmp_path / 'student'}", *flags)
    assert done.returncode == 0, done.stderr
    assert "warning: guidance scales phonemes 9: the model is a student" in done.stderr
    assert out.exists()


def test_missing_shards_are_not_replaced_by_the_corpus(tmp_path):
    """A mistyped folder of own data must not end in a model of something else."""
    flags = (f"--workdir={tmp_path / 'run'}", f"--config.data.shards={tmp_path / 'typo'}")
    done = in_process.run("train", *tiny_configs.FLAGS, *flags)
    assert_error(done, "typo", "prepare", out=tmp_path / "run")


def test_the_evaluation_has_a_second_recognizer_where_its_folder_is(tmp_path, monkeypatch):
    config, recognizers = default_config(), []
    monkeypatch.setattr(train.shards, "open_split", lambda *arguments, **options: ["a clip"])
    monkeypatch.setattr(
        scoring, "evaluate", lambda options: recognizers.append(options.open_recognizer)
    )
    monkeypatch.setattr(run_report, "write_report", lambda workdir: workdir)
    for folder in ("", str(tmp_path / "none"), str(tmp_path)):
        config.evaluate.recognizer = folder
        train.evaluate_and_report(config, tmp_path)
    assert recognizers == [None, None, f"whisper:{tmp_path}"]
