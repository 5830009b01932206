"""Manifests of data sets: several in one, wrong folders, files that are not what they should be."""

import csv

import pytest
from helpers import in_process
from helpers.dataset_trees import list_dataset, read_annotations, write_tree

from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.datasets import build
from vssflow_jax.datasets.interface import Example


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def write_vggsound(root, listed=1, present=1):
    rows = "".join(f"AbCdEfGhIjk,{k},dog,train\n" for k in range(listed))
    videos = {f"AbCdEfGhIjk_{k:06d}.mp4": "" for k in range(present)}
    return write_tree(root, {"vggsound.csv": rows, **videos})


def test_data_sets_share_a_manifest(root, tmp_path):
    write_vggsound(root)
    lj = write_tree(tmp_path / "lj", {"metadata.csv": "LJ1|a b|a b\n", "LJ1.wav": ""})
    list_dataset("vggsound", root)
    list_dataset("ljspeech", lj, "--append")
    list_dataset("vggsound", root, "--append")
    rows = read_manifest(tmp_path / "manifest" / "clips.csv")
    assert [row.id for row in rows] == ["ljspeech-LJ1", "vggsound-AbCdEfGhIjk_000000"]
    assert list(read_annotations(root)) == ["AbCdEfGhIjk_000000"]
    list_dataset("ljspeech", lj)
    assert len(read_manifest(tmp_path / "manifest" / "clips.csv")) == 1
    assert list(read_annotations(root)) == ["AbCdEfGhIjk_000000"]


def test_hardly_any_clip_is_an_error_that_counts_archives(root):
    write_vggsound(root, listed=300, present=1)
    write_tree(root, {"vggsound_00.tar.gz": "", "vggsound_01.tar.gz": ""})
    done, _ = list_dataset("vggsound", root)
    in_process.assert_error(
        done, "found 1 of 300 clips", "no video", "2 archives", out=root.parent / "manifest"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg", "--root={root}"], ["found data set 'vgg'", "vggsound, audioset"]),
        (["--root={root}"], ["found no argument", "the name of a data set"]),
        (["grid", "lrs2", "--root={root}"], ["found ['grid', 'lrs2'], expected one"]),
        (["vggsound"], ["--root: found nothing"]),
        (["vggsound", "--root={root}/gone"], ["gone: no such folder"]),
        (["vggsound", "--root={root}", "--split=unseen"], ["--split: found 'unseen'", "none"]),
        (["grid", "--root={root}", "--split=x"], ["expected overlapped or unseen"]),
        (["vctk", "--root={root}", "--transcripts={root}"], ["--transcripts: found a folder"]),
        (["vggsound", "--root={root}", "--lists={root}/none"], ["--lists", "no such folder"]),
        (["lrs2", "--root={root}"], ["found no train.txt", "it comes with the data set"]),
        (["grid", "--root={root}"], ["found 0 of 0 clips of grid"]),
    ],
)
def test_wrong_arguments_are_named(root, arguments, words):
    write_vggsound(root)
    out = root.parent / "clips.csv"
    arguments = [argument.format(root=root) for argument in arguments]
    done = in_process.run("datasets", *arguments, f"--out={out}")
    in_process.assert_error(done, *words, out=out)


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("vggsound", {"vggsound.csv": "a,b,c,train\n"}, ["vggsound.csv row 1", "start second"]),
        ("vggsound", {"vggsound.csv": b"\xff\xfe\x00"}, ["vggsound.csv", "UTF-8"]),
        ("audioset", {"eval_segments.csv": "# x\na, 1, b\n"}, ["segment 1", "expected id"]),
        ("ljspeech", {"metadata.csv": "only\n"}, ["metadata.csv row 1", "id|text"]),
        ("avspeech", {"avspeech_test.csv": "a,1,2\n"}, ["row 1", "expected id,start,end,x,y"]),
        ("v2c", {"emotions.json": "[1]"}, ["emotions.json", "expected an object"]),
        (
            "greatesthits",
            {"train.txt": "a\n", "test.txt": "b\n", "a_denoised.mp4": "", "a_times.txt": "x y z\n"},
            ["a_times.txt", "expected seconds"],
        ),
    ],
)
def test_broken_lists_are_named(root, tmp_path, name, files, words):
    write_tree(root, files)
    flags = [f"--transcripts={root}"] if name == "avspeech" else []
    done, _ = list_dataset(name, root, *flags)
    in_process.assert_error(done, *words, out=tmp_path / "manifest")


def test_lists_may_lie_elsewhere(root, tmp_path):
    write_vggsound(root)
    (tmp_path / "lists").mkdir()
    (root / "vggsound.csv").rename(tmp_path / "lists" / "vggsound.csv")
    _, rows = list_dataset("vggsound", root, f"--lists={tmp_path / 'lists'}")
    assert list(rows) == ["AbCdEfGhIjk_000000"]


def test_a_clip_that_is_there_twice_is_used_once(root):
    files = {f"{folder}/1/2/1_2_3_4.wav": "" for folder in ("train-clean-100", "test-clean")}
    files |= {name.replace(".wav", ".normalized.txt"): "one" for name in files}
    _, rows = list_dataset("libritts", write_tree(root, files))
    assert [row["split"] for row in rows.values()] == ["test"]
    with open(root.parent / "manifest" / "clips.missing.csv", newline="") as file:
        (entry,) = csv.DictReader(file)
    assert entry["reason"].startswith("a second clip of this name")


def test_references_are_other_clips_of_voice_and_split():
    clips = [
        Example(id=f"{speaker}{split}{k}", split=split, task="speech", audio=f"{speaker}{split}{k}",
                speaker=speaker)
        for speaker in ("a", "b") for split in ("train", "test") for k in range(4)
    ]  # fmt: skip
    references = build.choose_references(clips)
    assert references.keys() == {clip.id for clip in clips}
    for name, reference in references.items():
        assert name != reference and name[:-1] == reference[:-1]
    assert sorted(references.values()) == sorted(references)
