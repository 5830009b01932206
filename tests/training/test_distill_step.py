"""Distillation: the first student, spans, scales, the teacher's roll-out, and the loop."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import small_runs, train_steps
from helpers.small_model import BATCH, LENGTH, draw_features, draw_latent, keep_all, setup

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.flow import grids, guidance, solvers
from vssflow_jax.models import vssflow
from vssflow_jax.models.dit import STUDENT_PARTS
from vssflow_jax.training import checkpoint, distill_step, init_from, sharding

CONFIG = {**small_runs.PLAIN, "model__duration_width": 8, "optim__learning_rate": 3e-3}
NAMES = list(conditions.NAMES)
AVERAGE = {"distill__teacher": "average"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The folder of a small flow model."""
    folder = tmp_path_factory.mktemp("teacher")
    train_steps.write_teacher(folder, train_steps.small(**CONFIG))
    return folder


def distill_fields(teacher, **changes):
    """Fields of a run of its student."""
    return {
        **CONFIG, "train__task": "distill", "train__init_from": str(teacher), "dropout__all": 0.0,
        "distill__steps": 2, **changes,
    }  # fmt: skip


def start(teacher, **changes):
    config = train_steps.small(**distill_fields(teacher, **changes))
    return train_steps.start(config, train_steps.one_device())


# ---- the student --------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["joint", "all_concat"])
def test_the_first_student_equals_its_teacher(route):
    """At any span and scales, since what a student adds to its teacher is zero."""
    _, params, teacher = setup(route)
    student, first, _ = setup(route, student=True)
    x, t = draw_latent()

    @jax.jit
    def init_own_params():
        fresh = student.init(jax.random.key(1), x, t, draw_features(), keep_all())["params"]["dit"]
        return {name: fresh[name] for name in STUDENT_PARTS}

    own = init_own_params()
    assert {*first["dit"]} - {*params["dit"]} == {*own}
    start = {**params, "dit": {**params["dit"], **own}}
    span, scales = jnp.asarray([0.0, 0.3, 0.5]), jnp.full((BATCH, len(NAMES)), 2.5)
    features, keep = draw_features(), keep_all()
    student_velocity = jax.jit(student.apply)({"params": start}, x, t, features, keep, span, scales)
    velocity = teacher(x, t, features, keep)
    np.testing.assert_allclose(student_velocity, velocity, atol=1e-6)


def test_a_student_depends_on_span_and_the_scales_of_present_conditions():
    student, params, _ = setup(student=True)
    x, t = draw_latent()
    keep = {**keep_all(), "clip": jnp.zeros(BATCH)}

    @jax.jit
    def velocity(span, scales):
        return student.apply({"params": params}, x, t, draw_features(), keep, span, scales)

    span, scales = jnp.full(BATCH, 0.2), jnp.full((BATCH, len(NAMES)), 2.0)
    base = velocity(span, scales)
    assert jnp.abs(velocity(span + 0.1, scales) - base).max() > 1e-3
    for place, name in enumerate(NAMES):
        moved = jnp.abs(velocity(span, scales.at[:, place].add(1.0)) - base).max()
        assert moved == 0 if name == "clip" else moved > 1e-3, name


def test_the_step_zero_of_a_run_has_the_teachers_weights(teacher):
    state, _, frozen = start(teacher)
    weights, _, _ = checkpoint.load_weights(teacher)
    for part in ("conditioner", "dit", "durations"):
        jax.tree.map(
            np.testing.assert_array_equal,
            weights[part],
            {k: v for k, v in state.params[part].items() if k in weights[part]},
        )
    assert not np.any(state.params["dit"]["span"]["out"]["kernel"])
    assert not np.any(state.params["dit"]["scales"]["out"]["kernel"])
    assert not np.any(state.params["dit"]["guidance"]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, frozen.teacher["dit"], weights["dit"])


def test_a_student_may_begin_with_the_weights_of_another_and_have_the_same_teacher(
    teacher, tmp_path
):
    fields = student(distill_fields(teacher), 2)
    first = small_runs.run(tmp_path / "first", small_runs.Batches(good=99), **fields)
    first.train(lambda *_: None)
    (tmp_path / "first" / "config.json").write_text(first.config.to_json())
    fields["distill__init_from"] = str(tmp_path / "first")
    second = small_runs.run(tmp_path / "second", small_runs.Batches(good=99), **fields)
    weights = checkpoint.load_weights(tmp_path / "first")[0]
    jax.tree.map(np.testing.assert_array_equal, second.state.params, weights)
    assert np.any(second.state.params["dit"]["span"]["out"]["kernel"])
    assert second.identity["teacher"] == first.identity["teacher"]


def test_errors_name_the_field_whose_weights_do_not_fit(teacher, tmp_path):
    fields = student(distill_fields(teacher), 2)
    (tmp_path / "empty").mkdir()
    fields["distill__init_from"] = str(tmp_path / "empty")
    with pytest.raises(InputError, match=r"^distill\.init_from: "):
        small_runs.run(tmp_path / "run", small_runs.Batches(good=99), **fields)


# ---- draws --------------------------------------------------------------------------------


def sample_spans(**changes):
    distill = train_steps.small(**changes).distill
    return distill_step.sample_spans(jax.random.key(0), 4000, "uniform", distill)


def test_spans_of_a_grid_are_those_of_sampling():
    t, span = sample_spans(distill__grid_ratio=1.0, distill__evaluations=(1, 4))
    steps = set(zip(t[2000:].tolist(), span[2000:].tolist(), strict=True))
    assert steps == {(0.0, 1.0), *((place / 4, 0.25) for place in range(4))}
    assert not span[:2000].any() and len(set(t[:2000].tolist())) > 1900
    share = np.isin(sample_spans(distill__grid_ratio=0.25)[1][2000:], [1, 0.5, 0.25, 0.125])
    assert share.mean() == pytest.approx(0.25, abs=0.04)


def test_spans_follow_the_grid_of_the_config():
    t, span = sample_spans(
        distill__grid_ratio=1.0, distill__grid="sway", distill__evaluations=(2, 4)
    )
    ends = {
        (round(a, 5), round(a + b, 5))
        for a, b in zip(t[2000:].tolist(), span[2000:].tolist(), strict=True)
    }
    times = [[round(time, 5) for time in grids.sway_times(n)] for n in (2, 4)]
    assert ends == {pair for each in times for pair in itertools.pairwise(each)}


def test_half_of_the_spans_are_zero_and_the_others_stay_within_the_path():
    t, span = sample_spans(distill__grid_ratio=0.0)
    assert not span[:2000].any() and (span[2000:] > 0).all()
    assert (t >= 0).all() and (t + span <= 1).all()
    assert float(t[:2000].mean()) == pytest.approx(0.5, abs=0.03)
    assert float(span[2000:].mean()) == pytest.approx(1 / 3, abs=0.02)


def test_scale_groups_are_those_of_sampling():
    """Conditions of equal scale, in the order of their first names, each scale in its range."""
    distill = train_steps.small(distill__min_scale=1.0, distill__max_scale=3.0).distill
    numbers, scales = map(
        np.asarray, distill_step.sample_scale_groups(jax.random.key(0), 300, 5, 3, distill)
    )
    assert scales.min() >= 1 and scales.max() <= 3
    counts = set()
    for row, own in zip(numbers, scales, strict=True):
        single = {name: float(own[number]) for name, number in zip(NAMES, row, strict=True)}
        groups = guidance.group_by_scale(NAMES, 0.0, single)
        assert [scale for _, scale in groups] == pytest.approx(own[: len(groups)])
        for place, (names, _) in enumerate(groups):
            assert names == tuple(np.array(NAMES)[row == place])
        counts.add(len(groups))
    assert counts == {1, 2, 3}


def test_the_students_scales_are_those_of_the_groups():
    draws = {
        "group": jnp.asarray([[0, 1, 0, 1]]),
        "group_scales": jnp.asarray([[1.5, 2.5]]),
    }
    names = [name for name in NAMES if name != "lips"]
    scales = distill_step.scales_by_condition(draws, names)[0]
    expected = {"clip": 1.5, "speaker": 2.5, "phonemes": 1.5, "lips": 1.0, "sync": 2.5}
    assert dict(zip(NAMES, scales.tolist(), strict=True)) == expected


# ---- targets ------------------------------------------------------------------------------


def make_draws():
    """Draws of a small batch: two groups of conditions, the first clip without its video."""
    scales = np.random.default_rng(0).uniform(1.0, 3.0, (BATCH, 2))
    numbers = jnp.asarray([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]])
    absent = {name: jnp.ones(BATCH).at[0].set(name not in conditions.VIDEO) for name in NAMES}
    return {
        "t": jnp.asarray([0.3, 0.1, 0.5]),
        "span": jnp.asarray([0.0, 0.6, 0.5]),
        "group": numbers,
        "group_scales": jnp.asarray(scales, jnp.float32),
        "keep": absent,
    }


@functools.cache
def guided_velocity(row):
    """The guided velocity of one clip as sampling computes it: (x [1, L, C], t) -> velocity."""
    (model, params, _), draws = setup(), make_draws()
    features = jax.tree.map(lambda array: array[row : row + 1], draw_features())
    single = {
        name: float(draws["group_scales"][row, number])
        for name, number in zip(NAMES, draws["group"][row].tolist(), strict=True)
    }
    groups = guidance.group_by_scale(NAMES, 1.0, single)
    branches = guidance.list_branches(groups)
    keep = {
        name: jnp.asarray([(name in on) * draws["keep"][name][row] for on in branches])
        for name in NAMES
    }
    tiled = jax.tree.map(lambda array: jnp.repeat(array, len(branches), 0), features)
    return jax.jit(
        guidance.make_guided_velocity(
            lambda x, t: model.apply({"params": params}, x, t, tiled, keep), groups
        )
    )


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_the_rollout_target_agrees_with_a_direct_computation(solver):
    """Clip by clip: the guided teacher steps from t to r, and u* = (x_r - x_t) / (r - t)."""
    distill = train_steps.small(distill__steps=3, distill__solver=solver).distill
    model, params, _ = setup()
    x, draws = draw_latent()[0], make_draws()

    def make_velocity(batch, draws):
        return distill_step.guided_teacher(model, params, batch, draws, length=LENGTH)

    target = jax.jit(
        lambda x: distill_step.rollout_target(
            make_velocity, make_velocity, x, {"features": draw_features()}, draws, distill
        )
    )(x)
    for row in range(BATCH):
        velocity, t, span = guided_velocity(row), draws["t"][row], draws["span"][row]
        if row < BATCH // 2:
            direct = velocity(x[row : row + 1], t)
        else:
            end = x[row : row + 1]
            for number in range(3):
                start = t + number * span / 3
                slope = solvers.step_slope(velocity, solvers.TABLEAUX[solver], end, start, span / 3)
                end = end + span / 3 * slope
            direct = (end - x[row : row + 1]) / span
        np.testing.assert_allclose(target[row], direct[0], atol=2e-4)


def test_a_student_as_teacher_steps_over_its_own_spans():
    distill = train_steps.small(distill__steps=2, distill__teacher="average").distill
    model, params, _ = setup(student=True)
    x, draws, features = draw_latent()[0], make_draws(), draw_features()
    scales = distill_step.scales_by_condition(draws, NAMES)

    def make_velocity(batch, draws):
        return distill_step.student_teacher(model, params, batch, draws, length=LENGTH)

    target = jax.jit(
        lambda x: distill_step.rollout_target(
            make_velocity, make_velocity, x, {"features": features}, draws, distill
        )
    )(x)
    velocity = jax.jit(
        lambda x, t, span: model.apply(
            {"params": params}, x, t, features, draws["keep"], span, scales
        )
    )
    t, half = draws["t"], draws["span"] / 2
    middle = x + half[:, None, None] * velocity(x, t, half)
    direct = (velocity(x, t, half) + velocity(middle, t + half, half)) / 2
    np.testing.assert_allclose(target[1:], direct[1:], atol=1e-4)
    np.testing.assert_allclose(target[:1], velocity(x, t, 0 * t)[:1], atol=1e-4)


def test_a_shortcut_has_the_frozen_run_for_spans_of_0_and_its_own_average_for_others(teacher):
    """Where only one half counts, its loss is that of this half's teacher alone."""
    fields = {"distill__teacher": "shortcut", "flow__mask_padding": True}
    config = train_steps.small(**distill_fields(teacher, **fields))
    mesh = train_steps.one_device()
    state, _, frozen = train_steps.start(config, mesh)
    params = state.params | {"dit": jax.tree.map(lambda array: 1.1 * array, state.params["dit"])}
    student, flow = (
        vssflow.build_model(config, train_steps.CHANNELS, 1, student=each) for each in (True, False)
    )
    batch = sharding.place_batch(train_steps.batch(0), mesh)
    draws = distill_step.sample_draws(frozen.codec, batch, jax.random.key(0), config)
    first_half = np.arange(train_steps.BATCH) < train_steps.BATCH // 2

    @jax.jit
    def loss(counted, frozen):
        part = batch | {"frames": batch["frames"] * counted}
        return distill_step.distillation_loss(student, flow, params, frozen, part, draws, config)

    guided, average = frozen.replace(average=None), frozen.replace(teacher=None, average=params)
    both = frozen.replace(average=params)
    for counted, alone, other in ((first_half, guided, average), (~first_half, average, guided)):
        np.testing.assert_allclose(loss(counted, both), loss(counted, alone), rtol=1e-5)
        assert abs(loss(counted, both) - loss(counted, other)) > 1e-3


def test_the_contrast_weighs_the_difference_that_scales_make(teacher):
    """By the two losses of single draws and of the mean: |a|^2, |b|^2 and |a + b|^2."""
    fields = {"distill__contrast": 2.5, "flow__mask_padding": True}
    config = train_steps.small(**distill_fields(teacher, **fields))
    mesh = train_steps.one_device()
    state, _, frozen = train_steps.start(config, mesh)
    plain = train_steps.small(**distill_fields(teacher, flow__mask_padding=True))
    student, flow = (
        vssflow.build_model(config, train_steps.CHANNELS, 1, student=each) for each in (True, False)
    )
    batch = sharding.place_batch(train_steps.batch(0), mesh)
    draws = distill_step.sample_draws(frozen.codec, batch, jax.random.key(0), config)
    assert draws["group"].shape == (train_steps.BATCH, 2, len(NAMES))

    @functools.partial(jax.jit, static_argnums=0)
    def loss(contrast, draws):
        run = config if contrast else plain
        return distill_step.distillation_loss(
            student, flow, state.params, frozen, batch, draws, run
        )

    def pick(rows):
        return draws | {name: draws[name][:, rows] for name in ("group", "group_scales")}

    first, second, both = (loss(False, pick(rows)) for rows in (slice(1), slice(1, 2), slice(2)))
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-5)
    same = pick(np.asarray([0, 0]))
    np.testing.assert_allclose(loss(True, same), first, rtol=1e-5)
    assert loss(True, draws) > both + 1e-4


# ---- the run ------------------------------------------------------------------------------


def test_the_loss_falls_and_the_duration_model_stays(teacher):
    state, advance, frozen = start(teacher)
    durations, losses = jax.device_get(state.params["durations"]), []
    batch = sharding.place_batch(train_steps.batch(0), train_steps.one_device())
    for _ in range(8):
        state, metrics = advance(state, frozen, batch)
        losses.append(float(metrics["loss"]))
        assert not metrics["skipped"]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    jax.tree.map(np.testing.assert_array_equal, state.params["durations"], durations)
    assert np.any(state.params["dit"]["scales"]["out"]["kernel"])


@pytest.mark.parametrize(
    "stage",
    ["guided"] + [pytest.param(each, marks=pytest.mark.slow) for each in ("average", "shortcut")],
)
def test_a_run_resumes_exactly(teacher, tmp_path, stage):
    fields = student(distill_fields(teacher, distill__teacher=stage), 4)
    if stage == "average":
        write_student(tmp_path / "first", fields | {"distill__teacher": "guided"})
        fields |= {"train__init_from": str(tmp_path / "first")}

    def run(name):
        return small_runs.run(tmp_path / name, small_runs.Batches(good=99), **fields)

    run("unbroken").train(lambda *_: None)
    small_runs.train_until(run("broken"), 2)
    run("broken").train(lambda *_: None)
    unbroken, broken = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("unbroken", "broken")
    )
    assert [line["loss"] for line in broken] == [line["loss"] for line in unbroken]
    states = [
        checkpoint.Checkpoints(tmp_path / name).restore_weights(4)
        for name in ("unbroken", "broken")
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


def write_student(folder, fields):
    """Writes the run of a student at its step 0."""
    folder.mkdir()
    first = small_runs.run(folder, small_runs.Batches(good=99), **fields)
    first.checkpoints.save(0, first.state, {"next_index": 0}, first.identity)
    first.checkpoints.close()
    (folder / "config.json").write_text(first.config.to_json())


def student(fields, steps):
    """Fields for `small_runs.run`, which sets some itself."""
    return {k: v for k, v in fields.items() if k not in small_runs.PLAIN} | {"train__steps": steps}


def test_a_run_does_not_go_on_with_another_teacher(teacher, tmp_path):
    fields = student(distill_fields(teacher), 2)
    small_runs.run(tmp_path / "run", small_runs.Batches(good=99), **fields).train(lambda *_: None)
    (tmp_path / "other").mkdir()
    train_steps.write_teacher(tmp_path / "other", train_steps.small(**CONFIG), seed=6)
    fields["train__init_from"] = str(tmp_path / "other")
    with pytest.raises(InputError, match=r"checkpoint 2: teacher: found '.*', expected '"):
        small_runs.run(tmp_path / "run", small_runs.Batches(good=99), **fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__init_from": ""}, "train.init_from: found nothing"),
        ({"data__batch_size": 3}, "data.batch_size: found 3, expected a multiple of 2"),
        ({"data__batch_size": 6, "train__grad_accumulation": 2}, "a multiple of 4"),
        ({"distill__min_scale": 9.0}, "distill.min_scale: found 9, expected at most"),
        ({"distill__grid": "epss"}, "distill.evaluations: --grid=epss: found 1 steps, expected"),
        (AVERAGE, "expected 'distill' where distill.teacher is 'average'"),
        ({**AVERAGE, "optim__ema_decay": 0.0}, "optim.ema_decay: found 0"),
        ({**AVERAGE, "distill__solver": "heun"}, "distill.solver: found 'heun'"),
        ({"model__time_aligned_sync": False}, "time_aligned_sync: found False, expected True"),
    ],
)
def test_fields_that_do_not_fit_are_errors(teacher, changes, message):
    config = train_steps.small(**{**distill_fields(teacher), **changes})
    with pytest.raises(InputError, match=message):
        distill_step.check_config(config)


def test_a_flow_model_does_not_start_from_a_student(teacher, tmp_path):
    state, *_ = start(teacher)
    flow = train_steps.small(**CONFIG)
    other = train_steps.start(flow, train_steps.one_device())[0]
    with pytest.raises(InputError, match="found a student, expected a flow model"):
        init_from.check_shapes(state.params, other.params, "student")
