"""Properties of the conditioner and the network, on small sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax import conditions
from vssflow_jax.models import alignment, layers, matmul
from vssflow_jax.models import folded as inference
from vssflow_jax.models.conditioner import ConditionerConfig
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow
from vssflow_jax.text import phonemes

WIDTHS = {"clip": 12, "speaker": 12, "phonemes": 6, "lips": 10, "sync": 8}
LATENT, LENGTH, BATCH = 16, 20, 3


def make(route="joint", learned_null_phonemes=False, time_aligned_sync=False, **changes):
    route = conditions.ROUTES[route]
    sizes = {"layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 8, "time_features": 16}
    return VSSFlow(
        ConditionerConfig(
            route=route,
            widths=tuple(sorted(WIDTHS.items())),
            learned_null_phonemes=learned_null_phonemes,
            time_aligned_sync=time_aligned_sync,
        ),
        DiTConfig(
            channels=route.input_width(LATENT, WIDTHS),
            context_width=route.context_width(WIDTHS),
            **{**sizes, **changes},
        ),
    )


def features(seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    return {
        "clip": jax.random.normal(keys[0], (BATCH, 8, 768)),
        "speaker": jax.random.normal(keys[1], (BATCH, 256)),
        "phonemes": jax.random.randint(keys[2], (BATCH, LENGTH), 0, 71),
        "lips": jax.random.normal(keys[3], (BATCH, LENGTH, 1024)),
        "sync": jax.random.normal(keys[4], (BATCH, LENGTH, 768)),
    }


def all_kept(value=1.0):
    return {name: jnp.full(BATCH, value) for name in conditions.NAMES}


def noisy(seed=9):
    return jax.random.normal(jax.random.key(seed), (BATCH, LENGTH, LATENT)), jnp.asarray(
        [0.1, 0.5, 0.9]
    )


def randomized(params, seed=3):
    """Random weights everywhere, also where initialisation puts zeros."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        tree, [0.2 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


@functools.cache
def setup(route="joint", **changes):
    """A model, random parameters, and its jitted pass."""
    model = make(route, **changes)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *noisy(), features(), all_kept())
    params = randomized(shapes["params"])
    apply = jax.jit(lambda x, t, f, keep: model.apply({"params": params}, x, t, f, keep))
    return model, params, apply


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_every_condition_matters_until_dropped(route):
    _, _, apply = setup(route)
    x, t = noisy()
    base, other = features(0), features(1)
    for name in conditions.NAMES:
        changed = {**base, name: other[name]}
        kept = all_kept()
        moved = jnp.abs(apply(x, t, changed, kept) - apply(x, t, base, kept)).max()
        assert moved > 1e-4, f"{name} has no effect"
        dropped = {**kept, name: jnp.zeros(BATCH)}
        np.testing.assert_array_equal(apply(x, t, changed, dropped), apply(x, t, base, dropped))


def test_no_causality_and_no_leak_between_clips():
    """Every frame sees every frame of its clip, and nothing of another clip."""
    _, _, apply = setup()
    x, t = noisy()
    jacobian = jax.jacrev(lambda x: apply(x, t, features(), all_kept()).sum(-1))(x).sum(-1)
    reach = jnp.abs(jacobian) > 0  # [B, L, B, L]
    for clip in range(BATCH):
        assert reach[clip, :, clip].all()
        others = [b for b in range(BATCH) if b != clip]
        assert not reach[clip][:, jnp.asarray(others)].any()


def test_zero_conditions_make_cross_attention_exactly_zero():
    model, params, _ = setup()
    keys = model.apply({"params": params}, features(), all_kept(0.0), LENGTH, method="condition")[1]
    assert all(jnp.all(array == 0) for array in keys)


def test_splitting_conditions_from_velocity_changes_nothing():
    model, params, apply = setup()
    x, t = noisy()
    conditioned = model.apply(
        {"params": params}, features(), all_kept(), LENGTH, method="condition"
    )
    velocity = model.apply({"params": params}, x, t, conditioned, method="velocity")
    np.testing.assert_allclose(velocity, apply(x, t, features(), all_kept()), atol=1e-4)


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_inference_is_the_same_function(route):
    """Folded maps, layers apart, and no attention where there is no context."""
    model, params, apply = setup(route)
    x, t = noisy()
    absent = jnp.asarray([0.0, 1.0, 1.0])  # the first clip has no condition
    keep = {name: absent for name in conditions.NAMES}
    network, folded = inference.folded_network(model), inference.fold_params(model, params)

    @functools.partial(jax.jit, static_argnums=1)
    def run(params, silent):
        bound = network.bind({"params": params})
        conditioned = bound.condition(features(), keep, LENGTH, silent)
        return bound.velocity(x, t, conditioned), conditioned[1]

    for silent in (0, 1):
        velocity, keys = run(folded, silent)
        np.testing.assert_allclose(velocity, apply(x, t, features(), keep), atol=1e-4)
        assert keys is None or keys[0].shape[1] == BATCH - silent


def test_folding_copies_no_layer_on_a_cpu():
    model, params, _ = setup()
    folded = inference.fold_params(model, params)
    stacked = params["dit"]["blocks"]["feed_forward"]["in"]["kernel"]
    alone = folded["block_1"]["feed_forward"]["in"]["kernel"]
    offset = alone.unsafe_buffer_pointer() - stacked.unsafe_buffer_pointer()
    assert offset == alone.nbytes


def test_products_in_half_precision_are_summed_in_single():
    """Values and gradients of the einsum against float64, at the accuracy of the operands."""
    a, b = jax.random.normal(jax.random.key(0), (2, 4, 96, 96))
    half = a.astype(jnp.bfloat16)

    def total(product, a, b):
        return jnp.sum(jnp.sin(product("zab,zbc->zac", a, b)) * 3)

    found, whole = (
        jax.jit(jax.grad(functools.partial(total, product), (0, 1)))(left, b)
        for product, left in ((matmul.einsum, half), (jnp.einsum, a))
    )
    assert found[0].dtype == jnp.bfloat16 and found[1].dtype == jnp.float32
    for one, other in zip(found, whole, strict=True):
        assert jnp.linalg.norm(one - other) < 0.1 * jnp.linalg.norm(other)
    exact = np.einsum("zab,zbc->zac", *(np.asarray(x, np.float64) for x in (half, half)))
    result = matmul.einsum("zab,zbc->zac", half, half, jnp.float32)
    np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4)


def test_half_precision_follows_single():
    (_, _, apply), (_, _, half) = setup(), setup(dtype="bfloat16")
    x, t = noisy()
    found, whole = (f(x, t, features(), all_kept()) for f in (half, apply))
    assert jnp.linalg.norm(found - whole) < 0.05 * jnp.linalg.norm(whole)


def test_keys_have_positions_only_when_asked():
    """Permuting clip frames within the context matters only when keys are rotated."""
    x, t = noisy()
    for rotate, matters in ((False, False), (True, True)):
        model, params, _ = setup(cross_attention_rope=rotate)
        bound = model.bind({"params": params})
        routed = bound.conditioner(features(), all_kept(), LENGTH)
        order = jnp.concatenate([jnp.zeros(1, int), 1 + jnp.arange(LENGTH)[::-1]])
        turned = routed.context[:, order]
        straight, permuted = (
            bound.velocity(x, t, (routed.concat, bound.dit.keys(c), None))
            for c in (routed.context, turned)
        )
        assert (jnp.abs(straight - permuted).max() > 1e-3) == matters


@pytest.mark.parametrize("remat", ["layer", "dots"])
def test_remat_changes_nothing(remat):
    x, t = noisy()
    _, _, plain = setup()
    _, _, recomputed = setup(remat=remat)
    gradient, again = (
        jax.jit(jax.grad(lambda x, f=f: f(x, t, features(), all_kept()).sum()))(x)
        for f in (plain, recomputed)
    )
    np.testing.assert_allclose(gradient, again, atol=1e-4)


def test_rotation_is_relative():
    """Scores of rotated queries and keys depend on the distance of their positions alone."""
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    q, k = jnp.tile(q, (1, 1, 12, 1)), jnp.tile(k, (1, 1, 12, 1))
    scores = jnp.einsum("bhqd,bhkd->qk", layers.apply_rotary(q), layers.apply_rotary(k))
    for offset in range(-5, 6):
        diagonal = jnp.diagonal(scores, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)


def test_heads_must_divide():
    with pytest.raises(ValueError, match="multiple of kv_heads"):
        make(kv_heads=3)


def test_output_for_some_channels_is_that_for_all():
    """The fold of the last two linear maps is exact, for values and gradients."""
    model, params, _ = setup()
    x, t = noisy()

    def energy(params, channels):
        bound = model.bind({"params": params})
        concat, keys, added = bound.condition(features(), all_kept(), LENGTH)
        out = bound.dit(jnp.concatenate([x, concat], -1), t, keys, added, channels)
        return jnp.sum(out[..., :LATENT] ** 2), out[..., :LATENT]

    slope = jax.jit(jax.grad(energy, has_aux=True), static_argnums=1)
    (whole_slope, whole), (slopes, folded) = slope(params, None), slope(params, LATENT)
    assert jnp.linalg.norm(whole - folded) <= 1e-6 * jnp.linalg.norm(whole)
    for one, other in zip(*map(jax.tree.leaves, (whole_slope, slopes)), strict=True):
        assert jnp.linalg.norm(one - other) <= 1e-4 * jnp.linalg.norm(one) + 1e-6


def routed(model, params, given, keep):
    return model.bind({"params": params}).conditioner(given, keep, LENGTH)


def test_dropped_phonemes_may_be_a_row_of_their_own():
    """The null row is neither zero nor silence, is learned, and adds no parameter."""
    plain, params, _ = setup()
    model, others, _ = setup(learned_null_phonemes=True)
    assert jax.tree.map(jnp.shape, others) == jax.tree.map(jnp.shape, params)
    place = slice(WIDTHS["lips"], WIDTHS["lips"] + WIDTHS["phonemes"])
    dropped = {**all_kept(), "phonemes": jnp.asarray([1.0, 0.0, 0.0])}
    table = params["conditioner"]["phonemes"]["embedding"]
    found = routed(model, params, features(), dropped).concat[..., place]
    kept = routed(plain, params, features(), all_kept()).concat[..., place]
    np.testing.assert_array_equal(found[0], kept[0])
    np.testing.assert_array_equal(found[1:], np.broadcast_to(table[-1], found[1:].shape))
    assert jnp.abs(table[-1] - table[0]).max() > 0.01 and jnp.abs(table[-1]).max() > 0.01

    def total(params):
        return routed(model, params, features(), all_kept(0.0)).concat[..., place].sum()

    moved = jax.grad(total)(params)["conditioner"]["phonemes"]["embedding"]
    assert (jnp.flatnonzero(jnp.abs(moved).sum(-1)) == len(table) - 1).all()


def test_no_phoneme_is_the_null_row():
    assert len(phonemes.SYMBOLS) < conditions.BY_NAME["phonemes"].width


def test_single_frames_can_be_dropped():
    model, params, _ = setup()
    stays = jax.random.bernoulli(jax.random.key(0), 0.5, (BATCH, LENGTH)).astype(float)
    whole, masked = (
        routed(model, params, features(), {**all_kept(), "lips": keep}).concat
        for keep in (jnp.ones(BATCH), stays)
    )
    lips = WIDTHS["lips"]
    np.testing.assert_array_equal(masked[..., :lips], whole[..., :lips] * stays[..., None])
    np.testing.assert_array_equal(masked[..., lips:], whole[..., lips:])


def frames_seen(duration):
    """First of the two frames that each of Synchformer's tokens saw, for a clip's segments."""
    segments = (duration * 25 - 16) // 8 + 1
    return np.asarray([8 * s + 2 * j for s in range(segments) for j in range(8)])


@pytest.mark.parametrize("duration", [1, 4, 10, 16])
def test_sync_tokens_lie_where_they_saw(duration):
    length, saw = duration * 25, frames_seen(duration)
    shown = saw[alignment.segment_token_indices(len(saw), length)]
    covered = np.arange(saw[-1] + 2)
    assert (shown[covered] // 2 == covered // 2).all()
    assert (shown[len(covered) :] == saw[-1]).all()
    slots = max(round(duration * 24), len(saw))
    assert alignment.segment_token_indices(slots, length).max() < len(
        saw
    )  # padding behind the tokens is not read


def test_evenly_spread_sync_tokens_drift():
    """What placing by time mends: up to 0.4 s at the end of ten seconds."""
    saw = frames_seen(10) + 1
    late = np.arange(250) + 0.5 - saw[alignment.nearest_exact_indices(240, 250)]
    assert late.max() == 9.5 and late[-20:].min() > 1
    on_time = np.arange(250) + 0.5 - saw[alignment.segment_token_indices(240, 250)]
    assert np.abs(on_time[:-2]).max() <= 0.5


def test_a_token_a_frame_stays_in_place():
    np.testing.assert_array_equal(alignment.segment_token_indices(100, 100), np.arange(100))


def test_the_conditioner_places_sync_by_time():
    (plain, params, _), (timed, _, _) = setup(), setup(time_aligned_sync=True)
    tokens = jax.random.normal(jax.random.key(5), (BATCH, 8, 768))
    placed = {**features(), "sync": tokens[:, alignment.segment_token_indices(8, LENGTH)]}
    found = routed(timed, params, {**features(), "sync": tokens}, all_kept())
    np.testing.assert_array_equal(found.concat, routed(plain, params, placed, all_kept()).concat)
