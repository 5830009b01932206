"""A small corpus that several tests read."""

import csv
import json

import pytest

from vssflow_jax.corpus import build

SETTINGS = build.CorpusSettings(clips=12, seed=5)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("miniav")
    build.build_corpus(out, SETTINGS, workers=1, progress=False)
    return out


@pytest.fixture(scope="session")
def rows(corpus):
    with open(corpus / "clips.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def annotations(corpus):
    lines = (corpus / "annotations.jsonl").read_text().splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}
