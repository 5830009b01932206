"""The entry point of every command: flags in, errors as one line, exit statuses."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import TextIO

from absl import app, flags, logging
from ml_collections import config_flags

from vssflow_jax.common.errors import DISK_ERRORS, InputError, disk_error, one_line
from vssflow_jax.common.files import find_existing
from vssflow_jax.config import recipes

INTERRUPTED = 128 + signal.SIGINT  # exit status, as shells have it
_TRACE = re.compile(r"\s*Traceback \(most recent call last\):\n(?:\s.*\n)*")
HELP = {"--help", "-help", "-h"}
flags.disclaim_key_flags()  # a flag defined here is its command's: --help lists it


def run_guarded(main: Callable[..., int | None], argv: Sequence[str], operand: str = "") -> int:
    """Runs `main()`, which may give an exit status; a user's mistake becomes one line and 2.

    Args:
      main: what the command does.
      argv: the command, and what is no flag of its arguments.
      operand: what the one such argument is, which `main` is called with; empty: commands take
        flags alone, and an argument is a mistake.
    """
    try:
        if not operand and len(argv) > 1:
            raise InputError(f"found arguments {argv[1:]}, expected flags alone (--name=value)")
        if operand and len(argv) != 2:
            raise InputError(f"found {argv[1:] or 'no argument'}, expected one: {operand}")
        return main(*argv[1:]) or 0
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        cause = disk_error(error)
        if cause is None:
            raise
        where = f"{cause.filename}: " if cause.filename else ""
        print(f"error: {where}{DISK_ERRORS[cause.errno]}", file=sys.stderr)
        return 2


def format_usage() -> str:
    """What a command does, and its flags."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "flags:"]
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(sys.argv[0]), key=lambda f: f.name):
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
        told = flag.default not in (None, "", []) and flag.default is not False
        default = f" (default: {flag.default})" if told else ""
        lines += textwrap.wrap(f"{flag.help}{default}", 78, initial_indent=f"  {name:20}  ",
                               subsequent_indent=" " * 24)  # fmt: skip
    return "\n".join(lines)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses absl flags; a wrong flag or a misspelt config field is one line and exit status 2.

    absl's own --help ends with status 1.
    """
    if HELP & set(argv[1:]):
        print(format_usage())
        sys.exit(0)
    try:
        return flags.FLAGS(recipes.resolve_flags(argv))
    except InputError as error:  # of a recipe
        wrong = f"--config: {one_line(error)}"
    except (AttributeError, KeyError) as error:  # of a recipe
        wrong = f"--config: found no field {one_line(error)}"
    except SyntaxError as error:
        wrong = f"--config: found no recipe: {one_line(error)}"
    except (ImportError, NameError) as error:
        wrong = f"--config: {one_line(error)}"
    except (flags.Error, TypeError, ValueError, OSError) as error:
        wrong = " ".join(_TRACE.sub(" ", str(error)).split())  # the trace of a recipe that fails
    print(f"error: {wrong}", file=sys.stderr)
    sys.exit(2)


class OptionalNumber(flags.ArgumentParser):
    """Parses a number, or the word None: fields may have no number (`Field.optional`)."""

    def __init__(self, number: flags.ArgumentParser):
        self.number = number
        self.syntactic_help = f"{number.syntactic_help} or None"

    def parse(self, argument):
        """The number, or None."""
        return None if argument == "None" else self.number.parse(argument)

    def flag_type(self) -> str:
        """The name of the type in absl's messages."""
        return self.number.flag_type()


class PathParser(flags.ArgumentParser):
    """Parses the name of a file or folder: ~ is the home folder, accents match in either form."""

    syntactic_help = "a path"

    def parse(self, argument):
        """The path as text; an empty one stays empty. Raises ValueError for an address."""
        try:
            return str(find_existing(os.path.expanduser(argument))) if argument else argument
        except InputError as error:
            raise ValueError(one_line(error)) from None


def define_path(name: str, default: str | None, text: str, **options) -> None:
    """Defines a flag for a file or folder; arguments as those of `flags.DEFINE_string`."""
    flags.DEFINE(
        PathParser(), name, default, text, serializer=flags.ArgumentSerializer(), **options
    )


def define_config(default: str | None, text: str, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines `--config=RECIPE`, with a flag `--config.group.field=value` for every field.

    Args:
      default: recipe that is used without the flag.
      text: what `--help` says.
      values: where the flags are defined.
    """
    for number, parser in ((int, flags.IntegerParser()), (float, flags.FloatParser())):
        config_flags.register_flag_parser_for_type(number, OptionalNumber(parser))
    config_flags.DEFINE_config_file("config", default, text, flag_values=values, lock_config=True)


def require_config(config):
    """The config of a flag, whose library keeps a failure to load for the first use.

    Raises:
      InputError: there is no such file, or its function returns no config.
    """
    try:
        _ = config.seed
    except OSError as error:
        raise InputError(f"--config: {str(error).splitlines()[-1].strip()}") from None
    except AttributeError:
        raise InputError(
            f"--config: found a recipe whose get_config returns {type(config).__name__}, expected "
            "a config such as vssflow_jax.config.default_config()"
        ) from None
    return config


def _not_reported_by_us(record) -> bool:
    """Keeps a library's trace of a full disk, which `run_guarded` reports, out of the log."""
    return not (record.exc_info and record.exc_info[1] and disk_error(record.exc_info[1]))


def _thread_failed(arguments) -> None:
    """Traces of background threads, but for a full disk and the queues that it closed.

    The main thread writes to the same disk and waits for the savers: it reports it.
    """
    error = arguments.exc_value
    closed = isinstance(error, OSError) and str(error) == "handle is closed"
    if not closed and disk_error(error) is None:
        threading.__excepthook__(arguments)


def _ignored(arguments) -> None:
    """Traces of what fails while the process ends, but for a full disk, which was reported."""
    if disk_error(arguments.exc_value) is None:
        sys.__unraisablehook__(arguments)


def escape_names(stream: TextIO) -> None:
    """Has a stream print names of files that are no UTF-8 with escapes, as stderr does."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def run(
    main: Callable[..., int | None],
    define_flags: Callable[[], None] | None = None,
    operand: str = "",
) -> None:
    """Entry point of every command: defines and parses its flags, then runs `main`.

    Commands define their flags here and not on import, so that a process can import several.

    Libraries' own progress notes stay out of the way; their warnings are shown.
    """
    if define_flags:
        define_flags()
    escape_names(sys.stdout)
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().addFilter(_not_reported_by_us)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _ignored
    app.run(lambda argv: run_guarded(main, argv, operand), flags_parser=parse_flags)
