"""Recipes by name: files of the folder `configs/`, of a checkout or of an installed package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import types
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

FOLDER = "configs"
FLAGS = ("--config", "-config")
PATH_FIELDS = ("--config.data.shards", "--config.codec.folder")


def find_recipe_folder() -> Path:
    """The folder of recipes: that of the checkout, or the one that the wheel installed."""
    checkout = Path(__file__).parents[2] / FOLDER
    if (checkout / "joint.py").is_file():
        return checkout
    for file in importlib.metadata.files("vssflow_jax") or ():
        if file.parts[-2:] == (FOLDER, "joint.py"):
            return Path(str(file.locate())).resolve().parent
    raise FileNotFoundError("the recipes of vssflow_jax are not installed")


def find_recipe(value: str) -> str:
    """The recipe file that `value` means.

    Args:
      value: a file; or, where there is none, `configs/quickstart.py`, `quickstart` or
        `ablations/none`, which are then those of the package. What follows a colon stays.
    """
    name, colon, rest = value.partition(":")
    if not name or Path(name).exists():
        return value
    inner = Path(*Path(name).parts[1:]) if Path(name).parts[0] == FOLDER else Path(name)
    packaged = find_recipe_folder() / inner.with_suffix(".py")
    return f"{packaged}{colon}{rest}" if packaged.is_file() else value


def load_recipe_module(name: str) -> types.ModuleType:
    """The module of a recipe by its name, such as `quickstart` or `ablations/none`."""
    path = find_recipe_folder() / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_recipe(name: str) -> ConfigDict:
    """The config of a recipe by its name."""
    return load_recipe_module(name).get_config()


def resolve_flags(argv: Sequence[str]) -> list[str]:
    """Arguments with the value of `--config` replaced by the file that it means.

    In it and in fields that are paths, ~ is the home folder.
    """
    out: list[str] = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if name in FLAGS and equals:
            argument = f"{name}={find_recipe(os.path.expanduser(value))}"
        elif name in PATH_FIELDS and equals:
            argument = f"{name}={os.path.expanduser(value)}"
        elif out and out[-1] in FLAGS:
            argument = find_recipe(argument)
        out.append(argument)
    return out
