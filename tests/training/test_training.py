"""Training: dropout, optimiser, mesh, and a run that is killed and goes on exactly."""

import json
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from helpers import tiny_configs
from jax.sharding import PartitionSpec as P

from vssflow_jax import conditions
from vssflow_jax.codecs.interface import hash_codec, load_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields, load_recipe
from vssflow_jax.training import checkpoint, codec_setup, optim, sharding, step


def masks(batch=4000, present=1.0, **changes):
    dropout = fields.default_config().dropout
    dropout.update(all=0.0, video=0.0, each=0.0, granularity="example")
    dropout.update(changes)
    everywhere = {name: jnp.full(batch, present) for name in conditions.NAMES}
    return {
        n: np.asarray(m)
        for n, m in step.sample_keep_masks(jax.random.key(0), everywhere, dropout).items()
    }


def test_dropout_of_all_conditions_drops_them_together():
    keep = masks(all=0.1)
    first = keep["clip"]
    assert all((mask == first).all() for mask in keep.values())
    assert first.mean() == pytest.approx(0.9, abs=0.02)


def test_dropout_of_video_leaves_text_and_voice():
    keep = masks(video=0.3)
    assert keep["phonemes"].all() and keep["speaker"].all()
    assert (keep["clip"] == keep["lips"]).all() and (keep["clip"] == keep["sync"]).all()
    assert keep["clip"].mean() == pytest.approx(0.7, abs=0.03)


def test_dropout_of_each_is_independent():
    keep = masks(each=0.2)
    both = (keep["clip"] * keep["speaker"]).mean()
    assert both == pytest.approx(0.64, abs=0.03)


def test_dropout_a_batch_is_one_draw():
    assert all(
        len(set(mask.tolist())) == 1 for mask in masks(all=0.5, granularity="batch").values()
    )


def test_absent_conditions_stay_absent():
    assert not any(mask.any() for mask in masks(present=0.0).values())


def test_schedule_warms_up_and_ends():
    config = load_recipe("quickstart").optim
    rate = optim.learning_rate_schedule(config, 1000)
    assert rate(0) == 0
    assert rate(config.warmup_steps) == pytest.approx(config.learning_rate)
    assert rate(1000) == pytest.approx(0, abs=1e-8)
    config.schedule = "constant"
    assert optim.learning_rate_schedule(config, 1000)(900) == pytest.approx(config.learning_rate)
    config.schedule = "staircase"
    with pytest.raises(ValueError, match="cosine"):
        optim.learning_rate_schedule(config, 1000)


def test_clipping_bounds_the_gradient_that_the_optimiser_sees():
    config = load_recipe("quickstart").optim
    config.name = "adamw"
    clip = optim.make_optimizer(config, 10)
    params = {"w": jnp.ones(3)}
    small, large = (
        clip.update({"w": jnp.full(3, size)}, clip.init(params), params)[1] for size in (1e3, 1e6)
    )
    moments = [optax.tree_utils.tree_get(state, "mu")["w"] for state in (small, large)]
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-5)


def test_muon_orthogonalises_each_head_and_leaves_vectors_to_adam():
    config = load_recipe("quickstart").optim
    config.update(name="muon", learning_rate=1.0, warmup_steps=0, schedule="constant")
    config.max_grad_norm = None
    shapes = {
        "query": {"kernel": (2, 32, 4, 8)},  # layers, in, heads, h
        "out": {"kernel": (2, 4, 8, 32)},  # layers, heads, h, out
        "in": {"kernel": (32, 16)},
        "norm": {"scale": (2, 32)},
    }
    draw = np.random.default_rng(0).standard_normal
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    params, gradient = (
        jax.tree.map(lambda shape: jnp.asarray(draw(shape), jnp.float32), shapes, is_leaf=is_shape)
        for _ in range(2)
    )
    axes = optim.muon_dimension_numbers(params)
    assert axes["norm"]["scale"] is None
    rule = optim.make_optimizer(config, 10)
    updates, _ = rule.update(gradient, rule.init(params), params)
    per_head = {
        "query": np.moveaxis(updates["query"]["kernel"], 2, 1).reshape(-1, 32, 8),
        "out": np.asarray(updates["out"]["kernel"]).reshape(-1, 8, 32),
        "in": np.asarray(updates["in"]["kernel"])[None],
    }
    for name, matrices in per_head.items():
        singular = np.linalg.svd(matrices, compute_uv=False)
        assert singular.max() / singular.min() < 2, name  # of the gradients: 3.2 and more
        rms = np.sqrt((matrices**2).mean())
        assert 0.1 < rms < 0.3, name


def test_average_follows_and_ends_at_the_parameters():
    ema = {"w": jnp.zeros(2)}
    for number in range(2000):
        ema = optim.update_ema(ema, {"w": jnp.ones(2)}, jnp.asarray(number), 0.99)
    np.testing.assert_allclose(ema["w"], 1, atol=1e-5)


def test_parameter_table_places_matrices_and_leaves_vectors():
    mesh = jax.sharding.AbstractMesh((2, 2, 2), sharding.AXES)
    place = sharding.parameter_spec
    assert place("dit/blocks/attention/query/kernel", (6, 64, 4, 16), mesh) == P(
        None, "fsdp", "tensor", None
    )
    assert place("dit/blocks/feed_forward/out/kernel", (6, 128, 64), mesh) == P(
        None, "tensor", "fsdp"
    )
    assert (
        place("dit/blocks/norm1/scale", (6, 64), mesh) == P(None, None)
        or place("dit/blocks/norm1/scale", (6, 64), mesh) == P()
    )
    assert place("dit/embed/kernel", (321, 64), mesh) == P(None, None)  # 321 does not split


def test_run_takes_the_codec_that_its_config_names(tiny_run, tmp_path):
    config = load_recipe("quickstart")
    config.codec.folder = str(tiny_run / "codec")
    taken = codec_setup.ensure_codec(config, (), tmp_path)
    assert hash_codec(taken) == hash_codec(load_codec(tiny_run / "codec"))
    config.codec.folder = str(tmp_path / "elsewhere")
    assert hash_codec(codec_setup.ensure_codec(config, (), tmp_path)) == hash_codec(
        taken
    )  # it keeps its own
    with pytest.raises(InputError, match="elsewhere"):
        codec_setup.ensure_codec(config, (), tmp_path / "new")


def test_mesh_errors_name_the_numbers():
    with pytest.raises(InputError, match="is for 3 devices, expected sizes for 1 devices"):
        sharding.make_mesh({"data": 3, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    with pytest.raises(InputError, match="at most one of them -1"):
        sharding.make_mesh({"data": -1, "fsdp": -1, "tensor": 1})
    with pytest.raises(InputError, match="3 devices or a multiple"):
        sharding.make_mesh({"data": -1, "fsdp": 3, "tensor": 1}, jax.devices()[:1])


def test_what_does_not_split_evenly_is_named():
    config, mesh = fields.default_config(), jax.sharding.AbstractMesh((4, 2, 5), sharding.AXES)
    config.data.batch_size, config.train.grad_accumulation = 24, 2
    with pytest.raises(InputError, match="batch_size: found 24, expected a multiple of 16"):
        sharding.check_config(config, mesh)
    config.data.batch_size = 32
    with pytest.raises(InputError, match=r"mesh.tensor: found 5, expected a divisor of .* 24"):
        sharding.check_config(config, mesh)
    config.train.grad_accumulation = 0
    with pytest.raises(InputError, match=r"train.grad_accumulation: found 0"):
        sharding.check_config(config, mesh)


def test_identity_mismatch_names_both_sides():
    with pytest.raises(InputError, match=r"codec was a .* and is b now"):
        checkpoint.check_identity({"codec": "a"}, {"codec": "b"}, "checkpoint 3")


def test_a_checkpoint_older_than_a_config_field_had_its_default():
    now = fields.default_config().model.to_dict()
    before = {name: value for name, value in now.items() if name != "cross_attention_rope"}
    checkpoint.check_identity({"model": before}, {"model": now}, "checkpoint 3")
    said = r"model was {'cross_attention_rope': False} .* is {'cross_attention_rope': True} now"
    with pytest.raises(InputError, match=said):
        checkpoint.check_identity(
            {"model": before}, {"model": now | {"cross_attention_rope": True}}, ""
        )


def weights(workdir, number):
    checkpoints = checkpoint.Checkpoints(workdir)
    found = jax.tree.map(np.asarray, checkpoints.weights(number))
    checkpoints.close()
    return found


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_folder(tiny_run):
    assert {"config.json", "metrics.jsonl", "checkpoints", "tb", "codec"} <= {
        p.name for p in tiny_run.iterdir()
    }
    lines = metrics(tiny_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {
        "loss", "grad_norm", "learning_rate", "clips_per_second", "input_wait_fraction",
        "skipped_steps", "corrupt_records",
    } <= set(lines[0])  # fmt: skip
    assert checkpoint.open_newest(tiny_run)[1] == 6


def test_killed_run_ends_with_the_same_weights(tiny_run, tmp_path):
    """SIGKILL, twice; the same command ends bit for bit where an unbroken run does."""
    workdir = tmp_path / "killed"
    shutil.copytree(
        tiny_run, workdir, ignore=shutil.ignore_patterns("checkpoints", "tb", "metrics.jsonl")
    )
    flags = (*tiny_configs.FLAGS, f"--workdir={workdir}", "--config.train.steps=6")
    for target in (2, 4):
        process = tiny_configs.start("train", *flags)
        while process.poll() is None and not (workdir / "checkpoints" / str(target)).is_dir():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    done = tiny_configs.run("train", *flags)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stdout
    jax.tree.map(np.testing.assert_array_equal, weights(workdir, 6), weights(tiny_run, 6))
    expected = [(line["step"], line["loss"]) for line in metrics(tiny_run)]
    assert [(line["step"], line["loss"]) for line in metrics(workdir)] == expected


def arrays(workdir, number):
    """Everything that a checkpoint says of the state, by item."""
    reader, path = ocp.StandardCheckpointer(), workdir / "checkpoints" / str(number)
    return {item: reader.restore(path / item) for item in ("state", "weights")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_twenty_interruptions_leave_no_trace(tiny_run, tmp_path, name):
    """Every start goes on, and the end is bit for bit the unbroken run's, optimiser and all."""
    steps, reports = 1500, []
    for count in (0, 20):
        workdir = tmp_path / str(count)
        workdir.mkdir()
        for part in ("shards", "codec"):
            shutil.copytree(tiny_run / part, workdir / part)
        command = [
            sys.executable,
            str(tiny_configs.ROOT / "tests/helpers/kill_harness.py"),
            name,
            count,
            0,
            steps,
        ]
        done = subprocess.run(
            [*map(str, command), str(workdir)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + (workdir / "log.txt").read_text()
        reports.append(json.loads(done.stdout))
    starts = reports[1]["starts"]
    print(starts)
    assert reports[1]["last"] == 0 and len(starts) == 20
    ends = {-signal.SIGKILL} if name == "SIGKILL" else {75}
    assert {start["status"] for start in starts} == ends
    assert sum(start["saving"] for start in starts) >= 5
    assert [s["step"] for s in starts] == sorted(s["step"] for s in starts)
    unbroken, broken = (tmp_path / "0", tmp_path / "20")
    jax.tree.map(np.testing.assert_array_equal, arrays(broken, steps), arrays(unbroken, steps))
    expected, found = (
        [(line["step"], line["loss"]) for line in metrics(folder)] for folder in (unbroken, broken)
    )
    assert found == expected


def terminated(workdir, seen, seconds, *flags, number=signal.SIGTERM):
    """Status of a run that gets a signal some seconds after `seen` is in its output."""
    process = tiny_configs.start("train", *tiny_configs.FLAGS, f"--workdir={workdir}", *flags)
    for line in process.stdout:
        if seen in line:
            break
    time.sleep(seconds)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


@pytest.mark.slow
def test_a_signal_at_any_stage_ends_with_75_and_the_next_start_goes_on(tiny_run, tmp_path):
    workdir, steps = tmp_path / "run", "--config.train.steps=6"
    status, said = terminated(workdir, "building the corpus", 1, steps)
    assert (status, "nothing to save" in said) == (75, True), said
    assert not (workdir / "shards" / "dataset.json").exists()
    shutil.copytree(tiny_run / "shards", workdir / "shards", dirs_exist_ok=True)
    # The first step is being compiled: it is made, and saved. Ctrl-C is no different.
    status, said = terminated(workdir, "parameters", 0.5, steps, number=signal.SIGINT)
    assert (status, "step 1 is saved" in said) == (75, True), said
    assert checkpoint.open_newest(workdir)[1] == 1
    evaluate = ("--config.train.evaluate=True", "--config.train.evaluate_clips=1")
    status, said = terminated(workdir, "trained 6 steps", 0.2, steps, *evaluate)
    assert (status, "nothing to save" in said) == (75, True), said
    jax.tree.map(np.testing.assert_array_equal, weights(workdir, 6), weights(tiny_run, 6))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of nine megabytes: room for two checkpoints of the tiny run, not for three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


NO_ROOM_SEEN = """
import shutil, sys
usage = shutil._ntuple_diskusage(10**12, 0, 10**12)
shutil.disk_usage = lambda path: usage
from vssflow_jax import train
from vssflow_jax.config import command_line
command_line.run(train.main, train.define_flags)
"""


@pytest.mark.slow
@pytest.mark.parametrize("noticed", [True, False], ids=["before", "while writing"])
def test_a_full_disk_leaves_the_last_checkpoint(tiny_run, small_disk, noticed):
    workdir, moved = small_disk / "run", small_disk.parent / "moved"
    workdir.mkdir()
    shutil.copytree(tiny_run / "codec", workdir / "codec")
    flags = (f"--config.data.shards={tiny_run / 'shards'}", "--config.train.keep_checkpoints=9")
    command = ("-m", "vssflow_jax.train") if noticed else ("-c", NO_ROOM_SEEN)
    done = subprocess.run(
        [sys.executable, *command, *tiny_configs.FLAGS, f"--workdir={workdir}", *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=tiny_configs.ROOT,
        timeout=300,
    )
    assert done.returncode == 2
    assert not noticed or "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and line.endswith("no space left on the disk")
    _, last = checkpoint.open_newest(workdir)
    assert last in (4, 6)
    shutil.move(workdir, moved)
    done = tiny_configs.train(moved, *flags, f"--config.train.steps={last + 2}")
    assert (done.returncode, f"going on from step {last}" in done.stdout) == (0, True)
    # Nothing is left of the half written one.
    kept = sorted(int(path.name) for path in (moved / "checkpoints").iterdir())
    assert kept == list(range(2, last + 4, 2))


def test_a_file_in_the_place_of_the_folder_is_one_line(tiny_run, tmp_path):
    (tmp_path / "checkpoints").write_text("")
    shutil.copytree(tiny_run / "codec", tmp_path / "codec")
    done = tiny_configs.train(tmp_path, f"--config.data.shards={tiny_run / 'shards'}")
    assert done.returncode == 2
    assert "a file is where a folder is expected" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_corrupt_records_are_counted_or_stop_the_run(tiny_run, tmp_path):
    for name in ("shards", "codec"):
        shutil.copytree(tiny_run / name, tmp_path / name)
    shard = next((tmp_path / "shards").glob("train*.array_record"))
    data = bytearray(shard.read_bytes())
    data[200_000:200_008] = bytes(byte ^ 0xFF for byte in data[200_000:200_008])
    shard.write_bytes(data)
    done = tiny_configs.train(tmp_path, "--config.train.steps=6")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith("error: data.max_corrupt_fraction: found 1 corrupt records")
        and shard.name in last
    )
    done = tiny_configs.train(
        tmp_path, "--config.train.steps=6", "--config.data.max_corrupt_fraction=0.2"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("stands in for it") == 1
    assert metrics(tmp_path)[-1]["corrupt_records"] == 1


def test_resuming_with_another_model_is_refused(tiny_run):
    before = (tiny_run / "config.json").read_text()
    done = tiny_configs.train(
        tiny_run, "--config.train.steps=8", "--config.model.cross_attention_rope=False"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "model" in done.stderr.splitlines()[-1]
    assert (tiny_run / "config.json").read_text() == before
