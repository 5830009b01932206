"""Options and fixtures that all tests share."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # commands that tests start compile the same
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled = tempfile.mkdtemp(prefix="compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)

import jax
import pytest
from helpers import chromium, tiny_configs
from helpers.paths import GOLDEN


def pytest_addoption(parser):
    parser.addoption("--golden", default=str(GOLDEN), help="folder of parity fixtures")


def pytest_generate_tests(metafunc):
    if "golden" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--golden"))
        files = sorted(folder.glob("*.safetensors"))
        metafunc.parametrize("golden", files, ids=[file.stem for file in files])


@pytest.fixture(autouse=True)
def full_precision():
    """Matrix products in full float32, wherever the tests run."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a tiny run, trained for six steps by the real command."""
    workdir = tmp_path_factory.mktemp("run")
    done = tiny_configs.train(workdir, "--config.train.steps=6")
    assert done.returncode == 0, done.stderr
    return workdir


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
