"""Names on the hub wherever a folder is taken, and bundles that are pushed, on a hub of our own."""

import json
import shutil
import sys

import numpy as np
import pytest
from helpers import in_process, tiny_encoders
from helpers.fake_hub import COMMIT, serve_hub
from helpers.in_process import assert_error
from safetensors.numpy import save_file

from vssflow_jax import Generator, bundled
from vssflow_jax.codecs.interface import hash_codec, load_codec
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.data import shards
from vssflow_jax.generation.export import export_run
from vssflow_jax.training import checkpoint, run_paths
from vssflow_jax.weights import published

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub that huggingface_hub asks, with an empty cache."""
    with serve_hub(tmp_path / "hub") as (server, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        hub._download.cache_clear()
        yield server
    hub._download.cache_clear()


def publish(server, name, folder, kind="models"):
    """Makes a folder a repository of the hub."""
    shutil.copytree(folder, server.root / kind / name)


@pytest.fixture(scope="module")
def bundle(tiny_run, tmp_path_factory):
    """The tiny run, exported."""
    out = tmp_path_factory.mktemp("bundle") / "small"
    export_run(tiny_run, out)
    return out


def test_a_bundle_is_sampled_and_trained_on_by_its_name(served, bundle):
    publish(served, "org/small", bundle)
    folder = bundled.find_workdir(f"org/small@{COMMIT}")
    assert (folder / "README.md").read_text() == (bundle / "README.md").read_text()
    ours, theirs = (checkpoint.load_weights(x)[2] for x in (bundle, f"org/small@{COMMIT}"))
    assert ours == theirs
    codec = load_codec(f"org/small@{COMMIT}/codec")
    assert hash_codec(codec) == hash_codec(load_codec(bundle / "codec"))
    out = Generator.from_workdir("org/small@main")(text="bin red", steps=1)
    assert out.wave.size


def test_shards_are_read_by_the_name_of_a_data_set(served, tiny_run):
    publish(served, "org/clips", tiny_run / "shards", kind="datasets")
    ours = shards.open_split(tiny_run / "shards", "test")
    for name in ("org/clips@v1", "datasets/org/clips@v1"):
        theirs = shards.open_split(name, "test")
        assert [r["meta"] for r in theirs] == [r["meta"] for r in ours]
    assert run_paths.portable_path(tiny_run, "org/clips@v1") == "org/clips@v1"
    assert run_paths.find_shards(tiny_run, "org/clips@v1") == "org/clips@v1"


def test_only_what_a_name_says_is_downloaded_and_only_once(served, tmp_path):
    repository = served.root / "models" / "org" / "many"
    for name in ("a/1.txt", "a/2.txt", "b.txt"):
        write_text(repository / name, name)
    folder = hub.find_path("org/many@v1/a")
    assert sorted(path.name for path in folder.iterdir()) == ["1.txt", "2.txt"]
    count = len(served.requests)
    assert hub.find_path("org/many@v1/a") == folder
    assert len(served.requests) == count
    assert not any(path.endswith("/b.txt") for _, path in served.requests)
    assert hub.find_path("org/many@v1/b.txt").read_text() == "b.txt"


def test_weights_are_converted_and_found_by_names(served, tmp_path, monkeypatch):
    repository = served.root / "models" / "org" / "nets"
    repository.mkdir(parents=True)
    save_file(tiny_encoders.random_official("speaker"), repository / "model.safetensors")
    out = tmp_path / "converted" / "speaker"
    for src in ("org/nets@v1", "org/nets@v1/model.safetensors"):
        flags = ("--kind=speaker", f"--src={src}", f"--out={out}", "--unverified")
        done = in_process.run("convert", *flags)
        assert done.returncode == 0, done.stderr
    publish(served, "org/weights", out.parent)
    monkeypatch.setenv("VSSFLOW_WEIGHTS", "org/weights@v1")
    folder = published.find_weights("speaker")
    assert published.load_encoder(folder, "speaker").hash
    with pytest.raises(InputError, match="nothing is converted into a name on the hub"):
        published.find_weights("clip")
    assert published.find_weights("dvector").parent.name == "bundled"


def test_what_exists_on_this_machine_comes_first(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "run@2").mkdir(parents=True)
    assert not hub.is_name("org/run@2")
    assert hub.find_path("org/run@2").resolve() == tmp_path / "org" / "run@2"
    for name in ("run@2", "org/run", "/org/run@2", "a/b/c@d", "", "gs://org/run@2"):
        assert not hub.is_name(name), name
    assert not served.requests


def test_names_without_such_a_repository_are_one_line(served, tmp_path):
    done = in_process.run(
        "sample", "--workdir=org/none@v1", "--text=bin red", f"--out={tmp_path / 'out.wav'}"
    )
    assert_error(done, "org/none@v1", "404", out=tmp_path / "out.wav")
    with pytest.raises(InputError, match=r"found '\.\.'"):
        hub.find_path("org/none@v1/../../x")


# Of huggingface_hub's own call of its HTTP library.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_bundle_is_pushed_with_its_card(served, tiny_run, tmp_path):
    out = tmp_path / "out"
    done = in_process.run("export", f"--workdir={tiny_run}", f"--out={out}", "--push=org/new@v1")
    assert done.returncode == 0, done.stderr
    assert f"pushed: org/new@{COMMIT}" in done.stdout
    sent = {name.removeprefix("org/new@v1/"): data for name, data in served.uploads.items()}
    files = (path for path in out.rglob("*") if path.is_file())
    assert sent == {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    card = sent["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\n") and "# out" in card
    assert json.loads(sent["export.json"])["step"] == 6
    assert np.isin(["codec/codec.json", "weights.safetensors"], list(sent)).all()


def test_pushing_elsewhere_is_refused_before_the_export(served, tiny_run, tmp_path, monkeypatch):
    flags = (f"--workdir={tiny_run}", f"--out={tmp_path / 'out'}")
    done = in_process.run("export", *flags, "--push=https://hub/x")
    assert_error(done, "--push", "ORG/NAME", out=tmp_path / "out")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = in_process.run("export", *flags, "--push=org/new")
    assert_error(done, "--push=org/new", "vssflow_jax[hub]", out=tmp_path / "out")
    done = in_process.run("sample", "--workdir=org/new@v1", "--text=a", f"--out={tmp_path}/o.wav")
    assert_error(done, "org/new@v1", "vssflow_jax[hub]")
