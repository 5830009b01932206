"""Shards prepared into a bucket: a fake of the service, the real client libraries."""

import numpy as np
from helpers import buckets
from helpers.manifests import write_manifest

from vssflow_jax.data import shards
from vssflow_jax.preparation import validation
from vssflow_jax.preparation.prepare import prepare


def test_shards_in_a_bucket_are_those_of_a_folder(corpus, tmp_path, monkeypatch):
    rows = ["b,1.mp4,,,,,train,", "c,2.mp4,,,,,valid,", "d,text.mp4,,,,,train,"]
    path = write_manifest(corpus, rows, "bucket.csv")
    options = {"workers": 0, "max_seconds": 1.0, "clips_per_shard": 1}
    monkeypatch.setenv(shards.CACHE_VARIABLE, str(tmp_path / "cache"))
    with buckets.bucket_in_process() as store:
        info = prepare(path, "gs://fake/shards", **options)
        assert info == prepare(path, tmp_path / "here", **options)
        generations = {name: store.generation(name) for name in store.objects}
        prepare(path, "gs://fake/shards", **options)
        again = [name for name in store.objects if store.generation(name) != generations[name]]
        assert again == ["shards/skipped.csv", "shards/dataset.json"]  # no shard is made twice
        there = shards.open_split("gs://fake/shards", "train")
        here = shards.open_split(tmp_path / "here", "train")
        assert len(there) == len(here) == 2
        for one, other in zip(there, here, strict=True):
            np.testing.assert_array_equal(one["wave"], other["wave"])
            assert one["meta"] == other["meta"]
        assert validation.validate_shards("gs://fake/shards", progress=False).problems == []
        prepare(write_manifest(corpus, rows[1:], "fewer.csv"), "gs://fake/shards", **options)
        assert "shards/train-00001.json" not in store.objects
