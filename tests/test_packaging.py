"""What is installed: packages and their data, extras, pinned versions, recipes by name."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.paths import ROOT

from vssflow_jax import bundled
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


def test_every_folder_of_code_is_a_package(setup):
    found = {str(p.parent.relative_to(ROOT)) for p in (ROOT / "vssflow_jax").rglob("__init__.py")}
    found |= {
        f"vssflow_jax/{p.parent.relative_to(ROOT)}" for p in (ROOT / "configs").rglob("__init__.py")
    }
    assert sorted(name.replace("/", ".") for name in found) == sorted(
        lines(setup["options"]["packages"])
    )


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
    found = Path(recipes.locate(value))
    assert found.is_file() and found.stem == Path(value).stem
    assert recipes.resolve(["x", f"--config={value}", "--config.seed=3"]) == [
        "x",
        f"--config={found}",
        "--config.seed=3",
    ]
    assert recipes.resolve(["x", "--config", value]) == ["x", "--config", str(found)]


def test_a_file_is_taken_before_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.py").touch()
    assert recipes.locate("configs/quickstart.py") == "configs/quickstart.py"
    assert recipes.locate("configs/mine.py") == "configs/mine.py"


@pytest.mark.slow
def test_the_wheel_is_whole_and_stands_alone(tmp_path):
    """Built from the source archive; recipes and models in it; a recipe loads by its name."""
    source, junk = tmp_path / "source", shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("vssflow_jax", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=junk)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = (sys.executable, "-m", "build", "--outdir", tmp_path)
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert list(tmp_path.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for path in (*(ROOT / "vssflow_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        assert (name if name.startswith("vssflow_jax") else f"vssflow_jax/{name}") in names
    for name in bundled.list_models():
        folder = bundled.model_folder(name)
        for path in (p for p in folder.rglob("*") if p.is_file()):
            assert f"vssflow_jax/pretrained/{path.relative_to(folder.parent)}" in names
    code = (
        "import sys; sys.path.insert(0, 'site'); sys.argv[:] = ['x', '--config=quickstart'];"
        "from absl import flags; import vssflow_jax.train as t; t.define_flags();"
        "from vssflow_jax.config import command_line;"
        "command_line.parse_flags(sys.argv); print(t.__file__, flags.FLAGS.config.data.corpus)"
    )
    alone = subprocess.run(
        (sys.executable, "-c", code), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    assert str(tmp_path) in alone.stdout and "miniav" in alone.stdout
