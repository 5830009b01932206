"""PyTorch's checkpoints: read as tensors alone, damaged ones named, code in them not run."""

import json
import pickle

import numpy as np
import pytest
from helpers.official_names import (
    QUERY,
    Trap,
    assert_same,
    halve_precision,
    insert_nan,
    load_fixture_recipe,
    load_official,
    remove_tensor,
    rename_tensor,
    transpose_tensor,
)
from safetensors.numpy import load_file, save_file

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.weights import network
from vssflow_jax.weights.torch_files import find_state, hash_state, read_tensors


@pytest.fixture
def lightning(tmp_path):
    """Writes `official.ckpt` as Lightning does: state dict, optimiser, loops, the odds and ends."""
    torch = pytest.importorskip("torch")

    def write(state, **beside):
        tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}
        moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}
        checkpoint = {
            "epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.4.0",
            "state_dict": tensors, "loops": {"fit_loop": {"state_dict": {}}},
            "optimizer_states": [{"state": moments, "param_groups": [{"lr": 1e-4}]}],
            "hyper_parameters": {"dit_num_layers": 2}, **beside,
        }  # fmt: skip
        torch.save(checkpoint, tmp_path / "official.ckpt")
        return tmp_path / "official.ckpt"

    return write


def split_state(state, folder, index="model.safetensors.index.json"):
    """Writes a state dict as two safetensors files with an index."""
    parts = {f"model-0000{n}-of-00002.safetensors": sorted(state)[n::2] for n in (0, 1)}
    folder.mkdir(exist_ok=True)
    for file, names in parts.items():
        save_file({name: np.ascontiguousarray(state[name]) for name in names}, folder / file)
    weight_map = {name: file for file, names in parts.items() for name in names}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder / index


def test_several_files_with_an_index_are_one_state_dict(tmp_path):
    index = split_state(load_official(), tmp_path / "parts")
    for src in (index, index.parent):
        network.convert(src, tmp_path / "ours", load_fixture_recipe())
        network.revert(tmp_path / "ours", tmp_path / "back.safetensors")
        assert_same(load_file(tmp_path / "back.safetensors"), load_official())
    assert len(hash_state(index)) == 64
    assert hash_state(tmp_path / "back.safetensors") == hash_file(tmp_path / "back.safetensors")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"a": "../x.safetensors"}, "expected the name of a file beside it"),
        ({"a": 3}, "expected the name of a file beside it"),
        ({"a": "x.safetensors"}, "found no x.safetensors"),
        ({"a": "model-00001-of-00002.safetensors"}, "found no tensor a"),
    ],
)
def test_indices_that_do_not_fit_are_refused(change, words, tmp_path):
    index = split_state({"b": np.zeros(2, np.float32), "c": np.ones(1, np.float32)}, tmp_path / "p")
    content = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": content["weight_map"] | change}))
    with pytest.raises(InputError, match=words):
        read_tensors(index)
    index.write_text("{}")
    with pytest.raises(InputError, match="found no weight_map"):
        read_tensors(index)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a folder without model\.safetensors"):
        find_state(tmp_path)


def test_lightning_checkpoint_round_trip(lightning, tmp_path):
    network.convert(lightning(load_official()), tmp_path / "ours", load_fixture_recipe())
    network.revert(tmp_path / "ours", tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), load_official())


def test_bare_state_dict_is_read_too(lightning, tmp_path):
    import torch

    state = torch.load(lightning(load_official()), weights_only=True)["state_dict"]
    for zipped in (True, False):
        torch.save(state, tmp_path / "bare.pth", _use_new_zipfile_serialization=zipped)
        tensors = read_tensors(tmp_path / "bare.pth")
        assert_same({k: np.asarray(v) for k, v in tensors.items()}, load_official())


@pytest.mark.parametrize(
    "damage", [remove_tensor, rename_tensor, transpose_tensor, halve_precision, insert_nan]
)
def test_damaged_checkpoint_names_the_tensor(damage, lightning, tmp_path):
    state = load_official()
    damage(state)
    with pytest.raises(InputError, match=rf"official\.ckpt.*{QUERY}"):
        network.convert(lightning(state), tmp_path / "ours", load_fixture_recipe())
    assert not (tmp_path / "ours").exists()


def test_cut_checkpoint_is_refused(lightning, tmp_path):
    path = lightning(load_official())
    data = path.read_bytes()
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"official\.ckpt: not a whole"):
            network.convert(path, tmp_path / "ours", load_fixture_recipe())
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("plain", [False, True], ids=["in a checkpoint", "a bare pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(plain, lightning, tmp_path):
    import torch

    trap = Trap(tmp_path / "sprung")
    path = lightning(load_official(), callbacks=trap)
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": trap}, protocol=2))
    with pytest.raises(InputError, match=r"official\.ckpt: (refused.*mkdir|not a whole)"):
        network.convert(path, tmp_path / "ours", load_fixture_recipe())
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "ours").exists()
    if not plain:
        torch.load(path, weights_only=False)
        assert (tmp_path / "sprung").exists()  # the trap was a real one


def test_an_entry_that_is_not_a_tensor_is_named(lightning, tmp_path):
    import torch

    torch.save({"state_dict": {"vaflow.proj_in.weight": 3}}, tmp_path / "official.ckpt")
    with pytest.raises(InputError, match=r"vaflow\.proj_in\.weight is a int"):
        read_tensors(tmp_path / "official.ckpt")
    torch.save([torch.zeros(3)], tmp_path / "official.ckpt")
    with pytest.raises(InputError, match="found a list"):
        read_tensors(tmp_path / "official.ckpt")
