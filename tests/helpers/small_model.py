"""A small VSSFlow with random parameters, and inputs for it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax import conditions
from vssflow_jax.models.conditioner import ConditionerConfig
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow

WIDTHS = {"clip": 12, "speaker": 12, "phonemes": 6, "lips": 10, "sync": 8}
LATENT, LENGTH, BATCH = 16, 20, 3


def make_model(
    route="joint", learned_null_phonemes=False, time_aligned_sync=False, **dit_fields
) -> VSSFlow:
    """The model of a route."""
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
            latent_channels=LATENT,
            context_width=route.context_width(WIDTHS),
            **{**sizes, **dit_fields},
        ),
    )


def draw_normal(seed, *shape) -> jax.Array:
    """float32 from a normal distribution; drawn without a program that had to be compiled."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def draw_features(seed=0):
    """Random features of a batch."""
    ids = np.random.default_rng(seed).integers(0, 71, (BATCH, LENGTH), np.int32)
    return {
        "clip": draw_normal((seed, 0), BATCH, 8, 768),
        "speaker": draw_normal((seed, 1), BATCH, 256),
        "phonemes": jnp.asarray(ids),
        "lips": draw_normal((seed, 2), BATCH, LENGTH, 1024),
        "sync": draw_normal((seed, 3), BATCH, LENGTH, 768),
    }


def keep_all(value=1.0):
    """Every condition is kept (0: dropped)."""
    return {name: jnp.full(BATCH, value, jnp.float32) for name in conditions.NAMES}


def draw_latent(seed=9):
    """A noisy latent and its times."""
    return draw_normal(seed, BATCH, LENGTH, LATENT), jnp.asarray([0.1, 0.5, 0.9])


def randomize(shapes, seed=3):
    """Random parameters everywhere, also where a new model has zeros."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape, np.float32)), shapes
    )


@functools.cache
def setup(route="joint", **fields):
    """A model, random parameters, and its compiled velocity of (x, t, features, keep)."""
    model = make_model(route, **fields)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), *draw_latent(), draw_features(), keep_all()
    )
    params, apply = randomize(shapes["params"]), jax.jit(model.apply)
    return model, params, lambda x, t, f, keep: apply({"params": params}, x, t, f, keep)
