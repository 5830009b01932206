"""Commands in the test's own process: the same flags, messages and exit statuses, sooner."""

import contextlib
import importlib
import io
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

from absl import flags

from vssflow_jax.config import command_line


def run(command: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `vssflow_jax.COMMAND` with its flags; its status and what it prints."""
    module = importlib.import_module(f"vssflow_jax.{command}")
    if not hasattr(module, "main"):  # a package
        module = importlib.import_module(f"vssflow_jax.{command}.__main__")
    argv, existing = [command, *map(str, arguments)], set(flags.FLAGS)
    added = None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        mock.patch.object(sys, "argv", argv),  # where config flags look for their fields
        warnings.catch_warnings(),
    ):
        # Of ml_collections' flags, which load a recipe in this process.
        warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
        try:
            module.define_flags()
            operand = getattr(module, "OPERAND", "")
            parsed = command_line.parse_flags(argv)
            added = set(flags.FLAGS) - existing  # without those of libraries it imports later
            status = command_line.run_guarded(module.main, parsed, operand)
        except SystemExit as error:
            status = error.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for name in set(flags.FLAGS) - existing if added is None else added:
                delattr(flags.FLAGS, name)
            flags.FLAGS.unparse_flags()
    return subprocess.CompletedProcess(argv, status, out.getvalue(), errors.getvalue())


def assert_error(done: subprocess.CompletedProcess, *words: str, out: Path | None = None) -> None:
    """Asserts a one-line error with `words`, status 2, and that `out` was not written."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    if out is not None:
        assert not out.exists()
        assert not list(out.parent.glob(f"*{out.name}*"))
