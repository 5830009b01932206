"""Validation of a data set: a good one passes, and each kind of damage is named."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers import fixtures, in_process

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import hash_file
from vssflow_jax.data import shards
from vssflow_jax.preparation import validation
from vssflow_jax.preparation.prepare import prepare, read_source
from vssflow_jax.reports import dataset
from vssflow_jax.text import alignment


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A manifest of four clips with a mouth, a voice and an alignment, and its shards."""
    folder = tmp_path_factory.mktemp("check")
    for name in ("a", "b", "long"):
        fixtures.write_video(folder / f"{name}.mp4", 5.0 if name == "long" else 2.0)
    media.write_wav(folder / "voice.wav", fixtures.make_tone(2.0, 150.0))
    alignment.write_alignment(
        folder / "a.csv", alignment.place_phonemes(["S", "EH1", "T"], 0.5, 1.1, {})
    )
    (folder / "annotations.jsonl").write_text('{"id": "a", "mouth": [10, 10, 30, 30]}\n')
    (folder / "clips.csv").write_text(
        "id,video,audio,text,speaker_audio,alignment,split\n"
        "a,a.mp4,,<b>set</b> blue,voice.wav,a.csv,train\n"
        "b,b.mp4,,,,,train\n"
        "long,long.mp4,,,,,test\n"
        "gone,gone.mp4,,,,,test\n"
    )
    out = folder / "shards"
    prepare(folder / "clips.csv", out, workers=0, max_seconds=2.0, progress=False)
    return folder / "clips.csv", out


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared[1], tmp_path / "shards")


def test_good_shards_pass_and_are_shown(prepared):
    manifest, out = prepared
    done = in_process.run("prepare", "--check", out, f"--manifest={manifest}")
    assert done.returncode == 0, done.stderr
    assert "train: 2 clips {'sound': 1, 'speech': 1}, 0.00 h" in done.stdout
    assert "test: 3 clips {'sound': 3}" in done.stdout and "3 without lips" in done.stdout
    page = (out / "check.html").read_text()
    assert "All 5 clips are whole" in page and "&lt;b&gt;set&lt;/b&gt;" in page
    for title in (
        "Pictures",
        "Mouth, as the model sees it",
        "Wave",
        "Log-mel",
        "sync: differences",
    ):
        assert f"{title}" in page
    assert page.count("<audio") == 4, "one of speech, three of sound"
    assert "gone.mp4: no such file" in page and 'src="/' not in page
    assert len(re.findall(r"data:image/jpeg;base64,[\w+/=]{500,}", page)) == 5


def test_pictures_are_of_the_windows_own_time(prepared):
    manifest, out = prepared
    rows = {row.id: row for row in read_source(manifest)[0]}
    video = media.read_video(manifest.with_name("long.mp4")).frames
    for number, record in enumerate(shards.open_split(out, "test")):
        frames, notes = dataset.read_frames(record, rows)
        np.testing.assert_array_equal(frames, video[50 * number : 50 * number + 50])
        assert not notes
        thumbs, _ = dataset.read_frames(record, {})
        assert thumbs.shape == (len(record["clip"]), 16, 16, 3)


def find_problems(folder):
    return validation.validate_shards(folder, progress=False).problems


def edit(folder, change):
    path = folder / "dataset.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def test_damaged_files_are_named(copy):
    shard = copy / "train-00000.array_record"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert any("train-00000.array_record: found sha256" in p for p in find_problems(copy))
    shard.write_bytes(data[:-10])
    assert any(
        f"found {len(data) - 10} bytes, expected {len(data)}" in p for p in find_problems(copy)
    )
    shard.unlink()
    assert find_problems(copy) == ["train-00000.array_record: no such file"]
    done = in_process.run("prepare", "--check", copy)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {copy}: found 1 problems")


def test_a_record_that_cannot_be_decoded_is_named(copy):
    """Bytes that are no record, under a hash that says so."""
    shard = copy / "train-00000.array_record"
    with shards.open_shard_writer(shard) as write:
        write(b"\x00" * 64)

    def change(info):
        split = info["splits"]["train"]
        split["bytes"], split["sha256"] = [shard.stat().st_size], [hash_file(shard)]

    edit(copy, change)
    listed = find_problems(copy)
    assert any("train-00000.array_record record 0: cannot be decoded" in p for p in listed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i["splits"]["train"].update(clips=7), "splits.train.clips: found 7, expected 2"),
        (lambda i: i["splits"]["test"]["seconds"].update(sound=9.0), "splits.test.seconds"),
        (lambda i: i["splits"]["test"]["missing"].clear(), "splits.test.missing"),
        (lambda i: i["splits"]["train"]["rows"].update(speech=[1]), "splits.train.rows"),
        (lambda i: i["features"].pop("sync"), "found no feature sync"),
        (lambda i: i["features"]["clip"].update(width=7), "clip: found float16 (20, 768)"),
        (lambda i: i["features"]["lips"].update(hash="x"), "hash: found"),
        (lambda i: i.update(skipped=0), "skipped.csv: found 1 clips, expected 0"),
        (lambda i: i.update(max_seconds=1.0), "expected at most 1"),
    ],
)
def test_a_description_that_is_wrong_is_named(copy, change, message):
    edit(copy, change)
    assert any(message in problem for problem in find_problems(copy))


def test_a_broken_description_is_an_error(copy):
    edit(copy, lambda info: info.pop("features"))
    with pytest.raises(InputError, match=r"dataset\.json: broken"):
        find_problems(copy)


def not_finite(record):
    record["sync"][3, 5] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_finite, "sync: found 1 numbers that are not finite"),
        (lambda r: r.update(wave=r["wave"][:-1]), "wave: found int16 (31999,)"),
        (lambda r: r.update(clip=r["clip"].astype(np.float32)), "clip: found float32"),
        (lambda r: r["phonemes"].__setitem__(0, 200), "found ids from 0 to 200"),
        (lambda r: r.update(color=r["clip"]), "color: expected wave or one of"),
        (lambda r: r["meta"].update(duration="2"), "duration: found '2'"),
        (lambda r: r["meta"].update(task="song"), "task: found 'song'"),
        (lambda r: r["meta"].update(id="../x"), "meta: found the id '../x', expected a file name"),
        (lambda r: r["meta"]["alignment"][-1].__setitem__(1, 2.5), "to 2.5 s, expected times"),
        (lambda r: r["meta"]["alignment"].reverse(), "expected times in order"),
    ],
)
def test_a_record_that_is_wrong_is_named(prepared, change, message):
    _, out = prepared
    info = shards.load_dataset_info(out)
    record = {k: v.copy() if isinstance(v, np.ndarray) else v
              for k, v in shards.open_split(out, "train")[0].items()}  # fmt: skip
    assert not list(validation.find_record_problems(record, info))
    change(record)
    assert any(message in problem for problem in validation.find_record_problems(record, info))
