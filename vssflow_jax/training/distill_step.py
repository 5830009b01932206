"""The distillation task: a student learns where its teacher goes, guided, over a span of time.

    x_t = (1 - t) x_0 + t x_1,    r = t + span
    u* = (x_r - x_t) / (r - t),   x_r: K solver steps of the teacher from (x_t, t) to r
    loss = mean (u(x_t, t, r - t, w) - stop_gradient(u*))^2
           + contrast mean (u(w) - u(w') - stop_gradient(u*(w) - u*(w')))^2

The student u takes the span and the guidance scale w of each condition as inputs, and starts as
the teacher. Half of the examples have a span of 0, where u* is the teacher's guided velocity. The
second term, of two draws of the scales for each example, is there if it has a weight: it
emphasizes what scales change, which is a small part of the velocity.

The teacher is the frozen run of `train.init_from` with guidance or, in a second stage, the
average of the student's own weights, which needs no guidance. A shortcut model has the first for
spans of 0 and the second for others, where K = 2 makes two half steps of it.

Sources: IntMeanFlow (arXiv 2510.07979); ZipVoice (arXiv 2506.13053) for the second stage;
shortcut models (arXiv 2410.12557).

Legend: B examples, S draws of scales for each, N conditions, G guidance groups, L latent frames,
C latent channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat
from flax import struct

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields
from vssflow_jax.flow import grids, guidance, path, solvers
from vssflow_jax.models import vssflow
from vssflow_jax.training import checkpoint, flow_step, sharding
from vssflow_jax.training.init_from import check_shapes
from vssflow_jax.training.step import VALIDATION_STREAM, Task, make_train_step

DRAW_STREAM = 2**32 - 4  # of a step's own key: spans and scales
AVERAGE = "average"  # value of distill.teacher: the student's own averaged weights
SHORTCUT = "shortcut"  # value of distill.teacher: these for spans above 0, else the frozen run
AVERAGING = (AVERAGE, SHORTCUT)  # with which the average is a teacher
SHARED_WITH_TEACHER = "model."  # fields in which student and teacher are equal


@struct.dataclass
class Frozen:
    """What a step reads and never changes: the codec, and the parameters of the teachers.

    A teacher that the run does not have is None. `average` is part of the state: a step puts it
    in its place.
    """

    codec: object
    teacher: dict | None
    average: dict | None = None


def check_config(config) -> None:
    """Raises an InputError if the config's fields do not fit each other or the teacher."""
    if not config.train.init_from:
        raise InputError("train.init_from: found nothing, expected the teacher's folder")
    check_fields(config)
    _check_teacher(config, checkpoint.read_config(config.train.init_from))


def batch_multiple(config) -> int:
    """What a batch is a multiple of: half of each part has spans of 0."""
    return 2 * config.train.grad_accumulation


def check_fields(config) -> None:
    """Raises an InputError if the config's fields do not fit each other."""
    distill, parts = config.distill, batch_multiple(config)
    if config.data.batch_size % parts:
        raise InputError(
            f"data.batch_size: found {config.data.batch_size}, expected a multiple of {parts} "
            "(half of a batch has spans of 0; train.grad_accumulation)"
        )
    if distill.min_scale > distill.max_scale:
        raise InputError(
            f"distill.min_scale: found {distill.min_scale:g}, expected at most "
            f"distill.max_scale, {distill.max_scale:g}"
        )
    try:
        tabulate_grid(distill)
    except InputError as error:
        raise InputError(f"distill.grid, distill.evaluations: {error}") from None
    if distill.teacher in AVERAGING:
        if not config.optim.ema_decay:
            raise InputError("optim.ema_decay: found 0, expected more: the average is the teacher")
        if distill.solver != "euler":
            raise InputError(
                f"distill.solver: found {distill.solver!r}, expected 'euler' where distill.teacher "
                f"is {distill.teacher!r}"
            )


def _check_teacher(config, teacher) -> None:
    """Raises an InputError if the teacher is of the wrong kind, or another network."""
    kind = config.distill.teacher
    expected = "distill" if kind == AVERAGE else "flow"
    if teacher.train.task != expected:
        raise InputError(
            f"train.init_from={config.train.init_from}: found a run of train.task="
            f"{teacher.train.task!r}, expected {expected!r} where distill.teacher is {kind!r}"
        )
    ours, theirs = (fields.fixed_fields(each) for each in (config, teacher))
    for name in ours:
        if name.startswith(SHARED_WITH_TEACHER) and ours[name] != theirs[name]:
            raise InputError(
                f"{name}: found {ours[name]!r}, expected {theirs[name]!r} as the teacher in "
                f"{config.train.init_from}"
            )


# ---- random draws -------------------------------------------------------------------------


def sample_spans(
    key: jax.Array, batch: int, distribution: str, distill
) -> tuple[jax.Array, jax.Array]:
    """Times t and spans r - t, [B] each; spans of 0 in the first half.

    A share `grid_ratio` of the others are steps of `grid`, as the student will be sampled, with
    one of `evaluations` steps: t = t_i, r = t_(i+1). The rest are two draws in order.

    Args:
      key: of this step.
      batch: B.
      distribution: of the draws (`path.sample_time`).
      distill: the config's group.
    """
    first_key, second_key, grid_key, count_key, place_key = jax.random.split(key, 5)
    first, second = (
        path.sample_time(each, batch, distribution) for each in (first_key, second_key)
    )
    steps = jnp.asarray(distill.evaluations)
    number = jax.random.choice(count_key, len(steps), (batch,))
    place = jnp.floor(jax.random.uniform(place_key, (batch,)) * steps[number]).astype(int)
    times, spans = (jnp.asarray(table)[number, place] for table in tabulate_grid(distill))
    on_grid = jax.random.uniform(grid_key, (batch,)) < distill.grid_ratio
    t = jnp.where(on_grid, times, jnp.minimum(first, second))
    span = jnp.where(on_grid, spans, jnp.abs(first - second))
    has_span = jnp.arange(batch) >= batch // 2
    return jnp.where(has_span, t, first), jnp.where(has_span, span, 0.0)


def tabulate_grid(distill) -> tuple[np.ndarray, np.ndarray]:
    """Times t_i and spans t_(i+1) - t_i of `grid` with each number of `evaluations`.

    Two arrays, float32 [numbers, most evaluations]; 0 beyond the steps of a number.

    Raises:
      InputError: the grid has no times for one of the numbers.
    """
    shape = len(distill.evaluations), max(distill.evaluations)
    starts, spans = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for row, steps in enumerate(distill.evaluations):
        times = grids.GRIDS[distill.grid](steps)
        starts[row, :steps], spans[row, :steps] = times[:-1], np.diff(times)
    return starts, spans


def sample_scale_groups(
    key: jax.Array, batch: int, count: int, num_groups: int, distill
) -> tuple[jax.Array, jax.Array]:
    """Guidance groups of each example: conditions of equal scale.

    As in sampling (`guidance.group_by_scale`), groups are in the order of their first conditions.

    Args:
      key: of this step.
      batch: B.
      count: N, conditions that the route uses.
      num_groups: G, at most so many different scales.
      distill: the config's group, with the range of the scales.

    Returns:
      The number of each condition's group, int [B, N], and the scales of the groups, [B, G].
    """
    label_key, scale_key = jax.random.split(key)
    labels = jax.random.randint(label_key, (batch, count), 0, num_groups)
    scales = jax.random.uniform(
        scale_key, (batch, num_groups), minval=distill.min_scale, maxval=distill.max_scale
    )
    members = labels[:, :, None] == jnp.arange(num_groups)  # [B, N, G]
    first = jnp.where(members.any(1), jnp.argmax(members, axis=1), count)  # [B, G]
    order = jnp.argsort(first, axis=1)
    place = jnp.argsort(order, axis=1)  # of each group, by its first condition
    numbers = jnp.take_along_axis(place, labels, axis=1)
    return numbers, jnp.take_along_axis(scales, order, axis=1)


def used_conditions(route: conditions.Route) -> list[str]:
    """The conditions that a route uses, in the order of the condition table."""
    return [name for name in conditions.NAMES if name in route.used]


def sample_draws(codec, batch, key: jax.Array, config) -> dict:
    """All that is random about a step: as for the flow, and spans, groups and scales.

    Of groups and scales, [B, S, N] and [B, S, G], there are two draws if they are contrasted.
    """
    draws = flow_step.sample_noise_and_masks(codec, batch, key, config)
    span_key, group_key = jax.random.split(jax.random.fold_in(key, DRAW_STREAM))
    size = len(draws["t"])
    draws["t"], draws["span"] = sample_spans(
        span_key, size, config.flow.time_sampling, config.distill
    )
    names = used_conditions(conditions.ROUTES[config.model.route])
    groups = min(config.distill.scale_groups, len(names))
    scale_draws = 2 if config.distill.contrast else 1
    numbers_and_scales = sample_scale_groups(
        group_key, size * scale_draws, len(names), groups, config.distill
    )
    draws["group"], draws["group_scales"] = (
        rearrange(array, "(b s) n -> b s n", s=scale_draws) for array in numbers_and_scales
    )
    return draws


def scales_by_condition(draws: Mapping, names: list[str]) -> jax.Array:
    """Guidance scale of each condition of the table, [B, 5]; 1 where the route has none.

    Args:
      draws: `group` and `group_scales`.
      names: conditions that the route uses.
    """
    used = jnp.take_along_axis(draws["group_scales"], draws["group"], axis=1)
    columns = {name: used[:, place] for place, name in enumerate(names)}
    ones = jnp.ones(len(used))
    return jnp.stack([columns.get(name, ones) for name in conditions.NAMES], axis=1)


# ---- teachers -----------------------------------------------------------------------------


def guided_teacher(model, params, batch, draws, *, length: int) -> Callable:
    """The guided velocity of a flow model: (x [B, L, C], t [B], span) -> [B, L, C].

    Args:
      model: the teacher.
      params: its parameters.
      batch: examples.
      draws: `keep`, `group` and `group_scales`.
      length: L.
    """
    names = used_conditions(model.conditioner_config.route)
    scales = draws["group_scales"].T  # [G, B]
    branches = len(scales) + 1
    apply = functools.partial(model.apply, {"params": params})

    def by_branch(array):  # the branches of an example are neighbors, on one device
        return repeat(array, "b ... -> (b g) ...", g=branches)

    active = draws["group"][:, None] < jnp.arange(branches)[:, None]  # [B, G + 1, N]
    active = dict(zip(names, rearrange(active, "b g n -> n (b g)"), strict=True))
    keep = {name: by_branch(mask) for name, mask in draws["keep"].items()}
    for name in names:
        keep[name] = keep[name] * active[name].reshape(-1, *(1,) * (keep[name].ndim - 1))
    conditioned = apply(
        jax.tree.map(by_branch, batch["features"]), keep, length, method="condition"
    )

    def velocity(x, t, span):
        del span
        velocities = apply(by_branch(x), by_branch(t), conditioned, method="velocity")
        velocities = rearrange(velocities, "(b g) l c -> g b l c", g=branches)
        return jax.vmap(guidance.combine_branches, (1, 1))(velocities, scales)

    return velocity


def student_teacher(model, params, batch, draws, *, length: int) -> Callable:
    """The mean velocity of a student: (x [B, L, C], t [B], span [B]) -> [B, L, C].

    Its scales are inputs, so that it needs no branches; arguments as of `guided_teacher`.
    """
    names = used_conditions(model.conditioner_config.route)
    apply = functools.partial(model.apply, {"params": params})
    scales = scales_by_condition(draws, names)
    conditioned = apply(batch["features"], draws["keep"], length, scales, method="condition")
    return lambda x, t, span: apply(x, t, conditioned, span, method="velocity")


# ---- loss ---------------------------------------------------------------------------------


def rollout_target(
    make_first: Callable, make_second: Callable, x: jax.Array, batch, draws, distill
) -> jax.Array:
    """u*, the teacher's mean velocity over each example's span, [B, L, C].

    The first half, whose spans are 0, needs one evaluation.

    Args:
      make_first: (batch, draws) -> the velocity (x, t, span) of the first half's teacher.
      make_second: the same of the second half's.
      x: x_t, [B, L, C].
      batch: examples.
      draws: of `sample_draws`.
      distill: the config's group.
    """

    def mean_velocity(make_velocity, rows: slice, solver: str, steps: int) -> jax.Array:
        part_x, part_batch, part = jax.tree.map(lambda array: array[rows], (x, batch, draws))
        teacher, size = make_velocity(part_batch, part), part["span"] / steps
        return solvers.mean_velocity(
            lambda x, t: teacher(x, t, size), part_x, part["t"], part["span"], solver, steps
        )

    half = len(x) // 2
    without_span = mean_velocity(make_first, slice(half), "euler", 1)
    with_span = mean_velocity(make_second, slice(half, None), distill.solver, distill.steps)
    return jnp.concatenate([without_span, with_span])


def distillation_loss(student, teacher, params, frozen: Frozen, batch, draws, config) -> jax.Array:
    """The loss of a batch, by the equations above.

    Args:
      student: the network that learns.
      teacher: the network of `frozen.teacher`.
      params: of the student.
      frozen: codec and teachers.
      batch: examples.
      draws: of `sample_draws`.
      config: the run's.
    """
    x1 = flow_step.draw_latent(frozen.codec, batch, draws)
    x, length = path.interpolate(draws["x0"], x1, draws["t"]), x1.shape[1]
    counted = flow_step.counted_frames(batch, length, config)
    x, counted, batch, draws = _repeat_by_scales(x, counted, batch, draws)
    guided = functools.partial(guided_teacher, teacher, frozen.teacher, length=length)
    average = functools.partial(student_teacher, student, frozen.average, length=length)
    make_first = average if frozen.teacher is None else guided
    make_second = guided if frozen.average is None else average
    target = rollout_target(make_first, make_second, x, batch, draws, config.distill)
    scales = scales_by_condition(draws, used_conditions(student.conditioner_config.route))
    velocity = student.apply(
        {"params": params}, x, draws["t"], batch["features"], draws["keep"], draws["span"], scales
    )
    error = velocity - jax.lax.stop_gradient(target)
    loss = path.flow_matching_loss(error, 0.0, counted)
    if config.distill.contrast:
        counted = None if counted is None else counted[::2]
        difference = path.flow_matching_loss(error[::2], error[1::2], counted)
        loss += config.distill.contrast * difference
    return loss


def _repeat_by_scales(x, counted, batch, draws):
    """An example for each of its draws of scales, neighbors: B -> B S rows."""
    scale_draws = draws["group"].shape[1]
    scaled = {
        name: rearrange(draws[name], "b s n -> (b s) n") for name in ("group", "group_scales")
    }
    others = {name: draws[name] for name in ("t", "span", "keep")}
    batch = {"features": batch["features"]}
    x, counted, batch, others = jax.tree.map(
        lambda array: jnp.repeat(array, scale_draws, axis=0), (x, counted, batch, others)
    )
    return x, counted, batch, others | scaled


# ---- the task -----------------------------------------------------------------------------


def make_distill_train_step(student, teacher, config, mesh=None) -> Callable:
    """The training step; where the state's own average is a teacher, it is what the step has."""

    def compute(params, frozen, batch, key):
        draws = sample_draws(frozen.codec, batch, key, config)
        loss = functools.partial(_loss, student, teacher, frozen, config)
        return flow_step.accumulate_gradient(loss, params, batch, draws, config, mesh)

    step = make_train_step(compute, config)
    if config.distill.teacher not in AVERAGING:
        return step
    return lambda state, frozen, batch: step(state, frozen.replace(average=state.weights), batch)


def _loss(student, teacher, frozen, config, params, batch, draws):
    return distillation_loss(student, teacher, params, frozen, batch, draws, config)


def make_validation_loss(student, teacher, config, mesh=None) -> Callable:
    """The function (params, frozen, batch, number) -> loss: nothing dropped, the same each time."""

    def validation_loss(params, frozen, batch, number):
        key = jax.random.fold_in(jax.random.key(config.seed), VALIDATION_STREAM)
        batch = sharding.constrain(batch, mesh)
        draws = sample_draws(frozen.codec, batch, jax.random.fold_in(key, number), config)
        draws = sharding.constrain({**draws, "keep": batch["present"]}, mesh)
        if config.distill.teacher in AVERAGING:
            frozen = frozen.replace(average=params)
        with sharding.constrain_activations(mesh):
            return distillation_loss(student, teacher, params, frozen, batch, draws, config)

    return validation_loss


def load_teacher(shapes: Mapping, folder: str) -> tuple[dict, str]:
    """The teacher's parameters, in their places on the mesh, and their hash.

    Args:
      shapes: of the parameters, with their places.
      folder: the config's `train.init_from`.

    Raises:
      InputError: no weights there, or of another shape.
    """
    try:
        weights = checkpoint.load_weights(folder)[0]
    except InputError as error:
        raise InputError(f"train.init_from: {error}") from None
    weights = {name: weights[name] for name in shapes if name in weights}
    check_shapes(weights, shapes, f"train.init_from={folder}")
    places = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    return jax.device_put(weights, places), checkpoint.hash_params(weights)


def abstract_task(config, spec, codec, mesh) -> Task:
    """The task of a run that trains a student, the teacher's parameters as shapes with places.

    Args:
      config: the run's.
      spec: shapes of a batch.
      codec: waveform to latent.
      mesh: the devices.
    """
    shards = mesh.shape["tensor"]
    student = vssflow.build_model(config, codec.channels, shards)
    shapes, teacher = None, student
    if config.distill.teacher != AVERAGE:
        teacher = vssflow.build_model(config, codec.channels, shards, student=False)
        make = flow_step.make_init_state(teacher, config, spec, codec.channels, mesh)
        params = jax.eval_shape(make).params
        params = {name: params[name] for name in ("conditioner", "dit")}
        shapes = checkpoint.abstract_arrays(params, sharding.make_shardings(params, mesh))
    return Task(
        init_state=flow_step.make_init_state(student, config, spec, codec.channels, mesh),
        train_step=make_distill_train_step(student, teacher, config, mesh),
        validation_loss=make_validation_loss(student, teacher, config, mesh),
        frozen=Frozen(codec=codec, teacher=shapes),
    )


def distill_task(config, spec, codec, mesh) -> Task:
    """The task of a run that trains a student; arguments as of `abstract_task`.

    Raises:
      InputError: the teacher's weights cannot be used.
    """
    task = abstract_task(config, spec, codec, mesh)
    if task.frozen.teacher is None:
        return task
    params, digest = load_teacher(task.frozen.teacher, config.train.init_from)
    frozen = task.frozen.replace(teacher=params)
    return dataclasses.replace(task, frozen=frozen, identity={"teacher": digest})
