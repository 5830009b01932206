"""Sound and speech for silent video: VSSFlow in JAX."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vssflow_jax.generation.generator import Generator

__all__ = ["Generator"]


def __getattr__(name: str):
    """Loads `Generator` when it is asked for, so that light modules stay light."""
    if name == "Generator":
        from vssflow_jax.generation.generator import Generator

        return Generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
