"""How the axes of official arrays become those of ours, and back.

Legend: o outputs, i inputs, k taps of a kernel, h heads, d channels of a head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from einops import rearrange


@dataclasses.dataclass(frozen=True)
class ParamTransform:
    """A change of axes and its inverse; both give views where NumPy can.

    Attributes:
      to_ours: official array -> ours.
      to_official: our array -> the official one.
    """

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_official: Callable[[np.ndarray], np.ndarray]


def rearranging(official: str, ours: str, **sizes: int) -> ParamTransform:
    """The transform between two patterns of einops."""
    return ParamTransform(
        lambda a: rearrange(a, f"{official} -> {ours}", **sizes),
        lambda a: rearrange(a, f"{ours} -> {official}", **sizes),
    )


def reshaping(official: tuple[int, ...], ours: tuple[int, ...]) -> ParamTransform:
    """Only the shape differs, by axes of size 1."""
    return ParamTransform(lambda a: a.reshape(ours), lambda a: a.reshape(official))


def to_heads(heads: int) -> ParamTransform:
    """The kernel of a linear layer to attention heads: [h d, i] <-> [i, h, d]."""
    return rearranging("(h d) i", "i h d", h=heads)


def to_heads_bias(heads: int) -> ParamTransform:
    """Its bias: [h d] <-> [h, d]."""
    return rearranging("(h d)", "h d", h=heads)


def from_heads(heads: int) -> ParamTransform:
    """The kernel of a linear layer from attention heads: [o, h d] <-> [h, d, o]."""
    return rearranging("o (h d)", "h d o", h=heads)


SAME = ParamTransform(np.asarray, np.asarray)
KERNEL = rearranging("o i ...", "... i o")  # of a linear layer or a convolution
POINTWISE = ParamTransform(  # of a convolution of width 1: [o, i, 1] <-> [i, o]
    lambda a: rearrange(a, "o i 1 -> i o"), lambda a: rearrange(a, "i o -> o i 1")
)
ROW = ParamTransform(lambda a: a[0], lambda a: a[None])  # [1, ..] <-> [..]
# Of a transposed convolution, [i, o, k] <-> [k, i, o]. Ours is an ordinary convolution of the
# signal with zeros between its samples, so its taps are in the opposite order.
TRANSPOSED_CONVOLUTION = ParamTransform(
    lambda a: rearrange(a, "i o k -> k i o")[::-1],
    lambda a: rearrange(a[::-1], "k i o -> i o k"),
)
