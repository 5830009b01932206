"""Shards: records and their bytes, splits, damage, and ids that are no file names."""

import json
import pickle

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError, disk_error
from vssflow_jax.common.files import hash_file
from vssflow_jax.data import shards
from vssflow_jax.features.registry import BUILT_IN


def record(seed=0, without=()):
    """A record with all keys but `without`, of 1 second."""
    generator = np.random.default_rng(seed)
    example = {"wave": generator.integers(-9999, 9999, 16_000).astype(np.int16)}
    for encoder in BUILT_IN:
        rows = () if encoder.rate is None else (round(encoder.rate),)
        example[encoder.condition] = generator.normal(size=(*rows, encoder.width)).astype(
            np.float16
        )
    example["phonemes"] = generator.integers(0, 71, 25).astype(np.int32)
    example["meta"] = {
        "id": f"clip{seed}",
        "task": "speech",
        "duration": 1.0,
        "text": "naïve “ö”",
        "alignment": [[0.1, 0.2, "S"]],
    }
    return {name: value for name, value in example.items() if name not in without}


def assert_same(one, other):
    assert one.keys() == other.keys() and one["meta"] == other["meta"]
    for name in one.keys() - {"meta"}:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture
def folder(tmp_path):
    """Shards of five records in two files, the second clip without sound."""
    files = {"test-00000.array_record": [0, 1], "test-00001.array_record": [2, 3, 4]}
    for name, seeds in files.items():
        with shards.open_shard_writer(tmp_path / name) as write:
            for seed in seeds:
                write(record(seed, ("wave",) if seed == 1 else ()))
    split = {
        "files": list(files),
        "bytes": [(tmp_path / name).stat().st_size for name in files],
        "sha256": [hash_file(tmp_path / name) for name in files],
        "clips": 5,
        "silent": [1],
    }
    info = {
        "version": shards.VERSION,
        "features": {},
        "statistics": {},
        "hash": "",
        "sample_rate": 16_000,
    }
    info["splits"] = {"test": split}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    return tmp_path


@pytest.mark.parametrize("without", [(), ("wave",), ("lips", "phonemes", "speaker")])
def test_a_record_comes_back_as_it_was(without):
    example = record(0, without)
    data = shards.encode_record(example)
    assert_same(shards.decode_record(data), example)
    assert shards.encode_record(shards.decode_record(data)) == data


def test_names_of_files_that_are_no_utf8_come_back():
    meta = record()["meta"] | {"video_notes": ["caf\udce9.mp4: truncated", "caf\u00e9"]}
    data = shards.encode_record(record() | {"meta": meta})
    assert shards.decode_record(data)["meta"] == meta


def test_a_record_of_another_schema_is_refused():
    for name, array in {"clip": np.zeros(3), "color": np.zeros(3, np.float16)}.items():
        with pytest.raises(ValueError, match="expected"):
            shards.encode_record({**record(), name: array})


def test_the_schema_is_that_of_the_table():
    schema = shards.describe_features(BUILT_IN)
    assert tuple(schema) == conditions.NAMES
    for name, feature in schema.items():
        assert feature["width"] == conditions.BY_NAME[name].width
        assert feature["dtype"] == ("int32" if name == "phonemes" else "float16")
    assert schema["sync"]["rate"] == 25 and schema["speaker"]["rate"] is None


def test_a_split_is_a_sequence(folder):
    split = shards.open_split(folder, "test")
    assert len(split) == 5
    for index in (0, 4, 2, 1, 3):
        assert_same(split[index], record(index, ("wave",) if index == 1 else ()))
    assert_same(split[-1], record(4))
    for index in (5, -6):
        with pytest.raises(IndexError):
            split[index]
    copy = pickle.loads(pickle.dumps(split))
    assert_same(copy[3], record(3))


def damage_file(path, share):
    """Spoils eight bytes at a share of a file's length."""
    data = bytearray(path.read_bytes())
    at = int(share * len(bytes(data).rstrip(b"\0")))
    data[at : at + 8] = bytes(byte ^ 0xFF for byte in data[at : at + 8])
    path.write_bytes(data)


def test_a_corrupt_record_is_named_or_replaced_by_the_next_good_one(folder):
    """Damage that the file format notices; reading goes on behind it."""
    path = folder / "test-00001.array_record"  # clips 2, 3, 4
    for share in (0.15, 0.45):
        damage_file(path, share)
    strict, replacing = (
        shards.open_split(folder, "test", replace_corrupt=replace) for replace in (False, True)
    )
    with pytest.raises(InputError, match=rf"{path.name}, record 0: corrupt \(.*prepare again"):
        strict[2]
    assert_same(strict[4], record(4))
    names = [f"{path}, record {number}" for number in (0, 1)]
    for split in (replacing, pickle.loads(pickle.dumps(replacing))):
        for index, replacement, corrupt in ((1, 1, None), (2, 4, names), (3, 4, names[1:])):
            example = split[index]
            assert example["meta"].pop("corrupt", None) == corrupt
            assert_same(example, record(replacement, ("wave",) if replacement == 1 else ()))


@pytest.mark.parametrize("data", [b"", b"garbage" * 9, b"\xff" * 99])
def test_bytes_that_are_no_record_are_corrupt(tmp_path, data):
    path = tmp_path / "a"
    writer = ArrayRecordWriter(str(path), shards.WRITER_OPTIONS)
    for each in (data, shards.encode_record(record(0)), shards.encode_record(record(0))[:-9]):
        writer.write(each)
    writer.close()
    with pytest.raises(shards.CorruptRecord, match="record 0"):
        shards.Split([str(path)])[0]
    replacing = shards.Split([str(path)], replace_corrupt=True)
    assert replacing[0]["meta"]["corrupt"] == [f"{path}, record 0"]
    # At the end the first is next.
    assert replacing[2]["meta"]["corrupt"] == [f"{path}, record 2", f"{path}, record 0"]
    with pytest.raises(InputError, match="found corrupt records only"):
        shards.Split([str(path)], rows=[0, 2], replace_corrupt=True)[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="prepare again"):
        shards.Split([str(path)])


def test_clips_without_sound_can_be_left_out(folder):
    split = shards.open_split(folder, "test", with_wave=True)
    assert [split[i]["meta"]["id"] for i in range(len(split))] == [
        "clip0",
        "clip2",
        "clip3",
        "clip4",
    ]


def test_shards_that_do_not_list_tasks_have_no_choice_of_them(folder):
    with pytest.raises(InputError, match=r"found no field `rows`.*prepare again"):
        shards.open_split(folder, "test", tasks=("speech",))


def test_shards_are_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        with shards.open_shard_writer(tmp_path / name) as write:
            for seed in range(4):
                write(record(seed))
    assert hash_file(tmp_path / "a") == hash_file(tmp_path / "b")


def test_a_shard_appears_when_it_is_complete(tmp_path):
    with pytest.raises(KeyError), shards.open_shard_writer(tmp_path / "a") as write:
        write(record())
        assert not (tmp_path / "a").exists()
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("vssflow_jax.common.files.os.getpid", lambda: 1)
    (tmp_path / ".a.1.partial").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught, shards.open_shard_writer(tmp_path / "a") as write:
        for seed in range(20):
            write(record(seed))
    assert disk_error(caught.value) is not None
    assert not list(tmp_path.iterdir())


def test_problems_with_shards_are_named(folder):
    with pytest.raises(InputError, match=r"split: found 'tests', expected one of \['test'\]"):
        shards.open_split(folder, "tests")
    shard = folder / "test-00001.array_record"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"test-00001.array_record: found \d+ bytes, expected"):
        shards.open_split(folder, "test")
    shard.unlink()
    with pytest.raises(InputError, match="no such file"):
        shards.open_split(folder, "test")
    for text, message in {"{": "broken", '{"version": 99}': "version 99", "[]": "broken"}.items():
        (folder / "dataset.json").write_text(text)
        with pytest.raises(InputError, match=message):
            shards.load_dataset_info(folder)
    with pytest.raises(InputError, match="expected prepared shards"):
        shards.load_dataset_info(folder / "nowhere")


BAD_IDS = ("../../x", "/tmp/x", "a/b", "a\\b", "", ".", "..", ".hidden", "a\0b", "a\nb",
           "x" * 211, "é" * 106, None, 7, ["a"])  # fmt: skip


@pytest.mark.parametrize("bad_id", BAD_IDS, ids=repr)
@pytest.mark.parametrize("replace_corrupt", [False, True])
def test_an_id_that_is_no_file_name_is_refused(tmp_path, bad_id, replace_corrupt):
    path = tmp_path / "test-00000.array_record"
    with shards.open_shard_writer(path) as write:
        write(record(0))
        write({**record(1), "meta": record(1)["meta"] | {"id": bad_id}})
    split = shards.Split([str(path)], replace_corrupt=replace_corrupt)
    assert split[0]["meta"]["id"] == "clip0"
    with pytest.raises(InputError, match="expected a file name of at most 210 bytes") as caught:
        split[1]
    message = str(caught.value)
    assert message.startswith(f"{path}, record 1: found the id {repr(bad_id)[:20]}")
    assert message.isprintable()


def test_an_id_without_an_encoding_is_no_file_name():
    assert shards.find_id_problem({"id": "\ud800"}) and shards.find_id_problem({})


@pytest.mark.parametrize("good_id", ["a", "x" * 210, "é" * 105, "speech-00001_3", "a b+c=d~", "a."])
def test_an_id_that_is_a_file_name_is_read(tmp_path, good_id):
    with shards.open_shard_writer(tmp_path / "a") as write:
        write({**record(0), "meta": record(0)["meta"] | {"id": good_id}})
    assert shards.Split([str(tmp_path / "a")])[0]["meta"]["id"] == good_id
    (tmp_path / f".{good_id}.wav.1234567.partial").touch()
