"""Rules for the source that a program can check: floors, style, docstrings."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

SOURCES = [p for folder in ("vssflow_jax", "configs") for p in (ROOT / folder).rglob("*.py")]
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


VAGUE = {"found", "made", "given", "whole"}  # what a variable holds has a name of its own
PRIVATE = re.compile(
    r"yardstick|pacing|tally|showcase|gallery|(?<!re)turns\b|\bahead|judges|panel|opinion|mouths|influence"
)


def identifiers(tree):
    """Names that a module defines: variables, parameters, functions, classes, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def test_names_say_what_they_hold():
    bad = [
        f"{path.relative_to(ROOT)}: {name}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in identifiers(ast.parse(path.read_text()))
        if name in VAGUE or PRIVATE.search(name.lower())
    ]
    assert not bad, bad


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_say_what_they_are(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree)
