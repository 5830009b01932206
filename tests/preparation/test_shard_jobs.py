"""Shards as jobs: resuming after kills, sharing the work, locks, and changed inputs."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.manifests import (
    BROKEN,
    GOOD,
    SENTENCE,
    read_files,
    read_records,
    run_prepare,
    write_manifest,
)

from vssflow_jax.data.manifest import SPLITS, read_manifest
from vssflow_jax.preparation import shard_jobs
from vssflow_jax.preparation.examples import ExampleSettings
from vssflow_jax.preparation.prepare import prepare


def test_a_second_run_changes_nothing(corpus, prepared):
    out, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.array_record")}
    old = read_files(out)
    prepare(corpus / "clips.csv", out, workers=0, clips_per_shard=2, progress=False)
    assert read_files(out) == old
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.array_record")}


KILLED_IN_THE_SECOND_SHARD = """
import itertools, os, signal, sys
from vssflow_jax.preparation import prepare, shard_jobs
encode_row, numbers = shard_jobs.encode_row, itertools.count()

def encode(*arguments):
    if next(numbers) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from encode_row(*arguments)

shard_jobs.encode_row = encode
prepare.prepare(*sys.argv[1:], workers=0, clips_per_shard=6, progress=False)
"""


def test_a_killed_run_resumes(corpus, tmp_path):
    """SIGKILL after the first shard; the next run writes the rest, as an uninterrupted run does."""
    rows = [f"k{n},{n % 4}.mp4,,,,,train," for n in range(18)]
    path = write_manifest(corpus, rows, "kill.csv")
    prepare(path, tmp_path / "expected", workers=0, clips_per_shard=6, progress=False)
    out = tmp_path / "interrupted"
    command = [sys.executable, "-c", KILLED_IN_THE_SECOND_SHARD, str(path), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (out / "dataset.json").exists()
    first = out / "train-00000.json"
    stamp = first.stat().st_mtime_ns
    (out / ".train-00002.array_record.1.partial").write_bytes(b"half")
    prepare(path, out, workers=0, clips_per_shard=6, progress=False)
    assert first.stat().st_mtime_ns == stamp
    assert read_files(out) == read_files(tmp_path / "expected")


def count_shards(out, expected):
    """How many shards exist; all must equal those of an uninterrupted run."""
    paths = list(out.glob("*.array_record"))
    for path in paths:
        assert path.read_bytes() == (expected / path.name).read_bytes()
    return len(paths)


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(corpus, tmp_path):
    """SIGKILL some shards and some moments after the start, ten times, then once to the end."""
    rows = [f"k{n},{n % 4}.mp4,,{'' if n % 6 else SENTENCE},,,train," for n in range(400)]
    path = write_manifest(corpus, [*rows, *BROKEN], "kills.csv")
    options = (f"--manifest={path}", "--workers=2", "--clips_per_shard=4")
    done = run_prepare(f"--out={tmp_path / 'expected'}", *options)
    assert done.returncode == 0, done.stderr
    rng, out, counts = np.random.default_rng(0), tmp_path / "interrupted", [0]
    for _ in range(10):
        run = [sys.executable, "-m", "vssflow_jax.prepare", f"--out={out}", *options]
        child = subprocess.Popen(run, stderr=subprocess.DEVNULL)
        more = counts[-1] + rng.integers(0, 6)
        while len(list(out.glob("*.array_record"))) < more and child.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        counts.append(count_shards(out, tmp_path / "expected"))
    assert counts == sorted(counts) and counts[-1] > 0, counts
    done = run_prepare(f"--out={out}", *options)
    assert done.returncode == 0, done.stderr
    assert read_files(out) == read_files(tmp_path / "expected")
    print(f"shards after each kill: {counts[1:]} of {len(list(out.glob('*.array_record')))}")


def test_several_runs_share_the_work(corpus, tmp_path):
    """Three commands in one folder, one of them killed: each shard is written once, by one."""
    rows = [f"k{n},{n % 4}.mp4,,,,,train," for n in range(24)]
    path = write_manifest(corpus, [*rows, *BROKEN], "shared.csv")
    prepare(path, tmp_path / "expected", workers=0, clips_per_shard=2, progress=False)
    out = tmp_path / "shared"
    run = [sys.executable, "-m", "vssflow_jax.prepare", f"--manifest={path}", f"--out={out}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    flags = [[f"--workers={workers}", "--clips_per_shard=2"] for workers in (1, 0, 0)]
    runs = [subprocess.Popen([*run, *own], **pipes) for own in flags]
    while len(list(out.glob("*.json"))) < 3 and runs[0].poll() is None:
        time.sleep(0.002)
    done = [path.with_suffix(".array_record") for path in out.glob("*.json")]
    stamps = {p.name: p.stat().st_mtime_ns for p in done if p.exists()}
    runs[0].send_signal(signal.SIGKILL)
    for child in runs:
        child.communicate(timeout=1800)
    assert [child.returncode for child in runs[1:]] == [0, 0]
    assert read_files(out) == read_files(tmp_path / "expected")
    assert stamps.items() <= {p.name: p.stat().st_mtime_ns for p in out.iterdir()}.items()


def test_the_policy_for_texts_is_part_of_a_shards_identity(corpus, tmp_path):
    rows = read_manifest(write_manifest(corpus, GOOD, "policy.csv"))

    def list_keys(policy):
        settings = ExampleSettings(text_policy=policy)
        return [job.key for job in shard_jobs.plan_jobs(rows, {}, settings, tmp_path, 1)]

    changed = [a != b for a, b in zip(list_keys("refuse"), list_keys("skip"), strict=True)]
    assert changed == [bool(row.text) for split in SPLITS for row in rows if row.split == split]


def test_a_locked_shard_is_left_alone(corpus, tmp_path):
    """A lock holds while its process lives."""
    (tmp_path / "out").mkdir()
    hold = (
        "import sys, time; from vssflow_jax.common.locks import Locks\n"
        f"locks = Locks({str(tmp_path / 'out' / '.prepare.lock')!r})\n"
        "assert locks.take('train-00001.array_record'); print('held', flush=True)\n"
        "time.sleep(1000)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    rows = [f"k{n},{n}.mp4,,,,,train," for n in range(3)]
    path = write_manifest(corpus, rows, "held.csv")
    flags = (f"--manifest={path}", f"--out={tmp_path / 'out'}", "--clips_per_shard=1")
    run = [sys.executable, "-m", "vssflow_jax.prepare", *flags, "--workers=0"]
    child = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (tmp_path / "out" / "train-00002.json").exists():
        assert child.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    assert child.poll() is None and not (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out" / "train-00001.array_record").exists()
    holder.kill()
    holder.communicate()
    child.communicate(timeout=1800)
    assert child.returncode == 0 and (tmp_path / "out" / "train-00001.array_record").exists()


def test_changed_rows_are_written_again_and_removed_ones_deleted(corpus, tmp_path):
    rows = [f"k{n},{n}.mp4,,,,,train," for n in range(4)]
    path = write_manifest(corpus, rows, "change.csv")

    def run():
        info = prepare(path, tmp_path, workers=0, clips_per_shard=1, progress=False)
        stamps = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.array_record")}
        return info, stamps

    info, first = run()
    write_manifest(corpus, [rows[0], rows[1].replace(",train", ",test"), rows[2]], "change.csv")
    other, second = run()
    assert sorted(second) == [
        f"{n}.array_record" for n in ("test-00000", "train-00000", "train-00001")
    ]
    assert second["train-00000.array_record"] == first["train-00000.array_record"]
    assert second["train-00001.array_record"] != first["train-00001.array_record"]
    assert info["hash"] != other["hash"]
    assert {name: r["meta"]["id"] for name, r in read_records(tmp_path).items()}.keys() == {
        "k0",
        "k1",
        "k2",
    }


def test_processes_give_the_same_shards_and_stay_light(corpus, prepared, tmp_path):
    """From a main module that has loaded JAX, the workers do not load it."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, jax\n"
        "from vssflow_jax.common import process_pool; from vssflow_jax.preparation import prepare\n"
        "import loaded_modules\n"
        "if __name__ == '__main__':\n"
        "    assert not any(process_pool.map_unordered(loaded_modules.loaded, range(4), 2))\n"
        f"    prepare.prepare({str(corpus / 'clips.csv')!r}, sys.argv[1], workers=2,"
        " clips_per_shard=2, progress=False)\n"
    )
    (tmp_path / "loaded_modules.py").write_text(
        "import sys\n\n\ndef loaded(_):\n"
        "    import vssflow_jax.preparation.shard_jobs\n    return 'jax' in sys.modules\n"
    )
    write_manifest(corpus, GOOD)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    out = tmp_path / "out"
    run = [sys.executable, str(program), str(out)]
    subprocess.run(run, check=True, env={**os.environ, "PYTHONPATH": paths})
    assert read_files(out) == read_files(prepared[0])
