"""Checkpoints: identity, layouts of older ones, any step."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import unflatten_dict
from helpers import small_runs

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields
from vssflow_jax.training import checkpoint


def test_an_identity_that_differs_is_named_with_both_values():
    with pytest.raises(InputError, match=r"checkpoint 3: codec: found 'b', expected 'a', with"):
        checkpoint.check_identity({"codec": "a"}, {"codec": "b"}, "checkpoint 3")


def test_a_checkpoint_older_than_a_config_field_had_its_default():
    now = fields.fixed_fields(fields.default_config())
    before = {name: value for name, value in now.items() if name != "model.cross_attention_rope"}
    checkpoint.check_identity({"config": before}, {"config": now}, "checkpoint 3")
    now["model.cross_attention_rope"] = True
    with pytest.raises(InputError, match="cross_attention_rope: found True, expected False"):
        checkpoint.check_identity({"config": before}, {"config": now}, "checkpoint 3")


# ---- layouts ------------------------------------------------------------------------------


def taken(workdir, steps, **changes):
    """A small run after some steps."""
    batches = small_runs.Batches(good=99)
    small_run = small_runs.run(workdir, batches, train__steps=steps, **changes)
    small_run.train(lambda *_: None)
    return small_run


def older_names(state) -> dict:
    """The optimizer's state as checkpoints had it before `optax.partition`."""
    inner = state.opt_state.inner_states
    main, durations = (
        checkpoint._flatten(inner[name].inner_state) for name in ("main", "durations")
    )
    durations = {name.replace("/durations/", "/"): leaf for name, leaf in durations.items()}
    older = {f"main/{name}": leaf for name, leaf in main.items()}
    older |= {f"durations/{name}": leaf for name, leaf in durations.items()}
    return unflatten_dict(older, sep="/")


@pytest.mark.parametrize(
    "changes", [pytest.param({"optim__ema_decay": 0.0}, marks=pytest.mark.slow), {}]
)
def test_checkpoints_of_the_older_layout_are_restored(tmp_path, changes):
    small_run = taken(tmp_path / "new", 2, **changes)
    state, step = small_run.state, small_run.step
    older = {"step": state.step, "params": state.params, "ema": None}
    items = ocp.args.Composite(
        state=ocp.args.PyTreeSave({**older, "opt_state": older_names(state)}),
        weights=ocp.args.PyTreeSave(state.weights),
        position=ocp.args.JsonSave({"next_index": 2}),
        identity=ocp.args.JsonSave({"codec": "slices"}),
    )
    writer = checkpoint.Checkpoints(tmp_path / "old", writes=True)
    writer._manager.save(step, args=items)
    writer.close()
    restored = small_runs.run(tmp_path / "old", small_runs.Batches(good=99), **changes)
    assert restored.step == 2
    jax.tree.map(np.testing.assert_array_equal, restored.state, state)
    restored.checkpoints.close()


def test_without_averages_the_parameters_are_saved_once(tmp_path):
    small_run = small_runs.run(tmp_path, small_runs.Batches(good=99), optim__ema_decay=0.0)
    small_run.state = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state))(small_run.state)
    small_run._saved_step = None
    small_run.save()  # step 0, with other numbers than a new run has
    small_run.checkpoints.close()
    saved = small_run.checkpoints._read_metadata(0, "state")
    assert saved["params"] is None and saved["ema"] is None
    resumed = small_runs.run(tmp_path, small_runs.Batches(good=99), optim__ema_decay=0.0)
    jax.tree.map(np.testing.assert_array_equal, resumed.state, small_run.state)
    resumed.checkpoints.close()


# ---- steps --------------------------------------------------------------------------------


def test_any_step_can_be_asked_for_and_step_0_is_one(tmp_path):
    small_run = small_runs.run(tmp_path, small_runs.Batches(good=99), train__steps=2)
    small_run._saved_step = None
    small_run.save()  # step 0
    first = jax.tree.map(np.asarray, small_run.state.weights)
    small_run.train(lambda *_: None)
    weights, step, _ = checkpoint.load_weights(tmp_path, step=0)
    assert step == 0
    jax.tree.map(np.testing.assert_array_equal, weights, first)
    assert checkpoint.load_weights(tmp_path)[1] == 2
    with pytest.raises(InputError, match=r"found no checkpoint 1, expected one of \[0, 2\]"):
        checkpoint.load_weights(tmp_path, step=1)
