"""What is installed: packages and their data, extras, pinned versions, recipes by name."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from vssflow_jax.config import recipes

HARDWARE = ("cuda", "torch", "tpu", "beam")  # extras that a machine is chosen for: not pinned


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def plain(requirement):
    """The package's name as indices write it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_folder_of_code_is_a_package():
    for path in (ROOT / "vssflow_jax").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path


def test_extras_are_there(setup):
    extras = setup["options.extras_require"]
    assert {"quickstart", "test", "app", "eval", "torch", "tpu", "cuda"} <= set(extras)


def test_every_requirement_is_pinned(setup):
    """launch/constraints.txt names a version of each, so that hosts install the same."""
    text = (ROOT / "launch" / "constraints.txt").read_text()
    pinned = {line.split("==")[0] for line in lines(text) if not line.startswith("#")}
    wanted = lines(setup["options"]["install_requires"])
    for extra, text in setup["options.extras_require"].items():
        wanted += lines(text) if extra not in HARDWARE else []
    names = {plain(line) for line in wanted} - {"vssflow-jax"}
    assert names <= pinned, sorted(names - pinned)


@pytest.mark.parametrize("value", ["quickstart", "configs/quickstart.py", "ablations/none"])
def test_recipes_go_by_name(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Path(recipes.find_recipe(value))
    assert recipe.is_file() and recipe.stem == Path(value).stem
    assert recipes.resolve_flags(["x", f"--config={value}", "--config.seed=3"]) == [
        "x",
        f"--config={recipe}",
        "--config.seed=3",
    ]
    assert recipes.resolve_flags(["x", "--config", value]) == ["x", "--config", str(recipe)]


def test_a_file_has_precedence_over_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.py").touch()
    assert recipes.find_recipe("configs/quickstart.py") == "configs/quickstart.py"
    assert recipes.find_recipe("configs/mine.py") == "configs/mine.py"


# ---- installed, and not installed ---------------------------------------------------------

LOAD = """
import sys
sys.argv[:] = ["train", "--config=ablations/none", "--config.train.steps=7"]
from absl import flags
from vssflow_jax import train
from vssflow_jax.config import command_line, load_recipe
train.define_flags()
command_line.parse_flags(sys.argv)
config = flags.FLAGS.config
print(train.__file__, config.model.route, config.train.steps, load_recipe("grid").data.corpus)
"""


def run_elsewhere(code, path, cwd):
    """Runs code in a folder other than the checkout, with `path` before all other packages."""
    environment = {**os.environ, "PYTHONPATH": str(path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        (sys.executable, "-c", code),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plain_checkout_runs_with_its_dependencies_alone(tmp_path):
    """Package and recipes without metadata: as cloned, nothing installed."""
    for name in ("vssflow_jax", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    not_installed = """
import importlib.metadata, sys
def no_files(name): raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.files = no_files
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
"""
    out = run_elsewhere(not_installed + LOAD, tmp_path, tmp_path)
    assert out.split()[1:] == ["none", "7", "miniav"] and out.startswith(str(tmp_path))


def test_recipes_import_the_config_package_alone():
    """But for a student's, whose config is that of its teacher: a run, which has to be read."""
    readers_of_runs = {"distill.py": {"vssflow_jax.training.checkpoint"}}
    for path in (ROOT / "configs").rglob("*.py"):
        modules = {
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert modules == readers_of_runs.get(path.name, {"vssflow_jax.config"}), path


@pytest.mark.slow
def test_the_wheel_holds_everything_and_works_installed(tmp_path):
    """Built from the source archive and installed; a recipe loads by its name."""
    source, junk = tmp_path / "source", shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("vssflow_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=junk)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = (sys.executable, "-m", "build", "--outdir", tmp_path)
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("*.tar.gz"))
    (wheel,) = tmp_path.glob("*.whl")
    install = (sys.executable, "-m", "pip", "install", "--no-deps", f"--prefix={tmp_path / 'env'}")
    done = subprocess.run((*install, wheel), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = (tmp_path / "env").glob("lib*/python*/site-packages")
    for path in (p for p in (source / "vssflow_jax").rglob("*") if p.is_file()):
        assert (site / path.relative_to(source)).is_file()
    out = run_elsewhere(LOAD, site, tmp_path)
    assert out.split()[1:] == ["none", "7", "miniav"] and out.startswith(str(site))
