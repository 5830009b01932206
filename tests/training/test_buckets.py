"""Runs whose folder is in a bucket: a fake of the service, the real client libraries."""

import json
import random
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath
from helpers import buckets, loopback, tiny_configs

from vssflow_jax import media
from vssflow_jax.common.files import to_path, upload_file
from vssflow_jax.data import shards
from vssflow_jax.training import checkpoint
from vssflow_jax.training.state import TrainState

STEPS = 60


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv(shards.CACHE_VARIABLE, str(tmp_path / "cache"))
    with buckets.bucket_in_process() as store:
        yield store


def upload_folder(source, address):
    """Copies a folder of this machine into the bucket."""
    for file in source.rglob("*"):
        if file.is_file():
            upload_file(file, to_path(address) / file.relative_to(source))


def test_checkpoints_in_a_bucket_are_restored_whole_and_old_ones_go(bucket):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    params = {"w": jnp.arange(12.0).reshape(3, 4)}
    averages = jax.tree.map(lambda array: array + 1, params)
    state = TrainState(step=jnp.int32(0), params=params, ema=averages, opt_state=(params,))
    checkpoints = checkpoint.Checkpoints("gs://fake/run", keep=1, writes=True)
    for step in (1, 2):
        checkpoints.save(step, state, {"next_index": step}, {"codec": "x"})
    checkpoints.close()
    # A checkpoint whose writer was killed: without the file that completes it.
    for name in [name for name in bucket.objects if name.startswith("run/checkpoints/2/")]:
        if not name.endswith("commit_success.txt"):
            bucket.put(name.replace("checkpoints/2/", "checkpoints/3/"), bucket.objects[name][0])
    again = checkpoint.Checkpoints("gs://fake/run", writes=True)
    assert again.steps() == [2]
    like = checkpoint.abstract_arrays(
        jax.eval_shape(lambda: state), jax.tree.map(lambda _: place, state)
    )
    restored, position = again.restore(2, like)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    assert position == {"next_index": 2}
    jax.tree.map(np.testing.assert_array_equal, again.restore_weights(2), averages)
    again.close()
    assert checkpoint.load_weights("gs://fake/run")[1] == 2


@pytest.mark.slow
def test_a_run_lives_in_a_bucket(tiny_run, bucket, tmp_path):
    """Trained, stopped, resumed, sampled, scored, reported and exported there, as it is here."""
    upload_folder(tiny_run / "shards", "gs://fake/shards")
    upload_folder(tiny_run / "codec", "gs://fake/run/codec")
    workdir, here = "gs://fake/run", tmp_path / "here"
    shutil.copytree(tiny_run / "codec", here / "codec")
    flags = ("--config.train.sample_every=2", "--config.train.profile_steps=1")
    flags += ("--config.optim.schedule=constant",)  # others depend on the length of the run
    runs = (
        (here, tiny_run / "shards", 6),
        (workdir, "gs://fake/shards", 4),
        (workdir, "gs://fake/shards", 6),
    )
    for folder, data, steps in runs:
        places = (f"--workdir={folder}", f"--config.data.shards={data}")
        length = f"--config.train.steps={steps}"
        done = tiny_configs.run("train", *tiny_configs.FLAGS, *flags, *places, length, timeout=900)
        assert done.returncode == 0, done.stderr
    assert "resuming from step 4" in done.stdout
    lines = (to_path(workdir) / "metrics.jsonl").read_text().splitlines()
    expected = (here / "metrics.jsonl").read_text().splitlines()
    losses, expected = ([json.loads(line)["loss"] for line in some] for some in (lines, expected))
    assert losses == expected
    for pattern in ("run/tb/events", "run/samples/2/", "run/profile/plugins"):
        assert any(name.startswith(pattern) for name in bucket.objects), pattern
    wav = ("--text=set blue now", "--out=gs://fake/out/speech.wav")
    commands = (
        ("sample", f"--workdir={workdir}", *wav),
        ("evaluate", f"--workdir={workdir}", "--clips=1"),
        ("report", f"--workdir={workdir}"),
        ("export", f"--workdir={workdir}", "--out=gs://fake/exported"),
        (
            "sample",
            "--workdir=gs://fake/exported",
            "--text=set blue now",
            f"--out={tmp_path}/b.wav",
        ),
    )
    for command in commands:
        done = tiny_configs.run(*command, timeout=900)
        assert done.returncode == 0, done.stderr
    for name in ("out/speech.wav", "run/eval/metrics.json", "run/report.html"):
        assert name in bucket.objects
    speech = media.read_audio("gs://fake/out/speech.wav")
    assert np.isfinite(speech).all() and np.abs(speech).max() > 0


def read_arrays(workdir, step):
    """Everything that a checkpoint says of the state."""
    arrays = {}
    for item in ("state", "weights"):
        path = epath.Path(f"{workdir}/checkpoints/{step}/{item}")
        handler = ocp.PyTreeCheckpointer()
        like = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(path).item_metadata
        )
        arrays[item] = handler.restore(path, restore_args=like.tree)
    return arrays


def read_losses(workdir):
    lines = (to_path(workdir) / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


def newest_step(bucket, workdir):
    """The newest complete checkpoint; 0: there is none."""
    prefix = workdir.removeprefix("gs://fake/") + "/checkpoints/"
    complete = [
        name.removeprefix(prefix).split("/")
        for name in list(bucket.objects)
        if name.startswith(prefix) and name.endswith("/commit_success.txt")
    ]
    return max((int(parts[0]) for parts in complete if len(parts) == 2), default=0)


def kill_after_checkpoint(bucket, workdir, pair, draw, share):
    """Waits for the checkpoint of a step and a random time, and kills one process or both."""
    while newest_step(bucket, workdir) < share:
        for process in pair:
            assert process.poll() is None, loopback.read_log(process)
        time.sleep(0.02)
    time.sleep(draw.uniform(0, 2))
    victims = draw.choice((pair[:1], pair[1:], pair))
    running = [process for process in victims if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGKILL)
    statuses = [process.wait(timeout=loopback.PATIENCE) for process in pair]
    return bool(running), statuses


@pytest.mark.slow
@pytest.mark.multihost
@pytest.mark.parametrize("kills", [3, 20])
def test_two_processes_killed_at_random_end_with_the_same_bits(tiny_run, bucket, tmp_path, kills):
    """2 x 4 devices with their folder in the bucket; each start resumes where it was saved."""
    upload_folder(tiny_run / "shards", "gs://fake/shards")
    flags = ("--config.data.shards=gs://fake/shards", "--config.mesh.data=4")
    flags += ("--config.mesh.fsdp=2", f"--config.train.steps={STEPS}")
    draw, ends = random.Random(kills), []
    for workdir, count in (("gs://fake/unbroken", 0), ("gs://fake/killed", kills)):
        upload_folder(tiny_run / "codec", f"{workdir}/codec")
        for number in range(count):
            share = STEPS * number // (count + 1) // 2 * 2
            with loopback.running_pair(workdir, tmp_path, *flags) as pair:
                ends.append(kill_after_checkpoint(bucket, workdir, pair, draw, share))
            assert newest_step(bucket, workdir) >= share
        with loopback.running_pair(workdir, tmp_path, *flags) as pair:
            for process in pair:
                assert process.wait(timeout=loopback.PATIENCE) == 0, loopback.read_log(process)
    print(ends)
    assert all(killed for killed, _ in ends)
    assert all(0 not in statuses for _, statuses in ends)
    assert read_losses("gs://fake/killed") == read_losses("gs://fake/unbroken")
    jax.tree.map(
        np.testing.assert_array_equal,
        read_arrays("gs://fake/killed", STEPS),
        read_arrays("gs://fake/unbroken", STEPS),
    )
