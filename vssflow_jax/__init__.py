"""Sound and speech for silent video: VSSFlow in JAX."""

import sys
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


def _report_interrupt(kind: type[BaseException], error: BaseException, trace) -> None:
    """One line for an interrupt while a command loads its libraries, which takes seconds."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # `python -m vssflow_jax.COMMAND`, which is being imported
    sys.excepthook = _report_interrupt
