"""TPUs that are not there: the compiler's descriptions of them, and its silence."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator

import jax
from jax.experimental import topologies

from vssflow_jax.common.errors import InputError
from vssflow_jax.tpu_estimate import chips

# For libtpu: ask nobody what TPU this machine has, and mind no other process that uses it.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def require_compiler() -> None:
    """Raises an `InputError` if libtpu, which holds the compiler for TPUs, is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            "--topology: found no libtpu, expected it, for it holds the compiler for TPUs: "
            'pip install "vssflow_jax[tpu]"'
        )


@contextlib.contextmanager
def quiet(*expected: type[Exception]) -> Iterator[None]:
    """Keeps what libraries write to stderr, and shows it only if the work inside fails.

    libtpu complains there, by other ways than Python's, that it finds no TPU.

    Args:
      expected: exceptions that say enough by themselves.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except expected:
            raise
        except BaseException:
            sys.stderr.flush()
            file.seek(0)
            os.write(screen, file.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)


def devices(topology: str) -> tuple[list, chips.Chip]:
    """The devices of a topology, and what each has of its chip.

    Raises:
      InputError: no such chip, or no such grid of it.
    """
    name, count = chips.parse(topology)
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        with quiet(jax.errors.JaxRuntimeError):
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology: found {topology!r}, which cannot be: {error}") from None
    return found, chips.CHIPS[name].share(len(found) // count)
