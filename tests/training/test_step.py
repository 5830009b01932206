"""Steps: pieces of a batch, meshes, what is not finite; and what counts it."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny_configs, train_steps

from vssflow_jax.common.errors import InputError
from vssflow_jax.models import duration_model
from vssflow_jax.training import loop, sharding, step
from vssflow_jax.training.nan_guard import NanGuard
from vssflow_jax.training.state import init_state

PLAIN = {"optim__name": "adamw", "model__layers": 1}


def on_devices(*names, **changes):
    """The losses of ten steps on meshes of eight simulated devices, in a process of its own."""
    environment = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "CHANGES": json.dumps(changes),
    }
    done = subprocess.run(
        [sys.executable, str(tiny_configs.ROOT / "tests" / "helpers" / "train_steps.py"), *names],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def agree(found):
    one = found.pop("one")
    assert len(set(one)) == 10
    for name, losses in found.items():
        np.testing.assert_allclose(losses, one, rtol=1e-5, err_msg=name)


def test_a_mixed_mesh_with_pieces_gives_one_devices_losses():
    agree(on_devices("one", "mixed in pieces", **PLAIN))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_losses_do_not_depend_on_mesh_or_pieces(optimizer):
    found = on_devices(optim__name=optimizer)
    assert found.keys() == train_steps.MESHES.keys()
    agree(found)


def shaken(x):
    return x + 0.1 * jax.random.normal(jax.random.key(0), x.shape)


@pytest.mark.slow
def test_pieces_give_the_whole_batchs_gradient():
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    codec, key, found = train_steps.Slices(jnp.float32(3.0)), jax.random.key(1), []
    for pieces in (1, 4):
        config = train_steps.small(
            train__grad_accumulation=pieces, dropout__frame_ratios=(0.0, 0.5), **PLAIN
        )
        model = loop.vssflow.build_model(config, train_steps.CHANNELS)
        made = loop.make_init_state(model, config, train_steps.SPEC, train_steps.CHANNELS, mesh)()
        params = jax.tree.map(shaken, made.params)
        batch = sharding.place_batch(train_steps.batch(0), mesh)
        compute = jax.jit(functools.partial(step.loss_and_gradient, model, config=config))
        found.append(compute(params, codec, batch, key))
    (loss, gradient), (loss4, gradient4) = found
    assert loss4 == pytest.approx(float(loss), rel=1e-5)
    size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    assert size > 0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * size), gradient, gradient4
    )


def test_the_state_changes_in_place():
    """Beside the state, a step needs the gradient and little more: no second copy of moments."""
    wide = {"model__head_dim": 32, "model__mlp_ratio": 8, "model__layers": 4}
    config = train_steps.small(**{**PLAIN, **wide})
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    model = loop.vssflow.build_model(config, train_steps.CHANNELS)
    make = loop.make_init_state(model, config, train_steps.SPEC, train_steps.CHANNELS, mesh)
    state, codec = jax.eval_shape(make), train_steps.Slices(jnp.float32(3.0))
    batch = sharding.place_batch(jax.tree.map(lambda x: x[:1], train_steps.batch(0)), mesh)
    compiled = jax.jit(step.make_flow_train_step(model, config), donate_argnums=0).lower(
        state, codec, batch
    )
    needs = compiled.compile().memory_analysis()
    gradient = sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))
    assert needs.alias_size_in_bytes > 3.9 * gradient
    assert needs.temp_size_in_bytes < 1.6 * gradient


class Batches:
    """Made-up batches from some step on spoiled; as Grain's iterator."""

    def __init__(self, good):
        self.number, self.good = 0, good

    def __next__(self):
        self.number += 1
        return train_steps.batch(self.number, spoil=self.number > self.good)

    def get_state(self):
        return {"next_index": self.number}

    def set_state(self, state):
        self.number = state["next_index"]


def run(workdir, batches, **changes):
    """A run of the small network."""
    config = train_steps.small(
        train__log_every=1, train__checkpoint_every=2, train__sample_every=0, **PLAIN, **changes
    )
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    codec = train_steps.Slices(jnp.float32(3.0))
    identity = {"codec": "slices"}
    return loop.Run(config, workdir, mesh, codec, batches, train_steps.SPEC, identity, 100)


def test_steps_that_are_not_finite_change_nothing_and_stop_the_run_by_name(tmp_path):
    before = run(tmp_path, Batches(good=4), train__steps=10, train__max_skipped_steps=3)
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

    again = run(tmp_path, Batches(good=6), train__steps=10, train__max_skipped_steps=2)
    assert again.done == 6  # with its row of two skipped steps
    with pytest.raises(InputError, match=r"3 steps in a row, up to 7"):
        again.train(look)
    again.checkpoints.close()


def test_a_gradient_of_a_network_beside_counts_as_well():
    """What is not finite there would otherwise stay in that network for good."""
    config = train_steps.small(train__steps=4, optim__warmup_steps=0, **PLAIN)
    params = {"main": jnp.ones((2, 2)), duration_model.PARAMS_KEY: jnp.ones(3)}

    def compute(params, codec, batch, key):
        del codec, key
        return jax.value_and_grad(lambda p: jnp.sum(p["main"] ** 2))(params)

    def beside(params, batch, key):
        del key
        return jnp.sum(params) * batch

    advance = step.make_train_step(compute, config, {duration_model.PARAMS_KEY: beside})
    first = init_state(params, config).replace(step=jnp.int32(3))
    kept, metrics = advance(first, None, jnp.float32(jnp.nan))
    assert metrics["skipped"] and kept.step == 4
    jax.tree.map(np.testing.assert_array_equal, kept.params, params)
    moved, metrics = advance(first, None, jnp.float32(1.0))
    assert not metrics["skipped"]
    assert all(np.all(moved.params[name] != params[name]) for name in params)


def test_the_next_batch_is_placed_while_a_step_runs(tmp_path, monkeypatch):
    made, place, under_way = run(tmp_path, Batches(good=9)), sharding.place_batch, []

    @jax.jit
    def slow(state, codec, batch):
        x = jax.lax.fori_loop(0, 300, lambda _, x: jnp.tanh(x @ x), jnp.ones((400, 400)))
        return state.replace(step=state.step + 1), {"skipped": x[0, 0] > 9}

    def watched(*arguments):
        placed = jax.block_until_ready(place(*arguments))
        under_way.append(not pending[-1].is_ready() if pending else False)
        return placed

    def advance(*arguments):
        state, metrics = slow(*arguments)
        pending.append(metrics["skipped"])
        return state, metrics

    pending = []
    slow(made.state, made.codec, place(train_steps.batch(0), made.mesh))  # compiles
    made._step = advance
    monkeypatch.setattr(sharding, "place_batch", watched)
    for _ in range(4):
        made._advance(loop.StepTimer(1, 0.0))
    assert under_way == [False, True, True, True]
    made.checkpoints.close()


def test_tally_counts_rows_and_names_each_record_once(capsys):
    tally = NanGuard(max_skipped=2, max_corrupt=2)
    for number, skipped in enumerate((True, False, True, False, False)):
        tally.step(number, np.bool_(skipped), ["a"])
    tally.records(["x, record 1", "x, record 2"])
    tally.records(["x, record 1"])
    assert tally.state() == {"skipped": 2, "row": 0, "corrupt": ["x, record 1", "x, record 2"]}
    assert capsys.readouterr().err.count("x, record 1: corrupt") == 1
    again = NanGuard(max_skipped=2, max_corrupt=2, found=tally.state())
    assert again.values() == {"skipped_steps": 2, "corrupt_records": 2}
    with pytest.raises(InputError, match=r"found 3 .* at most 2: x, record 1; x, record 2; y"):
        again.records(["y, record 1"])


@pytest.mark.slow
def test_the_least_validation_loss_is_kept_beside_the_newest(tmp_path):
    made = run(
        tmp_path,
        Batches(good=99),
        train__steps=10,
        train__keep_checkpoints=1,
        train__validate_every=2,
        optim__learning_rate=1e-2,
    )
    worse = iter([5.0, 3.0, 4.0, 6.0, 7.0])
    made._validation = lambda *_: next(worse)
    made.train(lambda *_: None, lambda: [train_steps.batch(0)])
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [4, 10]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("valid_loss") for line in lines[1::2]] == [5.0, 3.0, 4.0, 6.0, 7.0]


def test_validation_is_the_same_each_time_and_drops_nothing(tmp_path):
    made = run(tmp_path, Batches(good=9), dropout__all=1.0)
    batch, other = train_steps.batch(0), train_steps.batch(1)
    first = made._validate([batch, other])
    assert made._validate([batch, other]) == first
    assert made._validate([batch]) != first
    assert made.checkpoints.best[1] == 0
