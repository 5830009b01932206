"""Inputs that users of this and neighboring tools reported, each with the tests of its kind.

Texts are tests of their own below. Paths are relative to `tests`.
"""

import ast

import pytest
from helpers.paths import ROOT

from vssflow_jax.text.normalize import words

TESTS = {
    "1 videos whose codec the output does not take": (
        "media/test_writing.py::test_every_video_into_every_container",
        "commands/test_sample.py::test_each_change_of_a_video_is_a_line",
        "commands/test_sample.py::test_media_are_refused_before_the_generation",
    ),
    "2 each container has its audio codec; other names are refused": (
        "media/test_writing.py::test_every_video_into_every_container",
        "media/test_writing.py::test_other_suffixes_are_refused_before_anything_is_written",
    ),
    "3 a track whose format changes midway": (
        "media/test_sound.py::test_a_change_of_format_midway_is_resampled",
    ),
    "4 an estimated duration": (
        "media/test_sound.py::test_an_estimated_length_does_not_cut_the_end",
    ),
    "5 gaps in a track": (
        "media/test_sound.py::test_a_gap_stays_a_gap",
        "preparation/test_no_silent_loss.py::test_a_gap_moves_nothing",
    ),
    "6 an audio track without packets": (
        "media/test_reading.py::test_a_track_without_packets_is_no_sound",
    ),
    "7 samples that are not finite, or far beyond full scale": (
        "media/test_sound.py::test_samples_that_are_not_finite_are_refused",
        "media/test_sound.py::test_samples_beyond_full_scale_are_scaled",
        "media/test_sound.py::test_samples_of_no_scale_are_refused",
    ),
    "8 a codec without decoder": (
        "media/test_reading.py::test_a_codec_without_decoder_is_named",
        "web/test_studio.py::test_a_codec_without_decoder_is_a_sentence",
    ),
    "9 a video without container": (
        "media/test_reading.py::test_the_length_is_that_of_the_frames",
    ),
    "10 sound longer than the video, a picture as video": (
        "media/test_writing.py::test_the_sound_lasts_as_long_as_asked",
        "media/test_writing.py::test_a_picture_is_held_for_the_whole_sound",
        "media/test_reading.py::test_a_picture_is_a_still",
    ),
    "11 channels in opposite phase": ("media/test_sound.py::test_channels_that_cancel_out",),
    "12 line separators in fields, other separators of columns": (
        "common/test_tables.py::test_manifests_are_read_however_they_were_saved",
        "common/test_tables.py::test_a_field_may_contain_other_line_separators",
    ),
    "13 the manifest of a generated folder": (
        "common/test_tables.py::test_the_manifest_of_a_generated_folder_is_read_alike",
        "common/test_tables.py::test_wrong_rows_of_a_generated_folder_are_named",
    ),
    "14 clips longer than those of training": (
        "data/test_crop.py::test_every_second_of_a_long_example_is_seen",
        "data/test_crop.py::test_train_says_it_before_the_first_step",
    ),
    "15 two clips that are all for training": (
        "generation/test_hooks.py::test_two_clips_that_are_all_for_training_are_enough",
    ),
    "16 a run that has moved": (
        "training/test_run_paths.py::test_a_moved_run_finds_its_own_shards_from_anywhere",
    ),
    "17 a run that goes on with other settings": (
        "training/test_setup.py::test_what_changes_the_course_of_a_run_is_part_of_its_identity",
        "training/test_resuming.py::test_resuming_with_another_model_or_seed_is_refused",
    ),
    "18 two trainings in one folder": (
        "training/test_setup.py::test_a_folder_that_a_training_holds_is_refused_until_that_process_dies",
    ),
    "19 ids that are paths, captions with HTML": (
        "data/test_shards.py::test_an_id_that_is_no_file_name_is_refused",
        "commands/test_sample.py::test_an_id_that_is_a_path_writes_nothing_outside_the_folder",
        "reports/test_dataset.py::test_strings_of_dataset_json_and_of_records_are_escaped",
        "reports/test_run.py::test_every_string_of_a_runs_files_is_escaped",
    ),
}


@pytest.mark.parametrize("row", TESTS)
def test_every_reported_input_has_tests(row):
    for name in TESTS[row]:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3½ cups", "three and a half cups"),
        ("10²", "ten squared"),
        ("CO₂", "c o two"),
        ("US$50", "fifty u s dollars"),
        ("-$50", "minus fifty dollars"),
        ("$.99", "ninety nine cents"),
        (".5 liters", "point five liters"),
        ("5%-10%", "five to ten percent"),
        ("50¢", "fifty cents"),
        ("₹500", "five hundred rupees"),
        ("±5", "plus or minus five"),
        ("24/7", "twenty four seven"),
        ("9/11", "nine eleven"),
        ("50/50", "fifty fifty"),
        ("6\u20192\u201d", "six foot two"),
        ("12-25-2015", "december twenty fifth twenty fifteen"),
        ("9-1-1", "nine one one"),
        ("wait 30s", "wait thirty seconds"),
        ("1e-5", "one times ten to the minus five"),
        ("St Paul's", "saint paul's"),
        ("Final Fantasy VII", "final fantasy seven"),
        ("Apollo XI", "apollo eleven"),
        ("10am", "ten a. m"),  # "a." is the letter, "a" the article
        ("A.I.", "a. i"),
        ("U.S.A.", "u s a."),
        ("C#", "c sharp"),
        ("so\u00adft a\u200bbout \u200ethis", "soft about this"),
        ("♪ la ♪", "la"),
        ("Tom &amp; Jerry", "tom and jerry"),
        ("<i>hello</i>", "hello"),
    ],
)
def test_reported_texts_are_read_as_people_say_them(text, spoken):
    assert " ".join(words(text)) == spoken
