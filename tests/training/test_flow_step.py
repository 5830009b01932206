"""The flow's step: dropped conditions, parts of a batch, meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import meshes, train_steps

from vssflow_jax import conditions
from vssflow_jax.config import fields
from vssflow_jax.data import pipeline
from vssflow_jax.models import vssflow
from vssflow_jax.training import flow_step, sharding

PLAIN = {"optim__name": "adamw", "model__layers": 1}


def masks(batch=4000, present=1.0, **changes):
    dropout = fields.default_config().dropout
    dropout.update(all=0.0, video=0.0, each=0.0, granularity="example")
    dropout.update(changes)
    everywhere = {name: jnp.full(batch, present) for name in conditions.NAMES}
    return {
        n: np.asarray(m)
        for n, m in flow_step.sample_keep_masks(jax.random.key(0), everywhere, dropout).items()
    }


def test_dropout_of_all_conditions_drops_them_together():
    keep = masks(all=0.1)
    first = keep["clip"]
    assert all((mask == first).all() for mask in keep.values())
    assert first.mean() == pytest.approx(0.9, abs=0.02)


def test_dropout_of_video_leaves_text_and_voice():
    keep = masks(video=0.3)
    assert keep["phonemes"].all() and keep["speaker"].all()
    assert (keep["clip"] == keep["lips"]).all() and (keep["clip"] == keep["sync"]).all()
    assert keep["clip"].mean() == pytest.approx(0.7, abs=0.03)


def test_dropout_of_each_is_independent():
    keep = masks(each=0.2)
    both = (keep["clip"] * keep["speaker"]).mean()
    assert both == pytest.approx(0.64, abs=0.03)


def test_one_condition_may_be_dropped_more_often_than_the_others():
    dropout = fields.default_config().dropout
    keep = masks(each=0.1, conditions={**dropout.conditions, "clip": 0.6, "lips": 0.0})
    assert keep["clip"].mean() == pytest.approx(0.4, abs=0.03) and keep["lips"].all()
    unchanged = masks(each=0.1)
    assert all((keep[name] == unchanged[name]).all() for name in ("speaker", "phonemes", "sync"))


def test_dropout_a_batch_is_one_draw():
    assert all(
        len(set(mask.tolist())) == 1 for mask in masks(all=0.5, granularity="batch").values()
    )


def test_absent_conditions_stay_absent():
    assert not any(mask.any() for mask in masks(present=0.0).values())


def frames_kept(ratios, granularity, seed=0, batch=400, length=50):
    dropout = fields.default_config().dropout
    dropout.update(frame_ratios=ratios, granularity=granularity)
    keep = {name: jnp.ones(batch) for name in conditions.NAMES}
    keep["lips"] = keep["lips"].at[0].set(0)
    return flow_step.sample_frame_masks(jax.random.key(seed), keep, length, dropout)


def test_the_share_of_masked_frames_is_that_of_the_config():
    keep = frames_kept((0.3,), "batch")
    assert keep["lips"].shape == keep["sync"].shape == (400, 50)
    assert all(keep[name].shape == (400,) for name in ("clip", "speaker", "phonemes"))
    assert keep["sync"].mean() == pytest.approx(0.7, abs=0.02)
    assert not keep["lips"][0].any(), "an absent condition stays absent"
    both = (keep["lips"][1:] * keep["sync"][1:]).mean()
    assert both == pytest.approx(0.49, abs=0.02), "lips and sync are masked apart"


def test_all_or_nothing_is_drawn_a_batch_or_an_example():
    shares = {float(frames_kept((0.0, 1.0), "batch", seed)["sync"].mean()) for seed in range(12)}
    assert shares == {0.0, 1.0}
    an_example = frames_kept((0.0, 1.0), "example")["sync"].mean(-1)
    assert set(an_example.tolist()) == {0.0, 1.0}
    assert an_example.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_losses_do_not_depend_on_mesh_or_accumulation(optimizer):
    fields = {"optim__name": optimizer}
    by_mesh = meshes.on_devices({name: (name, fields) for name in train_steps.MESHES})
    meshes.assert_equal_losses(by_mesh)


def shaken(x):
    return x + 0.1 * jax.random.normal(jax.random.key(0), x.shape)


@pytest.mark.slow
def test_accumulated_parts_give_the_gradient_of_the_batch():
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    codec, key, results = train_steps.Slices(jnp.float32(3.0)), jax.random.key(1), []
    for parts in (1, 4):
        config = train_steps.small(
            train__grad_accumulation=parts, dropout__frame_ratios=(0.0, 0.5), **PLAIN
        )
        model = vssflow.build_model(config, train_steps.CHANNELS)
        first = flow_step.make_init_state(
            model, config, train_steps.SPEC, train_steps.CHANNELS, mesh
        )()
        params = jax.tree.map(shaken, first.params)
        batch = sharding.place_batch(train_steps.batch(0), mesh)
        compute = jax.jit(functools.partial(flow_step.loss_and_gradient, model, config=config))
        results.append(compute(params, codec, batch, key))
    (loss, gradient), (loss4, gradient4) = results
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
    model = vssflow.build_model(config, train_steps.CHANNELS)
    make = flow_step.make_init_state(model, config, train_steps.SPEC, train_steps.CHANNELS, mesh)
    state, codec = jax.eval_shape(make), train_steps.Slices(jnp.float32(3.0))
    batch = sharding.place_batch(jax.tree.map(lambda x: x[:1], train_steps.batch(0)), mesh)
    compiled = jax.jit(flow_step.make_flow_train_step(model, config), donate_argnums=0).lower(
        state, codec, batch
    )
    needs = compiled.compile().memory_analysis()
    gradient = sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))
    assert needs.alias_size_in_bytes > 3.9 * gradient
    assert needs.temp_size_in_bytes < 1.6 * gradient


def test_projections_are_as_wide_as_the_features_of_the_shards():
    config = train_steps.small(**PLAIN)
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    model = vssflow.build_model(config, train_steps.CHANNELS)
    spec = pipeline.BatchSpec.from_duration(1.0, {"lips": 25}, {"lips": 21})
    make = flow_step.make_init_state(model, config, spec, train_steps.CHANNELS, mesh)
    params = flatten_dict(jax.eval_shape(make).params, sep="/")
    widths = {name: leaf.shape[0] for name, leaf in params.items() if "/in/" in name}
    assert widths["conditioner/lips/in/kernel"] == 21
    assert widths["conditioner/clip/in/kernel"] == 768
