"""The training loop: what is saved, kept, validated and skipped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small_runs, train_steps

from vssflow_jax.common.errors import InputError
from vssflow_jax.training import chips, distributed, log, loop, sharding, state


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
        return state.replace(step=state.step + 1), {"skipped": x[0, 0] > 9, "loss": x[0, 0]}

    def watched_place(*arguments):
        placed = jax.block_until_ready(place(*arguments))
        under_way.append(not pending[-1].is_ready() if pending else False)
        return placed

    def advance(*arguments):
        state, metrics = slow(*arguments)
        pending.append(metrics["loss"])
        return state, metrics

    slow(small_run.state, small_run.codec, place(train_steps.batch(0), small_run.mesh))  # compiles
    small_run._train_step = advance
    monkeypatch.setattr(sharding, "place_batch", watched_place)
    for _ in range(4):
        small_run._take_step(loop.StepTimer(1, 0.0, loop.DeviceUsage()))
    assert under_way == [False, True, True, True, True]
    assert all(loss.is_ready() for loss in pending[:-1])  # no more than one step ahead
    assert small_run._feed.position == {"next_index": 4}  # though the fifth batch is placed
    small_run.checkpoints.close()


def test_outcomes_of_steps_are_fetched_with_the_log_alone(tmp_path, monkeypatch):
    """No transfer from the devices between two lines of the log."""
    fetched, fetch = [], jax.device_get
    run = small_runs.run(tmp_path, small_runs.Batches(good=99), train__steps=6)
    run.config.train.update(log_every=3, checkpoint_every=6)
    monkeypatch.setattr(jax, "device_get", lambda tree: fetched.append(run.step) or fetch(tree))
    run.train(lambda *_: None)
    assert set(fetched) == {3, 6}


def test_a_batch_that_cannot_be_read_ends_the_run_after_the_step_before_it(tmp_path):
    class Torn(small_runs.Batches):
        def __next__(self):
            if self.number == 3:
                raise InputError("shard: torn")
            return super().__next__()

    run = small_runs.run(tmp_path, Torn(good=9), train__steps=6)
    run.config.train.checkpoint_every = 6
    with pytest.raises(InputError, match="shard: torn"):
        run.train(lambda *_: None)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    run.checkpoints.close()


def test_sight_before_the_first_step_and_in_the_log(tmp_path, monkeypatch, capsys):
    """Memory, the largest batch, model FLOPs and MFU; a profile of the steps asked for."""
    monkeypatch.setattr(chips, "find_peak_flops", lambda kind: 1e12)
    run = small_runs.run(
        tmp_path, small_runs.Batches(good=99), train__steps=7, train__profile_steps=2
    )
    run.config.train.checkpoint_every = 7
    sounds = {"samples/a": log.Sound(wave=np.sin(np.arange(8000) / 9), sample_rate=16_000)}
    jobs = {4: lambda: sounds, 6: lambda: {"score": 1.0}}
    run.train(lambda step, state: jobs.get(step))
    printed = capsys.readouterr().out
    assert "memory of a step on a device: 0." in printed and "would fit: about" in printed
    assert f"profile of steps 4 to 5: {tmp_path / 'profile'}" in printed
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 6, 7]
    rows = [line for line in lines if "loss" in line]
    # Twice a product of each parameter with each token, thrice for the gradient, is most of it.
    per_step = rows[0]["model_flops_per_second"] / rows[0]["clips_per_second"] * train_steps.BATCH
    tokens = train_steps.BATCH * (train_steps.SPEC.latent_frames + 1)
    assert 0.5 < per_step / (6 * tokens * state.count_parameters(run.state.params)) < 2
    assert all(row["mfu"] == row["model_flops_per_second"] / 1e12 for row in rows)
    events = b"".join(path.read_bytes() for path in (tmp_path / "tb").iterdir())
    assert b"samples/a" in events and b"samples/a/log_mel" in events and b"WAVE" in events


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
