"""Products and sums that a function needs, counted in its trace."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from jax.interpreters import partial_eval


def count_traced_flops(function: Callable, *arguments) -> int:
    """FLOPs of the matrix products and convolutions that the function's results need.

    Args:
      function: traced, not run.
      *arguments: its arguments, or their shapes.
    """
    return count_flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def count_flops(jaxpr) -> int:
    """FLOPs of the matrix products and convolutions that the results of a trace need."""
    return _flops(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def _flops(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, out = equation.primitive.name, equation.outvars[0].aval if equation.outvars else None
        if name == "dot_general":
            left, contracted = equation.invars[0].aval, equation.params["dimension_numbers"][0][0]
            total += 2 * out.size * math.prod(left.shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel, labels = equation.invars[1].aval, equation.params["dimension_numbers"]
            total += 2 * out.size * kernel.size // kernel.shape[labels.rhs_spec[0]]
        else:
            iterations = equation.params["length"] if name == "scan" else 1
            inside = jax.tree.leaves(
                list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
            )
            programs = [getattr(value, "jaxpr", value) for value in inside]
            counts = [_flops(value) for value in programs if hasattr(value, "eqns")]
            one_of_them = name == "cond"  # products have a branch for each kind of device
            total += iterations * (max(counts, default=0) if one_of_them else sum(counts))
    return total
