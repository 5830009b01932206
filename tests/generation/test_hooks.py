"""Hooks that score validation examples while a model trains."""

import dataclasses
import json
import math
import shutil
import sys
import types

import jax
import numpy as np
import pytest
from helpers import tiny_configs
from helpers.fixtures import write_video

from vssflow_jax import train
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import shards
from vssflow_jax.evaluation import evaluator
from vssflow_jax.generation import hooks, scoring
from vssflow_jax.generation.generator import Generator
from vssflow_jax.preparation.prepare import prepare


def test_training_scores_validation_examples_periodically(generator, tiny_run, monkeypatch):
    monkeypatch.setattr(scoring, "PERIODIC_EXAMPLES", 1)
    monkeypatch.setattr(scoring, "BATCH_SIZE", 4)
    monkeypatch.setattr(evaluator, "BATCH_SIZE", 4)
    config = generator.config.copy_and_resolve_references()
    config.train.evaluate_every = 2
    task = hooks.scoring_task(tiny_run, config, tiny_run / "shards", generator.codec)
    hook = hooks.PeriodicHook(config, generator.codec, generator.statistics, [task])
    state = types.SimpleNamespace(weights=generator.params)
    assert hook(1, state) is None
    scores = hook(2, state)()
    assert {"speech/wer", "sound/kl", "joint/mcd"} <= set(scores)
    assert all(math.isfinite(value) for value in scores.values())
    config.train.evaluate_every = 0
    assert not hooks.scoring_task(tiny_run, config, tiny_run / "shards", generator.codec).every


def test_samples_of_all_steps_come_from_one_generator_and_their_own_weights(
    generator, tiny_run, tmp_path, monkeypatch
):
    saved, generators = generator, []
    init = Generator.__init__
    monkeypatch.setattr(
        Generator, "__init__", lambda self, *args: generators.append(self) or init(self, *args)
    )
    config = saved.config.copy_and_resolve_references()
    config.train.sample_every = 2
    records = [shards.open_split(tiny_run / "shards", "valid", with_wave=True)[0]]
    task = hooks.sampling_task(tmp_path, config, records)
    hook = hooks.PeriodicHook(config, saved.codec, saved.statistics, [task])
    weights = saved.params
    halved = jax.tree.map(lambda array: array / 2, weights)
    name = records[0]["meta"]["id"]
    sounds = {}
    for step, params in ((2, weights), (3, weights), (4, halved), (6, weights)):
        job = hook(step, types.SimpleNamespace(weights=params))
        sounds |= {step: job()[f"samples/{name}"].wave} if job else {}
        assert generators[0].params is None  # none are kept between steps
    assert len(generators) == 1 and list(sounds) == [2, 4, 6]
    np.testing.assert_array_equal(sounds[2], saved.generate_batch(records)[0])
    np.testing.assert_array_equal(sounds[6], sounds[2])
    assert np.any(sounds[4] != sounds[2])
    assert {path.parent.name for path in (tmp_path / "samples").rglob("*.wav")} == {"2", "4", "6"}


def make_missing(run, generator, tmp_path, *tasks):
    """A hook of tasks, and the folder of a run that stands at step 6 and has saved 4 and 6."""
    workdir = tmp_path / "run"
    shutil.copytree(run / "checkpoints", workdir / "checkpoints")
    shutil.copy(run / "metrics.jsonl", workdir)
    config = generator.config.copy_and_resolve_references()
    config.train.update(sample_every=3, evaluate_every=4)
    tasks = [make(workdir, config) for make in tasks]
    hook = hooks.PeriodicHook(config, generator.codec, generator.statistics, tasks)
    return workdir, hook


def sampling(run):
    """Makes the task of one sample."""
    record = shards.open_split(run / "shards", "valid", with_wave=True)[0]
    return lambda workdir, config: hooks.sampling_task(workdir, config, [record])


def test_a_missed_job_is_done_from_its_checkpoint_as_it_would_have_been(
    generator, tiny_run, tmp_path
):
    workdir, hook = make_missing(tiny_run, generator, tmp_path, sampling(tiny_run))
    missed = hook.find_missed(workdir, 6, [4, 6])
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert (missed.step, missed.seconds) == (6, lines[5]["seconds"])
    (sound,) = missed.job().values()
    (expected,) = hook(6, types.SimpleNamespace(weights=generator.params))().values()
    assert generator.step == 6
    np.testing.assert_array_equal(sound.wave, expected.wave)
    assert len(list(workdir.glob("samples/6/*.wav"))) == 1
    assert hook.find_missed(workdir, 6, [4, 6]) is None


def test_a_missed_job_without_its_checkpoint_is_named(generator, tiny_run, tmp_path, capsys):
    workdir, hook = make_missing(tiny_run, generator, tmp_path, sampling(tiny_run))
    assert hook.find_missed(workdir, 2, [2]) is None and capsys.readouterr().out == ""
    assert hook.find_missed(workdir, 5, [4]) is None
    note = "note: no samples or scores of step 3: no checkpoint has its weights\n"
    assert capsys.readouterr().out == note


def test_scores_are_missed_while_the_log_has_none(generator, tiny_run, tmp_path):
    def score(workdir, config):
        task = hooks.scoring_task(workdir, config, tiny_run / "shards", generator.codec)
        return dataclasses.replace(task, run=lambda generator: {"step": generator.step})

    workdir, hook = make_missing(tiny_run, generator, tmp_path, score)
    missed = hook.find_missed(workdir, 6, [4, 6])
    assert missed.step == 4 and missed.job() == {"step": 4}
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "speech/wer": 0.5}) + "\n")
    assert hook.find_missed(workdir, 6, [4, 6]) is None


def empty_split(source, folder, *names):
    """A folder with the description of shards whose splits of these names are empty."""
    info = json.loads((source / "dataset.json").read_text())
    for name in names:
        info["splits"][name] |= {"files": [], "bytes": [], "sha256": [], "clips": 0}
        info["splits"][name] |= {"rows": {}, "silent": []}
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def test_without_validation_clips_nothing_is_scored_while_training(tiny_run, tmp_path, capsys):
    folder = empty_split(tiny_run / "shards", tmp_path / "shards", "valid")
    config = load_recipe("grid")
    config.train.evaluate_every = 2
    assert not hooks.scoring_task(tmp_path, config, folder, None).every
    assert f"no validation clips with sound in {folder}" in capsys.readouterr().out


def test_without_test_clips_the_report_is_written_and_says_so(tiny_run, tmp_path, capsys):
    workdir = tmp_path / "run"
    ignored = shutil.ignore_patterns("shards", "corpus", "tb", "eval")
    shutil.copytree(tiny_run, workdir, ignore=ignored)
    folder = empty_split(tiny_run / "shards", workdir / "shards", "test")
    config = load_recipe("grid")
    config.data.shards = str(folder)
    train.evaluate_and_report(config, workdir)
    assert f"no test clips with sound in {folder}: nothing to score" in capsys.readouterr().out
    assert (workdir / "report.html").is_file() and not (workdir / "eval").exists()


def test_missing_packages_are_an_error_in_the_fields_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "vssflow_jax.generation.scoring", None)
    with pytest.raises(InputError, match=r"^train\.evaluate: .*vssflow_jax\[eval\]"):
        hooks.import_scoring("train.evaluate")


@pytest.mark.slow
def test_two_clips_that_are_all_for_training_are_enough(tmp_path):
    rows = ["id,split,video"]
    for number in range(2):
        write_video(tmp_path / f"{number}.mp4", seconds=2.0, seed=number)
        rows.append(f"clip{number},train,{number}.mp4")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    prepare(tmp_path / "clips.csv", tmp_path / "shards", workers=0, progress=False)
    flags = [f"--config.data.shards={tmp_path / 'shards'}", "--config.train.steps=2"]
    done = tiny_configs.train(tmp_path / "run", *flags, "--config.train.evaluate=True")
    assert done.returncode == 0, done.stderr
    assert "clips of 2.0 to 2.0 s, seen whole" in done.stdout
    assert "no test clips with sound" in done.stdout and "nothing to score" in done.stdout
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_scores_are_logged_and_a_resumed_run_keeps_them(tmp_path):
    flags = ("--config.train.evaluate_every=2", f"--workdir={tmp_path}")
    for steps in (2, 3):
        done = tiny_configs.run(
            "train", *tiny_configs.FLAGS, *flags, f"--config.train.steps={steps}", timeout=900
        )
        assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 2, 3]
    assert "speech/wer" in log[2] and log[2]["seconds"] == log[1]["seconds"]


@pytest.mark.slow
def test_what_was_due_at_the_step_of_a_signal_is_made_by_the_next_start(tmp_path):
    """As a start that ended at step 2 before its samples and scores leaves the folder."""
    flags, folders = ("--config.train.sample_every=2", "--config.train.evaluate_every=2"), []
    for name, first in (("unbroken", flags), ("late", ())):
        folders.append(tmp_path / name)
        for steps, chosen in ((2, first), (3, flags)):
            done = tiny_configs.train(folders[-1], f"--config.train.steps={steps}", *chosen)
            assert done.returncode == 0, done.stderr
    assert "samples or scores of step 2, which were not finished, are made now" in done.stdout
    unbroken, late = ((folder / "metrics.jsonl").read_text().splitlines() for folder in folders)
    unbroken, late = ([json.loads(line) for line in lines] for lines in (unbroken, late))
    assert [row["step"] for row in late] == [1, 2, 2, 3]
    times = {"seconds"}
    assert {k: v for k, v in late[2].items() if k not in times} == {
        k: v for k, v in unbroken[2].items() if k not in times
    }
    assert late[2]["seconds"] == late[1]["seconds"]
    unbroken, late = (sorted((folder / "samples").rglob("*.wav")) for folder in folders)
    assert len(late) == 3
    assert [path.read_bytes() for path in late] == [path.read_bytes() for path in unbroken]
