"""Tables in the encodings, separators and line endings that people save them with."""

import codecs
from pathlib import Path

import pytest

from vssflow_jax.common import tables
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import manifest
from vssflow_jax.evaluation import generated_folder
from vssflow_jax.text import alignment, script, subwords

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


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "sep=;\r"])
def test_the_separator_that_excel_names_is_understood(tmp_path, line):
    path = tmp_path / "clips.csv"
    path.write_bytes(f"{line}\nid;split;video;text\na;train;a.mp4;one, two, three\n".encode())
    rows = manifest.read_manifest(path)
    assert [(row.id, row.text, row.line) for row in rows] == [("a", "one, two, three", 3)]


def test_a_quote_that_does_not_end_is_refused(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text('id,split,video,text\na,train,a.mp4,"one\nb,train,b.mp4,two\n')
    with pytest.raises(InputError, match=r"clips\.csv row 3: unexpected end of data"):
        manifest.read_manifest(path)


TABLES = {
    "script": ("start,end,text,speaker\n0.5,,one,\n,,two,v.wav\n", script.read_script),
    "alignment": ("start,end,phoneme\n0,1,S\n1,2,T\n", alignment.read_alignment),
    "transcripts": ("text,split\none,train\ntwo,train\n", subwords.read_transcripts),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_tables_are_read_alike(tmp_path, name, separator, encoding):
    text, read = TABLES[name]
    (tmp_path / "plain.csv").write_text(text)
    other = tmp_path / "other.csv"
    other.write_bytes(text.replace(",", separator).replace("\n", "\r\n").encode(encoding))
    one, two = read(tmp_path / "plain.csv"), read(other)
    assert len(one) == 2 and str(one).replace("plain", "other") == str(two)


@pytest.mark.parametrize("name", TABLES)
def test_headers_in_capitals_and_blanks_around_cells_do_no_harm(tmp_path, name):
    text, read = TABLES[name]
    (tmp_path / "plain.csv").write_text(text)
    header, _, rows = text.partition("\n")
    rows = "\n".join(", ".join(f'"{cell}"' for cell in row.split(",")) for row in rows.splitlines())
    (tmp_path / "other.csv").write_text(f"{header.title().replace(',', ' , ')}\n{rows}\n")
    one, two = read(tmp_path / "plain.csv"), read(tmp_path / "other.csv")
    assert str(one).replace("plain", "other") == str(two)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_many_nulls_is_in_another_encoding(tmp_path, encoding):
    path = write(tmp_path / "clips.csv", encoding=encoding)
    with pytest.raises(InputError, match=r"clips\.csv: not UTF-8 text, nor UTF-16 with its mark"):
        manifest.read_manifest(path)


def test_files_are_found_as_people_name_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "clips").mkdir()
    for name in ("a.wav", "e\u0301.wav"):
        (tmp_path / "clips" / name).touch()
    expected = {
        "clips/a.wav": tmp_path / "clips/a.wav",
        "clips\\a.wav": tmp_path / "clips/a.wav",
        ".\\clips\\\u00e9.wav": tmp_path / "clips/e\u0301.wav",
        "clips\\gone.wav": tmp_path / "clips\\gone.wav",
        "~/a.wav": tmp_path / "home/a.wav",
        "/a.wav": Path("/a.wav"),
    }
    assert {cell: tables.find_listed(tmp_path, cell) for cell in expected} == expected
    for cell in ("https://example.org/a.wav", "gs://bucket/a.wav", "a\0.wav"):
        with pytest.raises(InputError, match="expected a path"):
            tables.find_listed(tmp_path, cell)


def test_empty_columns_behind_the_last_are_no_columns(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("id,split,video,,\na,train,a.mp4,,\nb,test,b.mp4\n,,,,\n")
    assert [row.id for row in manifest.read_manifest(path)] == ["a", "b"]
    path.write_text("id,split,video,,\na,train,a.mp4,,x\n")
    with pytest.raises(InputError, match="row 2: found 5 fields, expected 3"):
        manifest.read_manifest(path)


def test_decimal_commas_are_read(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("start;end;phoneme\n0;0,25;S\n0,25;1,5;T\n")
    assert [tuple(row) for row in alignment.read_alignment(path)] == [
        (0.0, 0.25, "S"),
        (0.25, 1.5, "T"),
    ]
