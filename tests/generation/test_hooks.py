"""Hooks that score validation examples while a model trains."""

import json
import math
import types

import pytest
from helpers import tiny_configs

from vssflow_jax.generation import hooks, scoring
from vssflow_jax.generation.generator import Generator


def test_training_scores_validation_examples_periodically(tiny_run, monkeypatch):
    monkeypatch.setattr(scoring, "PERIODIC_EXAMPLES", 1)
    monkeypatch.setattr(scoring, "BATCH_SIZE", 4)
    generator = Generator.from_workdir(tiny_run)
    config = generator.config.copy_and_resolve_references()
    config.train.evaluate_every = 2
    arguments = (tiny_run / "shards", generator.codec, generator.statistics)
    hook = hooks.evaluate_periodically(config, *arguments)
    state = types.SimpleNamespace(weights=generator.params)
    assert hook(1, state) is None
    scores = hook(2, state)
    assert {"speech/wer", "sound/kl", "joint/mcd"} <= set(scores)
    assert all(math.isfinite(value) for value in scores.values())
    config.train.evaluate_every = 0
    assert hooks.evaluate_periodically(config, *arguments)(2, state) is None


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
