"""Files in buckets, through the real client libraries, against a fake of the service."""

import os
import pathlib

import numpy as np
import pytest
from helpers import buckets

from vssflow_jax.codecs.interface import hash_codec, load_codec, save_codec
from vssflow_jax.codecs.pca import PcaCodec
from vssflow_jax.common import files
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.locks import Locks
from vssflow_jax.common.safetensors_io import read_arrays
from vssflow_jax.data import shards
from vssflow_jax.training import log, run_paths


@pytest.fixture(scope="module")
def bucket():
    with buckets.bucket_in_process() as store:
        yield store


def test_files_appear_whole_or_not_at_all(bucket, tmp_path):
    root = files.to_path("gs://fake/files")
    files.write_text(root / "a" / "config.json", "text")
    assert (root / "a" / "config.json").read_text() == "text"
    assert root.is_dir() and files.file_size(root / "a" / "config.json") == 4
    with pytest.raises(RuntimeError), files.replacing(root / "b.bin") as partial:
        partial.write_bytes(b"half")
        raise RuntimeError
    data = os.urandom(6_000_000)  # sent in several parts
    with files.replacing(root / "c.bin") as partial:
        partial.write_bytes(data)
    files.check_writable(root / "d.wav")
    assert sorted(bucket.objects) == ["files/a/config.json", "files/c.bin"]
    with files.local_copy(root / "c.bin") as copy:
        assert copy.read_bytes() == data
        assert files.hash_file(copy) == files.hash_file(root / "c.bin")
    assert not copy.exists()
    with Locks(root / ".lock") as locks:
        assert locks.take("train")


def test_flags_and_configs_keep_the_address():
    assert str(files.find_existing("gs://fake/run")) == "gs://fake/run"
    assert str(files.resolve("gs://fake/run")) == "gs://fake/run"
    stored = run_paths.portable_path("gs://fake/run", "gs://fake/shards")
    assert stored == "gs://fake/shards"
    assert run_paths.find_shards("gs://fake/run", stored) == stored
    assert run_paths.portable_path("gs://fake/run", "gs://fake/run/shards") == "shards"


def test_an_uninstalled_client_is_one_line(monkeypatch):
    monkeypatch.setattr(files, "BUCKET_PACKAGE", "no_such_package")
    files._prepare_buckets.cache_clear()
    with pytest.raises(InputError, match=r'gs://…: found no package .* "vssflow_jax\[cloud\]"'):
        files.to_path("gs://fake/run")
    with pytest.raises(InputError, match="s3://fake/run: found an address, expected a path"):
        files.to_path("s3://fake/run")


def test_codecs_and_weights_are_read_from_buckets(bucket):
    basis = np.eye(256, 4, dtype=np.float32)
    codec = PcaCodec(mean=np.zeros(256, np.float32), basis=basis, scale=np.ones(4, np.float32))
    save_codec(codec, "gs://fake/codec")
    assert hash_codec(load_codec("gs://fake/codec")) == hash_codec(codec)
    lazy = read_arrays("gs://fake/codec/codec.safetensors")
    np.testing.assert_array_equal(np.asarray(lazy["basis"]), basis)
    with pytest.raises(InputError, match="no such file, expected a codec's settings"):
        load_codec("gs://fake/nowhere")


def test_the_log_of_a_run_in_a_bucket_is_complete_after_each_line(bucket):
    workdir = files.to_path("gs://fake/logged")
    writer = log.MetricsWriter(workdir, 0)
    for step in (1, 2):
        writer.write(step, {"loss": 1.0 / step})
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == step
    writer.close()
    assert any(name.startswith("logged/tb/events") for name in bucket.objects)
    resumed = log.MetricsWriter(workdir, 1)
    resumed.write(2, {"loss": 0.25})
    resumed.close()
    assert (workdir / "metrics.jsonl").read_text().splitlines()[1] == '{"step": 2, "loss": 0.25}'


def test_a_shard_is_fetched_once_a_machine(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv(shards.CACHE_VARIABLE, str(tmp_path))
    path = files.to_path("gs://fake/shards/train-00000.array_record")
    path.write_bytes(b"shard")
    digest = files.hash_file(path)
    copy = shards.find_copy(path, digest)
    assert copy.read_bytes() == b"shard" and isinstance(copy, pathlib.Path)
    path.unlink()
    assert shards.find_copy(path, digest) == copy
    assert shards.find_copy(copy, digest) == copy
