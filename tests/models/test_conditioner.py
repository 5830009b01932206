"""The conditioner: dropped conditions, null phonemes, placement of sync."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers.small_model import BATCH, LENGTH, WIDTHS, draw_features, draw_normal, keep_all, setup

from vssflow_jax import conditions
from vssflow_jax.models import alignment
from vssflow_jax.text import phonemes


@functools.partial(jax.jit, static_argnums=0)
def route(model, params, features, keep):
    return model.bind({"params": params}).conditioner(features, keep, LENGTH)


def test_dropped_phonemes_may_have_a_learned_row():
    """The null row is neither zero nor silence, is learned, and adds no parameter."""
    plain, params, _ = setup()
    model, others, _ = setup(learned_null_phonemes=True)
    assert jax.tree.map(jnp.shape, others) == jax.tree.map(jnp.shape, params)
    lips = WIDTHS["lips"]
    channels = slice(lips, lips + WIDTHS["phonemes"])
    dropped = {**keep_all(), "phonemes": jnp.asarray([1.0, 0.0, 0.0])}
    table = params["conditioner"]["phonemes"]["embedding"]
    with_null = route(model, params, draw_features(), dropped).concat[..., channels]
    kept = route(plain, params, draw_features(), keep_all()).concat[..., channels]
    np.testing.assert_array_equal(with_null[0], kept[0])
    np.testing.assert_array_equal(with_null[1:], np.broadcast_to(table[-1], with_null[1:].shape))
    assert jnp.abs(table[-1] - table[0]).max() > 0.01 and jnp.abs(table[-1]).max() > 0.01

    def total(params):
        return route(model, params, draw_features(), keep_all(0.0)).concat[..., channels].sum()

    gradient = jax.jit(jax.grad(total))(params)["conditioner"]["phonemes"]["embedding"]
    assert (jnp.flatnonzero(jnp.abs(gradient).sum(-1)) == len(table) - 1).all()


def test_no_phoneme_is_the_null_row():
    assert len(phonemes.SYMBOLS) < conditions.BY_NAME["phonemes"].width


def test_single_frames_can_be_dropped():
    model, params, _ = setup()
    kept = np.random.default_rng(0).integers(0, 2, (BATCH, LENGTH)).astype(np.float32)
    full, masked = (
        route(model, params, draw_features(), {**keep_all(), "lips": keep}).concat
        for keep in (np.ones_like(kept), kept)
    )
    lips = WIDTHS["lips"]
    np.testing.assert_array_equal(masked[..., :lips], full[..., :lips] * kept[..., None])
    np.testing.assert_array_equal(masked[..., lips:], full[..., lips:])


def test_the_conditioner_places_sync_by_time():
    (plain, params, _), (timed, _, _) = (
        setup(),
        setup(time_aligned_sync=True),
    )
    tokens = draw_normal(5, BATCH, 8, 768)
    placed = {
        **draw_features(),
        "sync": tokens[:, alignment.segment_token_indices(8, LENGTH)],
    }
    routed = route(timed, params, {**draw_features(), "sync": tokens}, keep_all())
    expected = route(plain, params, placed, keep_all())
    np.testing.assert_array_equal(routed.concat, expected.concat)
