"""Helpers of the parity tests: the distance of two arrays, and a fixture's parameters."""

import math

import numpy as np


def relative_error(actual, expected) -> float:
    """Norm of the difference over the norm of the expected values."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    scale = np.linalg.norm(expected)
    return np.linalg.norm(actual - expected) / (scale if scale else 1.0)


def parameters(tensors, start="param.") -> dict:
    """The fixture's official state dict."""
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


RULES = {
    "mat": lambda z: z / math.sqrt(math.prod(z.shape[1:])),
    "normw": lambda z: 1 + 0.2 * z,
    "bias": lambda z: 0.1 * z,
    "var": lambda z: np.exp(0.3 * z),
    "vec": lambda z: 0.3 * z,
}


def draw_parameters(tensors, sidecar) -> dict:
    """The official state dict of a fixture, partly drawn by the sidecar's recipe R1."""
    rng, state = np.random.default_rng(sidecar["config"]["seed"]), {}
    for name, about in sorted(sidecar.get("recipe_params", {}).items()):
        draw = rng.standard_normal(size=tuple(about["shape"]))
        state[name] = RULES[about["rule"]](draw).astype(np.float32)
        total = state[name].sum(dtype=np.float64)
        assert math.isclose(total, about["sum"], rel_tol=1e-9, abs_tol=1e-6), name
    return state | parameters(tensors)
