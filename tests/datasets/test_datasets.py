"""Each data set's folder, as published, to a manifest."""

import pathlib

import pytest
from helpers import fixtures
from helpers.dataset_trees import list_dataset, read_annotations, read_missing, write_tree

from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.datasets import grid, registry
from vssflow_jax.preparation import examples
from vssflow_jax.text import alignment


def names(rows, column):
    """The names of the files in a column, by id."""
    return {key: pathlib.Path(row[column]).name for key, row in rows.items() if row[column]}


def splits(rows):
    return {key: row["split"] for key, row in rows.items()}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def test_vggsound_finds_videos_under_both_names_in_any_folder(root):
    write_tree(
        root,
        {
            "vggsound.csv": '-bCdEfGhI_k,30,"child speech, kid speaking",test\n'
            "-bCdEfGhI_k,5,dog barking,test\nAbCdEfGhIjk,0,dog barking,train\n",
            "video/-bCdEfGhI_k_000030.mp4": "",
            "dog/train/AbCdEfGhIjk_0_10000.mp4": "",
        },
    )
    done, rows = list_dataset("vggsound", root)
    assert names(rows, "video") == {
        "-bCdEfGhI_k_000030": "-bCdEfGhI_k_000030.mp4",
        "AbCdEfGhIjk_000000": "AbCdEfGhIjk_0_10000.mp4",
    }
    assert {row["task"] for row in rows.values()} == {"sound"}
    assert not any(row["text"] for row in rows.values())
    assert splits(rows) == {"-bCdEfGhI_k_000030": "test", "AbCdEfGhIjk_000000": "train"}
    assert read_annotations(root)["-bCdEfGhI_k_000030"] == {"label": "child speech, kid speaking"}
    assert read_missing(root) == {"-bCdEfGhI_k_000005": ("clip", "no video")}
    assert "rows: found 3, expected 199,467 (reported)" in done.stdout


def test_audioset_joins_segments_labels_and_strong_events(root):
    header = "# one\n# two\n# three\n"
    write_tree(
        root,
        {
            "balanced_train_segments.csv": header + 'AbCdEfGhIjk, 30.000, 40.000, "/m/1,/m/2"\n',
            "eval_segments.csv": header
            + 'b_CdEfGhIjk, 220.0, 230.0, "/m/1"\ncccccccccc-, 1.0, 11.0, "/m/2"\n',
            "class_labels_indices.csv": "index,mid,display_name\n"
            '0,/m/1,"Speech, talk"\n1,/m/2,Bell\n',
            "audioset_eval_strong.tsv": "segment_id\tstart\tend\tlabel\n"
            "b_CdEfGhIjk_220000\t2.5\t7.25\t/m/2\n",
            "audio/YAbCdEfGhIjk.flac": "",
            "eval/eval_00/b_CdEfGhIjk_220.0.mp4": "",
        },
    )
    _, rows = list_dataset("audioset", root)
    assert splits(rows) == {"AbCdEfGhIjk": "train", "b_CdEfGhIjk": "test"}
    assert rows["AbCdEfGhIjk"]["audio"].endswith("YAbCdEfGhIjk.flac")
    assert rows["AbCdEfGhIjk"]["video"] == ""
    annotations = read_annotations(root)
    assert annotations["AbCdEfGhIjk"]["labels"] == ["Speech, talk", "Bell"]
    assert annotations["b_CdEfGhIjk"]["events"] == [[2.5, 7.25, "Bell"]]
    assert read_missing(root) == {"cccccccccc-": ("clip", "no video and no sound")}


def test_audioset_clips_with_a_transcript_are_joint_test_clips(root):
    write_tree(
        root,
        {
            "balanced_train_segments.csv": 'AbCdEfGhIjk, 30.000, 40.000, "/m/1"\n',
            "av_metadata_500.tsv": "AbCdEfGhIjk\tx/AbCdEfGhIjk_30.0.mp4\tset blue now\t1.5\t3.0\n",
            "AbCdEfGhIjk_30.0.mp4": "",
        },
    )
    _, rows = list_dataset("audioset", root)
    (row,) = rows.values()
    assert (row["task"], row["split"], row["text"]) == ("joint", "test", "set blue now")
    times = alignment.read_alignment(root.parent / "manifest" / row["alignment"])
    assert times[0].start == 1.5 and times[-1].end == 3.0


ALIGN = "0 11000 sil\n11000 17250 bin\n17250 20000 blue\n20000 21500 at\n21500 25000 f\n"
ALIGN += "25000 26000 sp\n26000 33000 two\n33000 50000 now\n50000 74500 sil\n"


def test_grid_reads_sentences_times_and_talkers(root):
    write_tree(
        root,
        {
            "s1/s1/video/mpg_6000/bbaf2n.mpg": "large",
            "s1/other/bbaf2n.mpg": "",
            "s02/s02_lgwz1s.mp4": "",
            "s02/s02_prbzzp.mp4": "",
            "s02/._prbzza.mp4": "",
            "notes/bbaf2n.mpg": "",
            "alignments/s7/bbaf2n.align": ALIGN,
            "alignments/s2/lgwz1s.align": "0 74500 sil\n",
            "alignments/s2/prbzzp.align": "0 seconds sil\n",
        },
    )
    done, rows = list_dataset("grid", root)
    texts = {key: row["text"] for key, row in rows.items()}
    assert texts == {
        "s1_bbaf2n": "bin blue at f two now",
        "s2_lgwz1s": "lay green with z one soon",
        "s2_prbzzp": "place red by z zero please",
    }
    assert "mpg_6000" in rows["s1_bbaf2n"]["video"]
    times = alignment.read_alignment(root.parent / "manifest" / rows["s1_bbaf2n"]["alignment"])
    assert [t.symbol for t in times[:3]] == ["B", "IH1", "N"]
    assert (times[0].start, times[-1].end) == (0.44, 2.0)
    assert "s1: the alignments are those in" in done.stdout and "alignments/s7" in done.stdout
    missing = read_missing(root)
    assert {part for part, _ in missing.values()} == {"alignment"}
    assert "expected 'lay green with z one soon'" in missing["s2_lgwz1s"][1]
    assert rows["s2_lgwz1s"]["speaker_audio"] == rows["s2_prbzzp"]["video"]
    assert rows["s1_bbaf2n"]["speaker_audio"] == ""
    assert "1 clips are the only ones of their voice" in done.stdout
    assert "none for training of the talkers s1, s2: their first 125 clips" in done.stdout
    done, _ = list_dataset("grid", root, "--split=unseen")
    assert "none for training" not in done.stdout


def test_grid_splits_hold_out_sentences_or_talkers(root):
    letters = "abcdefghijklmnopqrstuvxyz"
    codes = [f"bbaf{digit}{end}" for digit in "z123456789" for end in "anps"]
    codes += [f"lgi{letter}{digit}p" for letter in letters for digit in "z12345"]
    seen = grid.assign_splits(5, codes, "overlapped")
    counts = {name: list(seen.values()).count(name) for name in ("train", "valid", "test")}
    assert counts == {"train": len(codes) - 125, "valid": 25, "test": 100}
    assert set(grid.assign_splits(20, codes, "unseen").values()) == {"test"}
    assert "test" not in grid.assign_splits(3, codes, "unseen").values()


LRS_TEXT = "Text:  {NOISE} THERE YOU ARE\nConf:  4\n"
LRS_WORDS = "\nWORD START END ASDSCORE\nTHERE 0.12 0.31 5.4\nYOU 0.31 0.5 1\nARE 0.5 0.9 -2\n"


def test_lrs2_follows_its_lists(root):
    write_tree(
        root,
        {
            "mvlrs_v1/main/633000/00011.mp4": "",
            "mvlrs_v1/main/633000/00011.txt": LRS_TEXT,
            "mvlrs_v1/main/633000/00012.mp4": "",
            "mvlrs_v1/main/633000/00012.txt": "nothing\n",
            "mvlrs_v1/pretrain/633001/00001.mp4": "",
            "mvlrs_v1/pretrain/633001/00001.txt": "Text:  THERE YOU ARE\nConf:  4\n" + LRS_WORDS,
            "train.txt": "633000/00012\n",
            "val.txt": "633000/00013\n",
            "test.txt": "633000/00011 NF\n",
        },
    )
    done, rows = list_dataset("lrs2", root)
    assert splits(rows) == {"test_633000_00011": "test", "pretrain_633001_00001": "train"}
    assert rows["test_633000_00011"]["text"] == "noise there you are"
    assert rows["test_633000_00011"]["alignment"] == ""
    times = alignment.read_alignment(
        root.parent / "manifest" / rows["pretrain_633001_00001"]["alignment"]
    )
    assert (times[0].start, times[-1].end) == (0.12, 0.9)
    missing = read_missing(root)
    assert "expected a transcript" in missing["train_633000_00012"][1]
    assert missing["val_633000_00013"] == ("clip", "no video")
    assert "test.txt: not the list whose MD5" in done.stdout
    assert "1 transcripts have words in braces" in done.stdout


def test_lrs3_finds_sections_by_their_headers(root):
    faces = "Ref:  a_b\n\nFRAME \tX \tY \tW \tH\n000001 \t0.4 \t0.3 \t0.1 \t0.2\n"
    write_tree(
        root,
        {
            "LRS3-TED/test/aSb/50001.mp4": "",
            "LRS3-TED/test/aSb/50001.txt": "Text:  THERE YOU ARE\nConf:  4\n" + faces + LRS_WORDS,
            "LRS3-TED/trainval/cc/50001.mp4": "",
            "LRS3-TED/trainval/cc/50001.txt": "Text:  HELLO\n",
        },
    )
    done, rows = list_dataset("lrs3", root)
    assert rows["test_aSb_50001"]["alignment"] and rows["test_aSb_50001"]["split"] == "test"
    assert read_annotations(root)["test_aSb_50001"] == {"youtube": "a_b"}
    assert "1 transcripts have no word times" in done.stdout


def test_lrs3_keeps_videos_for_validation_out_of_training(root):
    files = {}
    for number in range(60):
        for part in ("pretrain", "trainval"):
            files[f"{part}/v{number}/1.mp4"] = ""
            files[f"{part}/v{number}/1.txt"] = "Text:  HELLO\n"
    _, rows = list_dataset("lrs3", write_tree(root, files))
    videos = {
        split: {key.split("_")[1] for key, row in rows.items() if row["split"] == split}
        for split in ("train", "valid")
    }
    assert videos["valid"] and not videos["train"] & videos["valid"]
    assert {reason for _, reason in read_missing(root).values()} == {
        "its video is one for validation"
    }


def test_chem_takes_transcripts_from_files_or_one_table(root):
    write_tree(
        root,
        {
            "videos/a-bC_dEfGhIj-001.mp4": "",
            "wavs/chem_00_a-bC_dEfGhIj-001.wav": "",
            "wavs/chem_00_a-bC_dEfGhIj-001.lab": "two moles\n",
            "videos/zzzzzzzzzzz-002.mp4": "",
            "text.txt": "zzzzzzzzzzz-002|of water\n",
            "intervals/q/cut-1.mp4": "",
            "train.txt": "zzzzzzzzzzz\n",
            "test.txt": "chem_00_a-bC_dEfGhIj-001\n",
        },
    )
    _, rows = list_dataset("chem", root)
    assert {key: row["text"] for key, row in rows.items()} == {
        "a-bC_dEfGhIj-001": "two moles",
        "zzzzzzzzzzz-002": "of water",
    }
    assert splits(rows) == {"a-bC_dEfGhIj-001": "test", "zzzzzzzzzzz-002": "train"}
    assert names(rows, "audio") == {"a-bC_dEfGhIj-001": "chem_00_a-bC_dEfGhIj-001.wav"}
    assert read_missing(root) == {"cut-1": ("clip", "in none of train.txt, val.txt, test.txt")}


def test_v2c_joins_sounds_videos_texts_and_emotions(root):
    speeches = "movie/zoo/zoo_speeches/Daddy/00"
    write_tree(
        root,
        {
            f"{speeches}/Daddy-00-0034.wav": "",
            f"{speeches}/Daddy-00-0034.normalized.txt": "hello there",
            f"{speeches}/Daddy-00-0035.wav": "",
            f"{speeches}/Daddy-00-trans.txt": "Daddy-00-0034 HELLO\nDaddy-00-0035 you there\n",
            f"{speeches}/Daddy-00-0036.wav": "",
            "movie/zoo/zoo_videos/Daddy/0034.mp4": "",
            "movie/zoo/zoo_videos/Daddy/0035.mp4": "",
            "emotions.json": '{"zoo@Daddy_00_0034_00": "3", "zoo@Mum_00_0001_00": "1"}',
        },
    )
    _, rows = list_dataset("v2c", root)
    texts = {key: row["text"] for key, row in rows.items()}
    assert texts == {"zoo@Daddy_00_0034": "hello there", "zoo@Daddy_00_0035": "you there"}
    assert read_annotations(root) == {"zoo@Daddy_00_0034": {"emotion": "happy"}}
    assert read_missing(root) == {
        "zoo@Daddy_00_0036": ("clip", "no video"),
        "zoo@Mum_00_0001": ("clip", "no sound"),
    }


def test_vctk_takes_one_microphone_and_no_shared_sentence_into_tests(root):
    files = {}
    for talker in range(225, 265):
        for number in (1, 30):
            name = f"p{talker}_{number:03d}"
            files[f"wav48_silence_trimmed/p{talker}/{name}_mic1.flac"] = ""
            files[f"wav48_silence_trimmed/p{talker}/{name}_mic2.flac"] = ""
            files[f"txt/p{talker}/{name}.txt"] = f"Sentence {number}.\n"
    files["wav48_silence_trimmed/p225/p225_040_mic2.flac"] = ""
    files["txt/p225/p225_040.txt"] = "Another."
    _, rows = list_dataset("vctk", write_tree(root, files))
    assert rows["p225_030"]["audio"].endswith("p225_030_mic1.flac")
    assert rows["p225_040"]["audio"].endswith("p225_040_mic2.flac")
    held_out = {key for key, row in rows.items() if row["split"] != "train"}
    assert held_out and not any(key.endswith("_001") for key in held_out)
    assert set(read_missing(root)) == {f"{key[:4]}_001" for key in held_out}
    talkers = {split: {key[:4] for key in rows if rows[key]["split"] == split} for split in
               ("train", "valid", "test")}  # fmt: skip
    assert not talkers["train"] & (talkers["valid"] | talkers["test"])


def test_ljspeech_takes_quotes_as_they_are(root):
    write_tree(
        root,
        {
            "LJSpeech-1.1/metadata.csv": 'LJ001-0001|Dr. Roe said, "no|Doctor Roe said, "no\n'
            "LJ001-0002|Only raw|\nLJ001-0003|Gone|Gone\n",
            "LJSpeech-1.1/wavs/LJ001-0001.wav": "",
            "LJSpeech-1.1/wavs/LJ001-0002.wav": "",
        },
    )
    _, rows = list_dataset("ljspeech", root)
    assert rows["LJ001-0001"]["text"] == 'Doctor Roe said, "no'
    assert rows["LJ001-0002"]["text"] == "Only raw"
    assert rows["LJ001-0001"]["speaker_audio"] == rows["LJ001-0002"]["audio"]
    assert read_missing(root) == {"LJ001-0003": ("clip", "no recording")}


def test_libritts_parts_are_splits(root):
    write_tree(
        root,
        {
            "LibriTTS_R/train-clean-100/14/208/14_208_000001_000000.wav": "",
            "LibriTTS_R/train-clean-100/14/208/14_208_000001_000000.normalized.txt": "One.",
            "LibriTTS_R/train-clean-100/14/208/14_208.trans.tsv": "14_208_000001_000000\tOne\tOne\n"
            "14_208_000002_000000\tTwo\tTwo\n",
            "LibriTTS_R/dev_clean/84/1/84_1_000001_000000.wav": "",
            "LibriTTS_R/dev_clean/84/1/84_1_000001_000000.normalized.txt": "Three.",
            "LibriTTS_R/test-other/85/1/85_1_000001_000000.wav": "",
        },
    )
    done, rows = list_dataset("libritts", root)
    assert splits(rows) == {"14_208_000001_000000": "train", "84_1_000001_000000": "valid"}
    assert read_missing(root) == {
        "14_208_000002_000000": ("clip", "no recording"),
        "85_1_000001_000000": ("clip", "no transcript"),
    }
    assert "train-clean-100: found 1, expected 33,236 (reported)" in done.stdout


def test_greatest_hits_have_onsets_and_events(root):
    date = "2015-01-02-03-04-05"
    write_tree(
        root,
        {
            "train.txt": f"{date}\n{date}-12\n",
            "test.txt": "2015-01-02-03-04-06\n",
            f"vis-data/{date}_denoised.mp4": "",
            f"vis-data/{date}_denoised.wav": "",
            f"vis-data/{date}_mic.mp4": "",
            f"vis-data/{date}_times.txt": "3.1333 wood hit static\n1.5 None None\n",
            "vis-data/2015-01-02-03-04-06_denoised_thumb.mp4": "",
        },
    )
    _, rows = list_dataset("greatesthits", root)
    assert names(rows, "audio") == {date: f"{date}_denoised.wav"}
    assert splits(rows) == {date: "train", "2015-01-02-03-04-06": "test"}
    assert read_annotations(root)[date] == {
        "onsets": [3.1333],
        "events": [[1.5, 1.5, "None None"], [3.1333, 3.1333, "wood hit static"]],
    }


def test_avspeech_needs_transcripts_and_finds_the_face(root, tmp_path):
    write_tree(
        root,
        {
            "avspeech_test.csv": "AbC_EfGhIjk,90.0,95.4,0.498437,0.25\n"
            "AbC_EfGhIjk,10.0,15.4,0.5,0.5\nccccccccccc,1,5,0.5,0.5\n",
            "AbC_EfGhIjk/AbC_EfGhIjk_10.000_15.400.mp4": "",
        },
    )
    fixtures.write_video(root / "AbC_EfGhIjk_90.000_95.4000.mp4", seconds=0.4)
    done, _ = list_dataset("avspeech", root)
    assert done.returncode == 2 and "--transcripts: found nothing" in done.stderr
    write_tree(tmp_path / "texts", {"AbC_EfGhIjk_90.000_95.4000.txt": "hello\n"})
    _, rows = list_dataset("avspeech", root, f"--transcripts={tmp_path / 'texts'}")
    assert {key: row["text"] for key, row in rows.items()} == {"AbC_EfGhIjk_90.00_95.40": "hello"}
    assert read_annotations(root)["AbC_EfGhIjk_90.00_95.40"] == {"face": [32, 12]}
    assert read_missing(root) == {
        "AbC_EfGhIjk_10.00_15.40": ("clip", "no transcript"),
        "ccccccccccc_1.00_5.00": ("clip", "no video"),
    }


def test_every_data_set_says_where_it_comes_from_and_under_which_license():
    for module in registry.MODULES:
        for word in ("Source", "License", "root", "Expect"):
            assert word in module.__doc__, (module.__name__, word)


def test_a_manifest_of_a_data_set_is_prepared_with_its_times(root):
    files = {"a/alignments/s1/bbaf2n.align": ALIGN}
    write_tree(root, files)
    (root / "s1").mkdir()
    fixtures.write_video(root / "s1" / "bbaf2n.mp4", seconds=3.0)
    done, _ = list_dataset("grid", root)
    assert "pixels wide: found 64 in 1 clips, expected 360 (official)" in done.stdout
    (row,) = read_manifest(root.parent / "manifest" / "clips.csv")
    (record,) = examples.make_records(
        row, None, examples.ExampleSettings(locate_mouth=False, max_seconds=4.0)
    )
    phonemes = record["phonemes"]
    assert record["meta"]["times"] == examples.TIMES_FROM_FILE
    assert not phonemes[: int(0.44 * 25)].any() and phonemes[12] and not phonemes[51:].any()
