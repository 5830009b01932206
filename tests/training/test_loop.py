"""The training loop: what is saved, kept, validated and skipped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small_runs, train_steps

from vssflow_jax.common.errors import InputError
from vssflow_jax.training import distributed, loop, sharding


def test_skipped_steps_change_nothing_and_too_many_in_a_row_stop_the_run(tmp_path):
    before = small_runs.run(
        tmp_path, small_runs.Batches(good=4), train__steps=10, train__max_skipped_steps=3
    )
    seen = {}

    def look(number, state):
        seen[number] = jax.tree.map(np.asarray, state.replace(step=None))
        assert int(state.step) == number

    with pytest.raises(InputError, match=r"3 steps in a row, up to 7, .* clip7-0, clip7-1, "):
        before.train(look)
    jax.tree.map(np.testing.assert_array_equal, seen[4], seen[6])
    assert any(
        np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (seen[3], seen[4])), strict=True)
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["skipped_steps"] for line in lines] == [0, 0, 0, 0, 1, 2]
    before.checkpoints.close()

    again = small_runs.run(
        tmp_path, small_runs.Batches(good=6), train__steps=10, train__max_skipped_steps=2
    )
    assert again.step == 6  # with its row of two skipped steps
    with pytest.raises(InputError, match=r"3 steps in a row, up to 7"):
        again.train(look)
    again.checkpoints.close()


def test_the_next_batch_is_placed_while_a_step_runs(tmp_path, monkeypatch):
    small_run = small_runs.run(tmp_path, small_runs.Batches(good=9))
    place, under_way, pending = sharding.place_batch, [], []

    @jax.jit
    def slow(state, codec, batch):
        x = jax.lax.fori_loop(0, 300, lambda _, x: jnp.tanh(x @ x), jnp.ones((400, 400)))
        return state.replace(step=state.step + 1), {"skipped": x[0, 0] > 9}

    def watched_place(*arguments):
        placed = jax.block_until_ready(place(*arguments))
        under_way.append(not pending[-1].is_ready() if pending else False)
        return placed

    def advance(*arguments):
        state, metrics = slow(*arguments)
        pending.append(metrics["skipped"])
        return state, metrics

    slow(small_run.state, small_run.codec, place(train_steps.batch(0), small_run.mesh))  # compiles
    small_run._train_step = advance
    monkeypatch.setattr(sharding, "place_batch", watched_place)
    for _ in range(4):
        small_run._take_step(loop.StepTimer(1, 0.0))
    assert under_way == [False, True, True, True]
    small_run.checkpoints.close()


@pytest.mark.slow
def test_the_least_validation_loss_is_kept_beside_the_newest(tmp_path):
    small_run = small_runs.run(
        tmp_path,
        small_runs.Batches(good=99),
        lambda: [train_steps.batch(0)],
        train__steps=10,
        train__keep_checkpoints=1,
        train__validate_every=2,
        optim__learning_rate=1e-2,
    )
    worse = iter([5.0, 3.0, 4.0, 6.0, 7.0])
    small_run._validation_loss = lambda *_: next(worse)
    small_run.train(lambda *_: None)
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [4, 10]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("valid_loss") for line in lines[1::2]] == [5.0, 3.0, 4.0, 6.0, 7.0]


def test_validation_is_the_same_each_time_and_drops_nothing(tmp_path):
    batches = [train_steps.batch(0), train_steps.batch(1)]
    small_run = small_runs.run(
        tmp_path, small_runs.Batches(good=9), lambda: batches, dropout__all=1.0
    )
    loss = small_run._validate()
    assert small_run._validate() == loss
    batches.pop()
    assert small_run._validate() != loss
    assert small_run.checkpoints.best[1] == 0


def test_only_the_main_process_reads_the_log(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "sec')
    monkeypatch.setattr(distributed, "is_main_process", lambda: False)
    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=1).train(lambda *_: None)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "sec'


def test_a_torn_last_line_of_the_log_does_not_end_a_run(tmp_path):
    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=2).train(lambda *_: None)
    lines = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(lines + '{"step": 2, "loss": 1.')
    small_runs.run(tmp_path, small_runs.Batches(good=9), train__steps=3).train(lambda *_: None)
    resumed = (tmp_path / "metrics.jsonl").read_text()
    assert resumed.startswith(lines)
    entries = [json.loads(line) for line in resumed.splitlines()]
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    seconds = [entry["seconds"] for entry in entries]
    assert seconds == sorted(seconds)
