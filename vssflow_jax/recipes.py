"""Recipes by name: the package carries them, so that `--config` needs no checkout."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

FOLDER = "configs"
FLAGS = ("--config", "-config")


def locate(value: str) -> str:
    """The recipe file that `value` means.

    Args:
      value: a file; or, where there is none, `configs/quickstart.py`, `quickstart` or
        `ablations/none`, which are then those of the package. What follows a colon stays.
    """
    name, colon, rest = value.partition(":")
    if not name or Path(name).exists():
        return value
    inner = Path(*Path(name).parts[1:]) if Path(name).parts[0] == FOLDER else Path(name)
    packaged = Path(str(resources.files(f"vssflow_jax.{FOLDER}"))) / inner.with_suffix(".py")
    return f"{packaged}{colon}{rest}" if packaged.is_file() else value


def resolve(argv: Sequence[str]) -> list[str]:
    """Arguments with the value of `--config` replaced by the file that it means."""
    out: list[str] = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if name in FLAGS and equals:
            argument = f"{name}={locate(value)}"
        elif out and out[-1] in FLAGS:
            argument = locate(argument)
        out.append(argument)
    return out
