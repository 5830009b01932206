"""Benchmarks at a tiny size: their tables; PyTorch's network equals ours."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import fixtures, tiny_configs

TINY = (*tiny_configs.NETWORK, "--config.data.duration=1")
ONCE = ("--rounds=1", "--repeats=1")


def run_benchmark(name, folder, *arguments):
    """The rows of a benchmark's JSON; checks that its table has them."""
    out = folder / "numbers.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *ONCE, *arguments, f"--json={out}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=tiny_configs.ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    for row in rows:
        assert f"| {row} |" in done.stdout
    return rows


def test_input(tmp_path):
    small = ("--clips=8", "--batch=2", "--batches=2", "--clip_seconds=1", "--workers=0")
    rows = run_benchmark("input", tmp_path, *small)
    assert rows["threads"]["per_second"] > 0 and rows["threads"]["record_MB"] > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sampling", "train_step"])
def test_networks(name, tmp_path):
    rows = run_benchmark(name, tmp_path, *TINY, *(("--steps=2",) if name == "sampling" else ()))
    for dtype in ("float32", "bfloat16"):
        assert rows[f"ours {dtype}"]["peak_GB"] > 0.1
    assert rows["matrix product float32"]["seconds"][0] > 0


@pytest.mark.slow
def test_scaling(tmp_path):
    rows = run_benchmark("scaling", tmp_path, *TINY, "--devices=1,2", "--batch=2")
    assert rows["devices: 2"]["peak_device_GB"] < rows["devices: 1"]["peak_device_GB"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections' flags
def test_the_pytorch_network_equals_ours(tmp_path):
    """Equal weights and conditions give equal velocities."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from benchmarks import networks, official
    from vssflow_jax.config import load_recipe

    config = load_recipe("joint")
    config.update_from_flattened_dict(
        {
            part.split("=")[0].removeprefix("--config."): int(part.split("=")[1])
            for part in tiny_configs.NETWORK
        }
    )
    config.data.duration = 1.0
    model = networks.build_model(config)
    params = networks.synthetic_params(model)
    theirs = official.build_official(config)
    official.load_params(theirs, config, params)
    features = networks.random_features(config, 2)
    x = np.random.default_rng(3).standard_normal((2, 25, 16), np.float32)
    t = np.asarray([0.2, 0.7], np.float32)
    keep = dict.fromkeys(features, np.ones(2, np.float32))
    ours = model.apply({"params": params}, x, t, features, keep)
    with torch.no_grad():
        concat, context = theirs.condition(official.to_tensors(features))
        velocity = theirs.velocity(
            torch.from_numpy(x).transpose(1, 2), torch.from_numpy(t), concat, context
        )
    velocity = velocity.transpose(1, 2).numpy()
    assert np.linalg.norm(velocity - ours) < 1e-4 * np.linalg.norm(ours)


@pytest.mark.slow
def test_overlap(tmp_path):
    fixtures.write_video(tmp_path / "a.mp4", 1.0)
    (tmp_path / "clips.csv").write_text("id,video,split\na,a.mp4,train\n")
    command = [sys.executable, "-m", "benchmarks.preparing", "--overlap=1", "--side=64"]
    done = subprocess.run(
        [*command, f"--manifest={tmp_path}/clips.csv"],
        cwd=tiny_configs.ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, *seconds, hidden = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    _, _, both, busy = map(float, seconds)
    assert count == "1" and 0 < busy <= both and min(map(float, seconds)) > 0
    assert hidden.endswith("%")
