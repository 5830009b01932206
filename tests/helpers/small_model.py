"""A small VSSFlow with random parameters, and inputs for it."""

import functools

import jax
import jax.numpy as jnp

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
            context_width=route.context_width(WIDTHS),
            **{**sizes, **dit_fields},
        ),
    )


def draw_features(seed=0):
    """Random features of a batch."""
    keys = jax.random.split(jax.random.key(seed), 5)
    return {
        "clip": jax.random.normal(keys[0], (BATCH, 8, 768)),
        "speaker": jax.random.normal(keys[1], (BATCH, 256)),
        "phonemes": jax.random.randint(keys[2], (BATCH, LENGTH), 0, 71),
        "lips": jax.random.normal(keys[3], (BATCH, LENGTH, 1024)),
        "sync": jax.random.normal(keys[4], (BATCH, LENGTH, 768)),
    }


def keep_all(value=1.0):
    """Every condition is kept (0: dropped)."""
    return {name: jnp.full(BATCH, value) for name in conditions.NAMES}


def draw_latent(seed=9):
    """A noisy latent and its times."""
    x = jax.random.normal(jax.random.key(seed), (BATCH, LENGTH, LATENT))
    return x, jnp.asarray([0.1, 0.5, 0.9])


def randomize(shapes, seed=3):
    """Random parameters everywhere, also where a new model has zeros."""
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    draws = [0.2 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, draws)


@functools.cache
def setup(route="joint", **fields):
    """A model, random parameters, and its compiled velocity of (x, t, features, keep)."""
    model = make_model(route, **fields)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), *draw_latent(), draw_features(), keep_all()
    )
    params = randomize(shapes["params"])
    velocity = jax.jit(lambda x, t, f, keep: model.apply({"params": params}, x, t, f, keep))
    return model, params, velocity
