"""Manifests and annotations: what is read, and how mistakes in them are named."""

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.data import manifest


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
        ("id,split,video\na,train,a\0.mp4\n", "row 2, field video: found 'a\\x00.mp4'"),
        ("id,split,video\na,train,http://x/a.mp4\n", "row 2, field video: found 'http://x/a.mp4'"),
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


BAD_ANNOTATIONS = (
    "{", "[]", "7", '{"mouth": [1, 2, 3, 4]}', '{"id": "b", "mouth": [1, 2]}', "[" * 100_000,
    '{"id": "b", "mouth": [1, 2, 3, NaN]}', '{"id": "b", "onsets": "soon"}',
    '{"id": "b", "onsets": [1e999]}', '{"id": "b", "n": ' + "9" * 5000 + "}",
)  # fmt: skip


def test_annotations_are_read_by_id(tmp_path):
    path = tmp_path / "annotations.jsonl"
    assert manifest.read_annotations(tmp_path / "clips.csv") == {}
    path.write_text('{"id": "a", "mouth": [1, 2, 3, 4]}\n\n{"id": "b", "onsets": [0.5]}\n')
    notes = manifest.read_annotations(tmp_path / "clips.csv")
    assert notes["a"]["mouth"] == [1, 2, 3, 4] and notes["b"]["onsets"] == [0.5]
    for line in BAD_ANNOTATIONS:
        path.write_text('{"id": "a"}\n' + line + "\n")
        with pytest.raises(InputError, match=r"annotations\.jsonl line 2"):
            manifest.read_annotations(tmp_path / "clips.csv")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("character", ["\u2028", "\x85", "é"])
def test_annotations_are_read_however_they_were_saved(tmp_path, encoding, ending, character):
    lines = [f'{{"id": "a", "note": "one{character}two"}}', '{"id": "b"}', ""]
    (tmp_path / "annotations.jsonl").write_bytes(ending.join(lines).encode(encoding))
    annotations = manifest.read_annotations(tmp_path / "clips.csv")
    assert annotations == {"a": {"id": "a", "note": f"one{character}two"}, "b": {"id": "b"}}


def test_an_id_with_two_annotations_is_refused(tmp_path):
    (tmp_path / "annotations.jsonl").write_text('{"id": "a"}\n\n{"id": "a", "onsets": []}\n')
    with pytest.raises(InputError, match="line 3, field id: found 'a', which line 1 has too"):
        manifest.read_annotations(tmp_path / "clips.csv")
