"""Tables in the encodings, separators and line endings that people save them with."""

import codecs

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.data import manifest
from vssflow_jax.evaluation import generated_folder

ROWS = [
    ["id", "split", "video", "text"],
    ["a", "train", "a.mp4", "one, two"],
    ["é", "test", "b.mp4", ""],
]


def write(path, separator=",", ending="\n", encoding="utf-8", mark=b"", text="one two", last=True):
    rows = [[*row[:3], text if row[3] == "one, two" else row[3]] for row in ROWS]
    lines = ending.join(separator.join(row) for row in rows) + (ending if last else "")
    path.write_bytes(mark + lines.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_manifests_are_read_however_they_were_saved(
    tmp_path, separator, ending, encoding, mark, last
):
    path = write(tmp_path / "clips.csv", separator, ending, encoding, mark, last=last)
    rows = manifest.read_manifest(path)
    assert [(row.id, row.text, row.line) for row in rows] == [("a", "one two", 2), ("é", None, 3)]


@pytest.mark.parametrize("character", list("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"))
def test_a_field_may_contain_other_line_separators(tmp_path, character):
    path = write(tmp_path / "clips.csv", text=f"one{character}two")
    assert [row.text for row in manifest.read_manifest(path)] == [f"one{character}two", None]


@pytest.mark.parametrize("field", ['"one; two"', '"one\ttwo"', '"one\ntwo"', '"one, ""two"""'])
def test_quoted_fields_keep_separators_and_line_ends(tmp_path, field):
    rows = manifest.read_manifest(write(tmp_path / "clips.csv", text=field))
    assert rows[0].text == field[1:-1].replace('""', '"') and rows[1].line == 3 + field.count("\n")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_the_manifest_of_a_generated_folder_is_read_alike(tmp_path, separator, mark):
    lines = [separator.join(cells) for cells in (("id", "audio"), ("a", "x.wav"), ("b", "y.wav"))]
    (tmp_path / "manifest.csv").write_bytes(mark + "\r\n".join(lines).encode())
    files = generated_folder.find_files(tmp_path)
    assert files == {"a": tmp_path / "x.wav", "b": tmp_path / "y.wav"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,audio\na,x.wav\nb", "row 3: found 1 fields, expected 2"),
        ("id,audio\na,x.wav\na,y.wav", "row 3, field id: found 'a', which an earlier row has"),
        ("id,file\na,x.wav\n", "'audio' is missing"),
        ("", "'id' is missing"),
    ],
)
def test_wrong_rows_of_a_generated_folder_are_named(tmp_path, text, words):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        generated_folder.find_files(tmp_path)
