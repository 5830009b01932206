import json
import pickle

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError, disk_error
from vssflow_jax.data import manifest, shards
from vssflow_jax.features.registry import BUILT_IN


def record(seed=0, without=()):
    """A record with all keys but `without`, of 1 second."""
    generator = np.random.default_rng(seed)
    made = {"wave": generator.integers(-9999, 9999, 16_000).astype(np.int16)}
    for encoder in BUILT_IN:
        rows = () if encoder.rate is None else (round(encoder.rate),)
        made[encoder.condition] = generator.normal(size=(*rows, encoder.width)).astype(np.float16)
    made["phonemes"] = generator.integers(0, 71, 25).astype(np.int32)
    made["meta"] = {
        "id": f"clip{seed}",
        "task": "speech",
        "text": "naïve “ö”",
        "alignment": [[0.1, 0.2, "S"]],
    }
    return {name: value for name, value in made.items() if name not in without}


def same(one, other):
    assert one.keys() == other.keys() and one["meta"] == other["meta"]
    for name in one.keys() - {"meta"}:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name])


@pytest.fixture
def folder(tmp_path):
    """Shards of five records in two files, the second clip without sound."""
    files = {"test-00000.array_record": [0, 1], "test-00001.array_record": [2, 3, 4]}
    for name, seeds in files.items():
        with shards.shard_writer(tmp_path / name) as write:
            for seed in seeds:
                write(record(seed, ("wave",) if seed == 1 else ()))
    split = {
        "files": list(files),
        "bytes": [(tmp_path / name).stat().st_size for name in files],
        "clips": 5,
        "silent": [1],
    }
    info = {"version": shards.VERSION, "splits": {"test": split}}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    return tmp_path


@pytest.mark.parametrize("without", [(), ("wave",), ("lips", "phonemes", "speaker")])
def test_a_record_comes_back_as_it_was(without):
    made = record(0, without)
    data = shards.encode_record(made)
    same(shards.decode_record(data), made)
    assert shards.encode_record(shards.decode_record(data)) == data


def test_a_record_of_another_schema_is_refused():
    for name, array in {"clip": np.zeros(3), "colour": np.zeros(3, np.float16)}.items():
        with pytest.raises(ValueError, match="expected"):
            shards.encode_record({**record(), name: array})


def test_the_schema_is_that_of_the_table():
    schema = shards.schema(BUILT_IN)
    assert tuple(schema) == conditions.NAMES
    for name, feature in schema.items():
        assert feature["width"] == conditions.BY_NAME[name].width
        assert feature["dtype"] == ("int32" if name == "phonemes" else "float16")
    assert schema["sync"]["rate"] == 25 and schema["speaker"]["rate"] is None


def test_a_split_is_a_sequence(folder):
    split = shards.open_split(folder, "test")
    assert len(split) == 5
    for index in (0, 4, 2, 1, 3):
        same(split[index], record(index, ("wave",) if index == 1 else ()))
    same(split[-1], record(4))
    for index in (5, -6):
        with pytest.raises(IndexError):
            split[index]
    copy = pickle.loads(pickle.dumps(split))
    same(copy[3], record(3))


def damage(path, share):
    """Spoils eight bytes at a share of a file's length."""
    data = bytearray(path.read_bytes())
    at = int(share * len(bytes(data).rstrip(b"\0")))
    data[at : at + 8] = bytes(byte ^ 0xFF for byte in data[at : at + 8])
    path.write_bytes(data)


def test_a_corrupt_record_is_named_or_the_next_good_one_stands_in(folder):
    """Damage that the file format notices; reading goes on behind it."""
    path = folder / "test-00001.array_record"  # clips 2, 3, 4
    for share in (0.15, 0.45):
        damage(path, share)
    strict, mended = (shards.open_split(folder, "test", mend=mend) for mend in (False, True))
    with pytest.raises(InputError, match=rf"{path.name}, record 0: corrupt \(.*prepare again"):
        strict[2]
    same(strict[4], record(4))
    names = [f"{path}, record {number}" for number in (0, 1)]
    for split in (mended, pickle.loads(pickle.dumps(mended))):
        for index, stands_in, corrupt in ((1, 1, None), (2, 4, names), (3, 4, names[1:])):
            found = split[index]
            assert found["meta"].pop("corrupt", None) == corrupt
            same(found, record(stands_in, ("wave",) if stands_in == 1 else ()))


@pytest.mark.parametrize("data", [b"", b"garbage" * 9, b"\xff" * 99])
def test_bytes_that_are_no_record_are_corrupt(tmp_path, data):
    path = tmp_path / "a"
    writer = ArrayRecordWriter(str(path), shards.OPTIONS)
    for each in (data, shards.encode_record(record(0)), shards.encode_record(record(0))[:-9]):
        writer.write(each)
    writer.close()
    with pytest.raises(shards.CorruptRecord, match="record 0"):
        shards.Split([str(path)])[0]
    mended = shards.Split([str(path)], mend=True)
    assert mended[0]["meta"]["corrupt"] == [f"{path}, record 0"]
    # At the end the first is next.
    assert mended[2]["meta"]["corrupt"] == [f"{path}, record 2", f"{path}, record 0"]
    with pytest.raises(InputError, match="no record that is whole"):
        shards.Split([str(path)], rows=[0, 2], mend=True)[0]
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
        with shards.shard_writer(tmp_path / name) as write:
            for seed in range(4):
                write(record(seed))
    assert shards.file_hash(tmp_path / "a") == shards.file_hash(tmp_path / "b")


def test_a_shard_appears_only_when_it_is_whole(tmp_path):
    with pytest.raises(KeyError), shards.shard_writer(tmp_path / "a") as write:
        write(record())
        assert not (tmp_path / "a").exists()
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("vssflow_jax.common.files.os.getpid", lambda: 1)
    (tmp_path / ".a.1.partial").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught, shards.shard_writer(tmp_path / "a") as write:
        for seed in range(20):
            write(record(seed))
    assert disk_error(caught.value) is not None
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_with_shards_is_named(folder):
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


# ---- manifest -----------------------------------------------------------------------------


def read(folder, text):
    (folder / "clips.csv").write_text(text, encoding="utf-8")
    return manifest.read_manifest(folder / "clips.csv")


def test_rows_are_read_with_paths_and_tasks(tmp_path):
    rows = read(
        tmp_path,
        "id,split,video,text,audio,task\n"
        'a,train,v/a.mp4,"hello, you",,\n'
        "\n"
        "b,test,b.mp4,,,\n"
        "c,valid,,spoken,/abs/c.wav,\n"
        "d,test,d.mp4,said,,joint\n",
    )
    assert [row.task for row in rows] == ["speech", "sound", "speech", "joint"]
    assert [row.line for row in rows] == [2, 4, 5, 6]
    assert rows[0].video == str(tmp_path / "v/a.mp4") and rows[0].text == "hello, you"
    assert rows[2].audio == "/abs/c.wav" and rows[2].video is None and rows[1].text is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: found no column 'id'"),
        ("a,train,a.mp4\n", "row 1: found no column 'id'"),
        ("id,video\na,a.mp4\n", "row 1: found no column 'split'"),
        ("id,split,vidoe\na,train,a.mp4\n", "row 1: found unknown column 'vidoe'"),
        ("id,id,split,video\n", "row 1: found repeated column 'id'"),
        ("id,split,video\n", "found no clips"),
        ("id,split,video\na,train\n", "row 2: found 2 fields, expected 3"),
        ("id,split,video\n,train,a.mp4\n", "row 2, field id: found ''"),
        ("id,split,video\n../a,train,a.mp4\n", "row 2, field id: found '../a'"),
        ("id,split,video\na,trian,a.mp4\n", "row 2, field split: found 'trian'"),
        (
            "id,split,video\na,train,a.mp4\na,test,b.mp4\n",
            "row 3, field id: found 'a', which row 2",
        ),
        ("id,split,video,task\na,train,a.mp4,song\n", "row 2, field task: found 'song'"),
        ("id,split,video,task\na,train,a.mp4,speech\n", "row 2, field text: empty"),
        ("id,split,text\na,train,hello\n", "row 2, fields video and audio: both are empty"),
        ('id,split,video\na,train,"a.mp4\n', "expected CSV"),
    ],
)
def test_wrong_manifests_are_named(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value) and "clips.csv" in str(caught.value)


def test_a_missing_or_binary_manifest_is_named(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xd8\xff\x00")
    for name, message in {"a.csv": "no such file", "b.csv": "not UTF-8", ".": "directory"}.items():
        with pytest.raises(InputError, match=message):
            manifest.read_manifest(tmp_path / name)


def test_annotations_are_read_by_id(tmp_path):
    path = tmp_path / "annotations.jsonl"
    assert manifest.read_annotations(tmp_path / "clips.csv") == {}
    path.write_text('{"id": "a", "mouth": [1, 2, 3, 4]}\n\n{"id": "b", "onsets": [0.5]}\n')
    notes = manifest.read_annotations(tmp_path / "clips.csv")
    assert notes["a"]["mouth"] == [1, 2, 3, 4] and notes["b"]["onsets"] == [0.5]
    for line in ("{", "[]", '{"mouth": [1, 2, 3, 4]}', '{"id": "a", "mouth": [1, 2]}'):
        path.write_text('{"id": "a"}\n' + line + "\n")
        with pytest.raises(InputError, match=r"annotations\.jsonl line 2"):
            manifest.read_annotations(tmp_path / "clips.csv")
