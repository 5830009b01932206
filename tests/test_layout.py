"""The house rules that a program can check: floors, style, configs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from vssflow_jax.config import default_config
from vssflow_jax.config.recipes import recipe_module

SOURCES = [p for folder in ("vssflow_jax", "configs") for p in (ROOT / folder).rglob("*.py")]
RECIPES = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if not p.stem.startswith("_"))
FOLDERS = ("vssflow_jax", "configs", "tests", "benchmarks")


def tool(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_downward():
    """The floors of pyproject.toml, checked by import-linter."""
    done = tool(str(Path(sys.executable).parent / "lint-imports"))
    assert done.returncode == 0, done.stdout


def test_ruff_finds_nothing():
    for arguments in (("check",), ("format", "--check")):
        done = tool(sys.executable, "-m", "ruff", *arguments, *FOLDERS)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_say_what_they_are(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree)


def fields(config, prefix=()):
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from fields(value, (*prefix, name))
        else:
            yield (*prefix, name)


def test_every_config_field_is_read():
    """Each field's name stands behind a dot, or the whole group is handed over."""
    code = "\n".join(p.read_text() for p in SOURCES if "configs" not in p.parts)
    whole = ("projected", "scales", "mesh")  # read by iteration
    for path in fields(default_config()):
        assert (path[-2:-1] and path[-2] in whole) or f".{path[-1]}" in code, ".".join(path)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_only_change_fields_of_base(name):
    module = recipe_module(name)
    assert module.__doc__
    config = module.get_config()
    assert set(fields(config)) == set(fields(default_config()))
