"""A run's shards are found after its folder has moved, and from any working directory."""

import os
import pathlib
import types

import pytest

from vssflow_jax import train
from vssflow_jax.config import load_recipe
from vssflow_jax.training import checkpoint, run_paths


def make_shards(folder):
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}")
    return folder


def write_config(workdir, shards):
    config = load_recipe("grid")
    config.data.shards = str(shards)
    run = types.SimpleNamespace(
        workdir=workdir,
        config=config,
        step=0,
        state=types.SimpleNamespace(params={}),
        data=types.SimpleNamespace(spec=types.SimpleNamespace(latent_frames=100)),
        mesh=types.SimpleNamespace(shape={}),
    )
    dataset = types.SimpleNamespace(records=[{}], statistics={}, folder=shards)
    train.write_description(run, dataset)


@pytest.mark.parametrize("relative", [True, False])
def test_a_moved_run_finds_its_own_shards_from_anywhere(tmp_path, monkeypatch, relative):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    workdir = tmp_path / "runs" / "a"
    make_shards(workdir / "shards")
    typed = workdir.relative_to(tmp_path) if relative else workdir
    write_config(typed, typed / "shards")
    os.rename(workdir, tmp_path / "runs" / "b")
    make_shards(workdir / "shards")  # a new run under the old name
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = checkpoint.read_config("../runs/b")
    assert config.data.shards == "../runs/b/shards"
    assert checkpoint.read_config(tmp_path / "runs" / "b").data.shards == str(
        tmp_path / "runs" / "b" / "shards"
    )


def test_shards_outside_the_run_are_stored_by_their_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shards = make_shards(tmp_path / "data")
    write_config(pathlib.Path("run"), pathlib.Path("data"))
    os.rename("run", "moved")
    monkeypatch.chdir("/")
    assert checkpoint.read_config(tmp_path / "moved").data.shards == str(shards)


@pytest.mark.parametrize("stored", ["runs/a/shards", "/gone/runs/a/shards", "shards", "./shards"])
def test_an_older_run_that_has_moved_finds_its_own_shards(tmp_path, stored):
    make_shards(tmp_path / "b" / "shards")
    assert run_paths.find_shards(tmp_path / "b", stored) == str(tmp_path / "b" / "shards")


def test_an_older_run_that_has_not_moved_finds_shards_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_shards(tmp_path / "data" / "mine")
    make_shards(tmp_path / "shards")
    assert run_paths.find_shards("run", "data/mine") == "data/mine"
    assert run_paths.find_shards("run", "shards") == "shards"
    assert run_paths.find_shards("run", "") == ""
    assert run_paths.find_shards("run", "gone/data") == "gone/data"


def test_shards_inside_the_run_under_any_name_and_behind_a_link(tmp_path):
    make_shards(tmp_path / "run" / "my" / "data")
    assert run_paths.portable_path(tmp_path / "run", tmp_path / "run/my/data") == "my/data"
    assert run_paths.find_shards(tmp_path / "run", "my/data").endswith("run/my/data")
    (tmp_path / "run" / "link").symlink_to(make_shards(tmp_path / "far"))
    assert run_paths.portable_path(tmp_path / "run", tmp_path / "run/link") == "link"
    assert run_paths.portable_path(tmp_path / "run", tmp_path / "runner") == str(
        tmp_path / "runner"
    )
