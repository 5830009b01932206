"""The page of a data set: text from its files stays text."""

import collections

import numpy as np
import pytest
from helpers.fixtures import make_tone
from helpers.html_pages import HOSTILE, Page, add_hostile, assert_self_contained

from vssflow_jax import media
from vssflow_jax.data import shards
from vssflow_jax.data.manifest import ManifestRow
from vssflow_jax.features.registry import BUILT_IN
from vssflow_jax.preparation.validation import ValidationReport
from vssflow_jax.reports import dataset

SECONDS = 1.0


@pytest.fixture
def report(tmp_path):
    """A check with a problem, a skipped clip, and one record with all conditions."""
    rng = np.random.default_rng(0)
    meta = {
        "id": "a", "task": "joint", "duration": SECONDS, "text": "bin", "source": "0123",
        "alignment": [[0.1, 0.3, "B"], [0.3, 0.6, "IH1"]],
        "annotation": {"sound_class": "wood", "speaker": "ada", "onsets": [0.5]},
    }  # fmt: skip
    record = {
        "meta": meta,
        "wave": media.to_int16(make_tone(SECONDS)),
        "phonemes": np.zeros(25, np.int32),
    }
    for encoder in BUILT_IN:
        rows = () if encoder.rate is None else (round(encoder.rate),)
        values = rng.uniform(-1, 1, (*rows, encoder.width))
        record[encoder.condition] = values.astype(np.float16)
    split = {"clips": 1, "seconds": {"joint": 1.0}, "tasks": {"joint": 1}, "bytes": [1000]}
    info = {
        "hash": "0123",
        "splits": {"train": split},
        "features": shards.describe_features(BUILT_IN),
    }
    (tmp_path / shards.SKIPPED).write_text("id,split,file,reason\nb,train,b.mp4,broken\n")
    return ValidationReport(
        folder=tmp_path,
        info=info,
        problems=["one problem"],
        missing={"train": collections.Counter(lips=1)},
        examples={"joint": [record]},
    )


def write_page(report):
    return dataset.write_page(report).read_text(encoding="utf-8")


def test_a_card_has_its_plots_and_its_sound(report):
    page = Page(write_page(report))
    (article,) = page.articles
    captions = [attributes["alt"] for tag, attributes in article if tag == "img"]
    starts = ("Pictures", "Mouth", "Wave", "Log-mel", "clip:", "lips:", "sync:")
    assert len(captions) == len(starts)
    assert all(map(str.startswith, captions, starts))
    assert sum(tag == "audio" for tag, _ in article) == 1
    for text in ("one problem", "b,train,b.mp4,broken", "said: “bin”", "1 lips"):
        assert text in page.text


def test_what_is_missing_of_a_clip_is_said(report, tmp_path):
    meta = report.examples["joint"][0]["meta"]
    meta |= {"sound_notes": ["a\udce9.mp4: a gap"], "video_notes": ["a.mp4: truncated"]}
    row = ManifestRow(id="a", split="train", task="joint", line=2, video=str(tmp_path / "a.mp4"))
    page = Page(dataset.write_page(report, [row]).read_text(encoding="utf-8"))
    assert r"a\udce9.mp4: a gap; a.mp4: truncated; " in page.text
    assert "a.mp4: no such file, expected a media file: the pictures are those of its" in page.text


@pytest.mark.parametrize("mouth", [True, False])
def test_strings_of_dataset_json_and_of_records_are_escaped(report, mouth):
    report.problems = add_hostile(report.problems)
    features = {
        name: {key: add_hostile(value) for key, value in feature.items()}
        for name, feature in report.info["features"].items()
    }
    if mouth:  # the name of the encoder chooses the plot of the mouth
        features["lips"]["encoder"] = "mouth"
    splits = {
        add_hostile(name): split | {"tasks": add_hostile(split["tasks"])}
        for name, split in report.info["splits"].items()
    }
    report.info = {"hash": add_hostile("0123"), "splits": splits, "features": features}
    counts = report.missing.pop("train")
    report.missing[add_hostile("train")] = collections.Counter(add_hostile(dict(counts)))
    (record,) = report.examples.pop("joint")
    meta = {name: add_hostile(value) for name, value in record["meta"].items()}
    meta["annotation"] = {name: add_hostile(v) for name, v in record["meta"]["annotation"].items()}
    report.examples[add_hostile("joint")] = [record | {"meta": meta}]
    with (report.folder / shards.SKIPPED).open("a") as file:
        file.write(f"{HOSTILE}\n")
    text = write_page(report)
    assert_self_contained(text)
    page = Page(text)
    assert len(page.articles) == 1
    for start in ("one problem", "train", "1 joint", "1 lips", "a", "bin", "thumbnails", "0123"):
        assert start + HOSTILE in page.text, start
