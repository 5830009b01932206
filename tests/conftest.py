"""Options and fixtures that all tests share."""

import atexit
import gc
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # commands that tests start compile the same
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled = tempfile.mkdtemp(prefix="compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
if "XLA_FLAGS" not in os.environ:
    # Programs of tests are large beside what they compute: to optimize them would be half of the
    # suite's time. jaxlib 0.10 has quicker emitters too; later ones refuse a flag they do not know.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import pytest
from helpers import chromium, tiny_configs
from helpers.paths import GOLDEN

import vssflow_jax
from vssflow_jax.common import locks

SLOW_FIXTURES = ("desync_full", "synchformer_full", "syncnet_full")  # networks of full size


def pytest_addoption(parser):
    parser.addoption("--golden", default=str(GOLDEN), help="folder of parity fixtures")


def pytest_generate_tests(metafunc):
    if "golden" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--golden"))
        files = sorted(folder.glob("*.safetensors"))
        marks = {name: pytest.mark.slow for name in SLOW_FIXTURES}
        params = [pytest.param(f, marks=marks.get(f.stem, ()), id=f.stem) for f in files]
        metafunc.parametrize("golden", params)


def pytest_configure():
    """Saves time: bytecode is kept, and garbage is collected less often."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each command would compile the package anew
    sys.dont_write_bytecode = False
    gc.set_threshold(100_000, 20, 100)  # tracing makes many objects, hardly any in circles


def pytest_collection_finish():
    """Leaves imported modules and collected tests out of every later garbage collection."""
    gc.freeze()


@pytest.fixture(autouse=True)
def full_precision():
    """Matrix products in full float32, wherever the tests run."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture
def gpu():
    """The first NVIDIA GPU; tests that take it are skipped without one."""
    if jax.default_backend() != "gpu":
        pytest.skip("there is no GPU, or JAX_PLATFORMS does not allow it")
    return jax.devices()[0]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, request):
    """The folder of a tiny run, trained for six steps by the real command.

    Under pytest-xdist one process trains it, and each has a copy of its own.
    """
    if not hasattr(request.config, "workerinput"):
        return train_tiny_run(tmp_path_factory.mktemp("run"))
    common = tmp_path_factory.getbasetemp().parent / "tiny_run"
    with locks.Locks(common.with_suffix(".lock")) as lock:
        lock.take("tiny run", wait=True)
        if not common.exists():
            train_tiny_run(common)
    return shutil.copytree(common, tmp_path_factory.mktemp("copy") / "run")


def train_tiny_run(workdir):
    """Trains it; a broken one fails this test and leaves nothing that the next would take."""
    part = workdir.with_suffix(".part")
    done = tiny_configs.train(part, "--config.train.steps=6")
    assert done.returncode == 0, done.stderr
    return part.rename(workdir)


@pytest.fixture(scope="session")
def generator(tiny_run):
    """The generator of the tiny run: what it has compiled for one test serves all."""
    return vssflow_jax.Generator.from_workdir(tiny_run)


@pytest.fixture
def loaded_generator(generator, tiny_run, monkeypatch):
    """Commands in this process take the generator of the tiny run as it is, with its programs."""
    load = vssflow_jax.Generator.from_workdir

    def find(workdir, step=None, precision=None):
        is_loaded = Path(workdir) == tiny_run and step is precision is None
        return generator if is_loaded else load(workdir, step, precision)

    monkeypatch.setattr(vssflow_jax.Generator, "from_workdir", find)


@pytest.fixture(scope="session")
def server(tiny_run, tmp_path_factory):
    """The address of the tiny run's page."""
    with chromium.serve_page(tiny_run, tmp_path_factory.mktemp("page")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser(tiny_run):
    """A headless Chromium whose microphone hears a voice of the corpus."""
    with chromium.open_browser(tiny_run / "corpus" / "voices" / "ada_0.wav") as browser:
        yield browser


@pytest.fixture
def visit(server, browser):
    """Opens pages; afterwards none of them may have an error in its console."""
    with chromium.open_pages(browser, server) as open_page:
        yield open_page
