"""Official weights in and out: bit-exact round trips; damaged files are named and run no code."""

import os
import pickle
import subprocess
import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from helpers import in_process, tiny_configs
from helpers.official_names import (
    QUERY,
    ROUTES,
    Trap,
    assert_same,
    build_model,
    convert_state,
    fixture_fields,
    halve_precision,
    insert_infinity,
    insert_nan,
    load_fixture_recipe,
    load_official,
    remove_tensor,
    rename_tensor,
    transpose_tensor,
)
from safetensors.numpy import load_file, save_file

from vssflow_jax import Generator
from vssflow_jax.codecs.interface import save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common import safetensors_io
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.models import duration_model, vssflow
from vssflow_jax.training import checkpoint, init_from
from vssflow_jax.training.state import init_state
from vssflow_jax.weights import mapping, network, vssflow_names
from vssflow_jax.weights.torch_files import read_tensors

# ---- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("fixture", ROUTES)
def test_round_trip_is_bit_exact(fixture, tmp_path):
    state = load_official(fixture)
    ours = convert_state(tmp_path, state, fixture)
    network.revert(ours, tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), state)
    params, step, _ = checkpoint.load_weights(ours)
    count = sum(array.size for array in flatten_dict(params, sep="/").values())
    assert (step, count) == (0, sum(array.size for array in state.values()))


def test_command_round_trip(tmp_path):
    """The real command; a folder for --out gets a file of a fixed name."""
    state = load_official()
    save_file(state, tmp_path / "official.safetensors")
    ours, back = tmp_path / "ours", tmp_path / "back"
    flags = [f"--config.{name}={value}" for name, value in fixture_fields().items()]
    files = (f"--src={tmp_path / 'official.safetensors'}", f"--out={ours}")
    done = tiny_configs.run("convert", "--kind=vssflow", *files, *flags)
    assert done.returncode == 0, done.stderr
    assert f"{sum(array.size for array in state.values()):,} parameters" in done.stdout
    files = (f"--src={ours}", f"--out={back}")
    done = in_process.run("convert", "--kind=vssflow", "--reverse", *files)
    assert done.returncode == 0, done.stderr
    assert_same(load_file(back / network.OFFICIAL), state)


def test_frozen_models_in_a_checkpoint_are_left_out_and_told(tmp_path):
    carried = {
        "vae.encoder.conv_in.weight": np.zeros((2, 1, 3, 3), np.float32),
        "image_encoder.model.count": np.zeros((), np.int64),
    }
    save_file({**load_official(), **carried}, tmp_path / "official.safetensors")
    summary = network.convert(
        tmp_path / "official.safetensors", tmp_path / "ours", load_fixture_recipe()
    )
    assert summary.endswith("left out: image_encoder (1 tensors), vae (1 tensors)")
    network.revert(tmp_path / "ours", tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), load_official())


def test_run_becomes_official_weights(tiny_run, tmp_path):
    """The network that was trained here has official names too, and comes back as it was."""
    network.revert(tiny_run, tmp_path / "official.safetensors")
    config = checkpoint.read_config(tiny_run)
    network.convert(tmp_path / "official.safetensors", tmp_path / "ours", config)
    converted, trained = (checkpoint.load_weights(f)[0] for f in (tmp_path / "ours", tiny_run))
    trained.pop(duration_model.PARAMS_KEY)
    trained = {path: np.asarray(array) for path, array in flatten_dict(trained, sep="/").items()}
    assert_same(flatten_dict(converted, sep="/"), trained)


def test_conversion_with_a_codec_makes_sound(tmp_path):
    ours = convert_state(tmp_path, load_official())
    with pytest.raises(InputError, match="codec"):
        Generator.from_workdir(ours)
    waves = np.random.default_rng(0).standard_normal((4, 64_000), np.float32)
    save_codec(
        fit_pca(waves, channels=load_fixture_recipe().codec.channels, whitening=0.5), ours / "codec"
    )
    output = Generator.from_workdir(ours)(text="set blue", duration=1.0, steps=1)
    assert (
        output.wave.shape == (16_000,) and np.isfinite(output.wave).all() and output.wave.std() > 0
    )


def test_training_starts_from_a_conversion_in_another_folder(tmp_path):
    ours = convert_state(tmp_path, load_official())
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        vssflow_names.parameter_shapes(build_model()),
    )
    first = init_from.init_from_weights(
        init_state(zeros, load_fixture_recipe()), str(ours), "any codec"
    )
    expected = flatten_dict(checkpoint.load_weights(ours)[0], sep="/")
    for params in (first.params, first.weights):
        assert_same({k: np.asarray(v) for k, v in flatten_dict(params, sep="/").items()}, expected)
    done = in_process.run("train", "--config=configs/grid.py", f"--workdir={ours}")
    assert done.returncode == 2 and f"--config.train.init_from={ours}" in done.stderr


@pytest.mark.slow
def test_full_size_round_trip(tmp_path):
    """463,565,184 parameters: bit-exact, under two minutes and three times the file's size."""
    config = load_recipe("joint")
    model = vssflow.build_model(config, config.codec.channels)
    flat = flatten_dict(vssflow_names.parameter_shapes(model), sep="/")
    shapes = mapping.official_shapes(vssflow_names.model_entries(model), config.model.layers, flat)

    def draw(name):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        return rng.standard_normal(shapes[name], np.float32)

    state = {
        name: safetensors_io.Lazy(shape, "float32", lambda name=name: draw(name))
        for name, shape in shapes.items()
    }
    src, back = tmp_path / "official.safetensors", tmp_path / "back.safetensors"
    safetensors_io.write_arrays(src, state)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 463_565_184
    began = time.perf_counter()
    for flags in (
        (f"--src={src}", f"--out={tmp_path / 'ours'}"),
        ("--reverse", f"--src={tmp_path / 'ours'}", f"--out={back}"),
    ):
        command = [sys.executable, "-m", "vssflow_jax.convert", "--kind=vssflow", *flags]
        process = subprocess.Popen(command, cwd=tiny_configs.ROOT, env={**os.environ})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = usage.ru_maxrss * 1024 / src.stat().st_size
        print(f"{flags}: peak memory {peak:.2f} x file, {time.perf_counter() - began:.0f} s")
        assert process.returncode == 0 and peak < 3
    assert time.perf_counter() - began < 120
    arrays = safetensors_io.read_arrays(back)
    assert set(arrays) == set(shapes)
    for name in shapes:
        np.testing.assert_array_equal(np.asarray(arrays[name]), draw(name), err_msg=name)


# ---- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove_tensor, ("missing", QUERY)),
        (rename_tensor, ("missing", QUERY, "unknown", QUERY + "s")),
        (transpose_tensor, (QUERY, "[12, 16]", "[16, 12]")),
        (halve_precision, (QUERY, "float16", "float32")),
        (insert_nan, (QUERY, "NaN")),
        (insert_infinity, (QUERY, "infinity")),
    ],
)
def test_damaged_tensors_are_named_and_nothing_is_written(damage, words, tmp_path):
    state = load_official()
    damage(state)
    with pytest.raises(InputError) as error:
        convert_state(tmp_path, state)
    for word in ("official.safetensors", *words):
        assert word in str(error.value)
    assert not (tmp_path / "ours").exists()


def test_many_wrong_names_fit_on_a_line(tmp_path):
    omitted = len(load_official()) - safetensors_io.MAX_NAMES
    with pytest.raises(InputError, match=f"and {omitted} more") as error:
        convert_state(tmp_path, {"other": np.zeros(3, np.float32)})
    assert len(str(error.value)) < 1000


def test_file_cut_anywhere_is_refused(tmp_path):
    save_file(load_official(), tmp_path / "whole.safetensors")
    data = (tmp_path / "whole.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.safetensors: not a whole"):
            network.convert(cut, tmp_path / "ours", load_fixture_recipe())
    assert not (tmp_path / "ours").exists()


def test_pickle_under_another_name_runs_nothing(tmp_path):
    data = pickle.dumps({"state_dict": Trap(tmp_path / "sprung")})
    (tmp_path / "official.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "official.safetensors")
    assert not (tmp_path / "sprung").exists()
    pickle.loads(data)
    assert (tmp_path / "sprung").exists()  # the trap was a real one


def test_pytorch_file_without_torch_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "official.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=r'official\.ckpt.*pip install "vssflow_jax\[torch\]"'):
        read_tensors(tmp_path / "official.ckpt")


def test_bad_names_on_the_command_line(tmp_path):
    no_file = ("--kind=clip", f"--src={tmp_path / 'no.pt'}", f"--out={tmp_path / 'ours'}")
    for flags, word in (
        (("--kind=voice", "--src=a", f"--out={tmp_path / 'ours'}"), "--kind"),
        (("--kind=vssflow", f"--src={tmp_path / 'no.ckpt'}", f"--out={tmp_path}"), "no.ckpt"),
        (no_file, "no.pt: no such file, expected one of ('.safetensors', '.ckpt', '.pt'"),
    ):
        done = in_process.run("convert", *flags)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("error: ") and word in line
    assert not list(tmp_path.iterdir())
    (tmp_path / "weights.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.npz"):
        read_tensors(tmp_path / "weights.npz")


def test_runs_are_not_overwritten(tmp_path):
    save_file(load_official(), tmp_path / "official.safetensors")
    (tmp_path / "run" / checkpoint.FOLDER).mkdir(parents=True)
    with pytest.raises(InputError, match="found a run"):
        network.convert(tmp_path / "official.safetensors", tmp_path / "run", load_fixture_recipe())
    assert not list((tmp_path / "run").glob("*.*"))


def test_reverse_says_what_is_wrong(tmp_path):
    ours = convert_state(tmp_path, load_official())
    with pytest.raises(InputError, match=r"\.npz"):
        network.revert(ours, tmp_path / "back.npz")
    with pytest.raises(InputError, match="no such folder"):
        network.revert(tmp_path / "nowhere", tmp_path / "back.safetensors")
    params, _, _ = checkpoint.load_weights(ours)
    params["dit"]["extra"] = np.zeros(3, np.float32)
    safetensors_io.write_arrays(ours / checkpoint.WEIGHTS_FILE, flatten_dict(params, sep="/"))
    with pytest.raises(InputError, match="without an official name dit/extra"):
        network.revert(ours, tmp_path / "back.safetensors")
    assert not (tmp_path / "back.safetensors").exists()
