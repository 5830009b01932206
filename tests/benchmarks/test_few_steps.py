"""The benchmark of few evaluations: its rows, and what it makes of scores."""

import pytest

from benchmarks import few_steps
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import default_config

EFFECT = (1.0, 3.0)
SCALES = {"phonemes": None, "sync": 1.8}  # of the model


def row(passes=25, **scores):
    return {"scores": {"speech": scores}, "passes": passes, "steps": passes, "seconds": 1.0}


REFERENCE = row(wer=0.1, wer_ci95=[0.08, 0.13], onset_f1=0.8, onset_f1_ci95=[0.7, 0.85])


def test_rows_have_names_of_their_own_and_options_that_resolve():
    flow, student = default_config(), default_config()
    student.train.task = "distill"
    rows = list(few_steps.list_rows(True, EFFECT, SCALES))
    assert len({name for name, _ in rows}) == len(rows) and rows[0][0] == few_steps.REFERENCE
    for name, each in rows:
        assert "," not in name  # --rows takes a list
        each.options.resolve(student if each.student else flow)
    assert not any(each.student for _, each in few_steps.list_rows(False, EFFECT, SCALES))


def test_grids_with_the_same_times_are_one_row():
    names = [name for name, _ in few_steps.list_rows(False, EFFECT, SCALES)]
    assert [name for name in names if name.endswith(" 1")] == ["teacher uniform 1"]
    assert {"teacher sway 2", "teacher epss 5"} <= {*names}
    assert "teacher logit_normal 2" not in names
    students = {name for name, row in few_steps.list_rows(True, EFFECT, SCALES) if row.student}
    assert {"student uniform 1", "student uniform 4", "student sway 4"} <= students
    assert "student sway 1" not in students


def test_rows_are_selected_by_the_start_of_their_names_up_to_a_whole_number():
    names = [name for name, _ in few_steps.list_rows(True, EFFECT, SCALES)]
    selected = [name for name in names if few_steps.select_row(name, ["teacher uniform 1"])]
    assert selected == ["teacher uniform 1"]
    assert all(few_steps.select_row(name, [""]) for name in names)
    assert few_steps.select_row("student sync=3", ["teacher sway", "student"])


def test_a_score_is_compared_with_the_half_of_the_interval_that_it_is_in():
    reference = REFERENCE["scores"]["speech"]
    assert few_steps.measure_loss({"wer": 0.13}, reference, "wer") == pytest.approx(1)
    assert few_steps.measure_loss({"wer": 0.16}, reference, "wer") == pytest.approx(2)
    assert few_steps.measure_loss({"wer": 0.01}, reference, "wer") == 0
    assert few_steps.measure_loss({"onset_f1": 0.6}, reference, "onset_f1") == pytest.approx(2)
    assert few_steps.measure_loss({"onset_f1": 0.9}, reference, "onset_f1") == 0
    homophones = {"wer_homophones_equal": 0.1, "wer_homophones_equal_ci95": [0.05, 0.15]}
    assert (
        few_steps.measure_loss({"wer_homophones_equal": 0.01}, homophones, "wer_homophones_equal")
        == 0
    )


def test_scores_outside_of_the_interval_are_bold():
    rows = {few_steps.REFERENCE: REFERENCE, "student sway 4": row(4, wer=0.2, onset_f1=0.75)}
    table = few_steps.format_rows(rows, "speech")
    assert "| student sway 4 | 4 | 1 | **0.200** | 0.750 |" in table
    assert few_steps.format_rows(rows, "sound").count("\n") == 2  # no row has that task


def test_where_one_scale_changes_the_others_are_those_of_the_model_in_both_systems():
    rows = dict(few_steps.list_rows(True, EFFECT, SCALES))
    for system in ("teacher", "student"):
        assert rows[f"{system} sync=3"].options.scales == {"phonemes": None, "sync": 3.0}
        assert rows[f"{system} phonemes=1"].options.scales == {"phonemes": 1.0, "sync": 1.8}


def test_the_effect_of_a_scale_is_the_change_of_its_score():
    rows = {
        "teacher phonemes=1": row(wer=0.3),
        "teacher phonemes=3": row(wer=0.1),
        "student phonemes=1": row(wer=0.25),
    }
    effects = few_steps.describe_effects(rows, EFFECT)
    assert effects == {"speech/wer of phonemes": {"teacher": pytest.approx(-0.2)}}


def test_a_row_is_finished_with_all_of_its_tasks():
    name = "teacher sync=1"
    listed = dict(few_steps.list_rows(False, EFFECT, SCALES))[name]
    assert few_steps.is_finished({name: {"scores": {"joint": {}}}}, name, listed)
    assert not few_steps.is_finished({name: {"scores": {"sound": {}}}}, name, listed)
    assert not few_steps.is_finished({}, name, listed)


def test_a_student_joins_the_rows_of_its_teacher_alone(tmp_path):
    teacher = {"clips": 32, "models": {"teacher": "a"}}
    both = {"clips": 32, "models": {"teacher": "a", "student": "b"}}
    assert few_steps.merge_about(teacher | {"date": "today"}, both, tmp_path) == both | {
        "date": "today"
    }
    assert few_steps.merge_about(both, teacher, tmp_path) == both
    for other in ({"student": "b", "teacher": "c"}, {"student": "c", "teacher": "a"}):
        with pytest.raises(InputError, match="found rows of"):
            few_steps.merge_about(both, both | {"models": other}, tmp_path)
    with pytest.raises(InputError, match="found rows of"):
        few_steps.merge_about(teacher, both | {"clips": 64}, tmp_path)


def test_curves_are_drawn_for_the_tasks_with_scores(tmp_path):
    rows = {few_steps.REFERENCE: REFERENCE, "student sway 4": row(4, wer=0.2)}
    few_steps.draw_picture(rows, tmp_path / "curve.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curve_speech.png"]
