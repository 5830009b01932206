"""The comparisons of docs/results.md: intervals, rows, tables, and the commands."""

import json
import os
import subprocess
import sys

import pytest
from helpers import tiny_configs

from benchmarks.claims import intervals, results, rows, tables, train
from vssflow_jax.config import load_recipe


def command(name, *flags):
    done = subprocess.run(
        (sys.executable, "-m", f"benchmarks.claims.{name}", *flags),
        cwd=tiny_configs.ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- numbers ------------------------------------------------------------------------------


def test_student_interval_of_known_values():
    interval = intervals.student_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2 and interval.half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert not interval.excludes_zero
    assert intervals.student_interval([2.0, 2.1, 2.2]).excludes_zero
    assert intervals.student_interval([2.0]) == (2.0, None)


def test_paired_differences_cancel_the_effect_of_the_seed():
    first = {"0": 1.0, "1": 5.0, "2": 9.0, "3": 100.0}
    ours = {"0": 1.1, "1": 5.1, "2": 9.1}
    difference = intervals.paired_difference(ours, first)
    assert difference.mean == pytest.approx(0.1) and difference.half < 1e-6
    assert intervals.paired_difference({"4": 1.0}, first) is None


# ---- rows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rows.ROWS)
def test_rows_change_fields_of_the_recipe(name):
    config = load_recipe("small")
    before = config.to_json()
    changes = {k: v for k, v in rows.ROWS[name].items() if k not in rows.SHARES}
    config.update_from_flattened_dict(changes)
    assert (config.to_json() != before) == bool(changes)


def test_configuring_a_row_does_not_change_the_recipe(tmp_path):
    recipe = load_recipe("small")
    config = train.configure_row(recipe, "sound_half", 7, tmp_path)
    assert config.train.steps == recipe.train.steps // 2 and config.data.tasks == ("sound",)
    assert config.seed == 7 and recipe.seed == 0 and recipe.data.tasks == ()


def test_tables_name_rows_and_every_row_is_in_one():
    named = {row for table in rows.TABLES.values() for row in table.rows.values()}
    assert named == set(rows.ROWS)


# ---- tables -------------------------------------------------------------------------------


def runs(*losses):
    took = {"parameters": 1000, "steps": 5, "seconds": 1800.0, "date": "2026-01-01"}
    return {
        f"{seed}": {"scores": {"sound": {"loss": loss}, "speech": {"loss": 2 * loss}}, **took}
        for seed, loss in enumerate(losses)
    }


def test_a_table_has_means_and_differences_paired_by_seed():
    table = rows.Table(
        rows={"base": "pair", "other": "sound", "never": "speech"},
        columns=(("sound", "loss"), ("speech", "loss"), ("joint", "wer")),
    )
    text = tables.format_trainings(table, {"pair": runs(1.0, 2.0), "sound": runs(1.5, 2.5)})
    assert "| base | 2 | 1.500 ± 6.353 | 3.000 ± 12.706 |" in text
    assert "| other | **+0.500 ± 0.000** | **+1.000 ± 0.000** |" in text
    assert "4 runs, seeds 0, 1; 1,000 parameters; 5 steps; 2.00 hours" in text
    assert (
        "never" not in text
        and "joint" not in text
        and tables.format_trainings(table, {}) == "Not done.\n"
    )


def test_a_setting_that_differs_is_bold():
    same = {"score": 0.2, "ci95": [0.1, 0.3], "floor": 0.05, "difference": 0.0}
    settings = {
        "first": {"speech": {"wer": {"score": 0.2, "ci95": [0.1, 0.3], "floor": 0.05}}},
        "like": {"speech": {"wer": {**same, "difference_ci95": [-0.1, 0.1]}}},
        "worse": {"speech": {"wer": {**same, "difference_ci95": [0.05, 0.1]}}},
    }
    text = tables.format_samplings(settings, (("speech", "wer"),))
    assert "| like | 0.200 (0.100 to 0.300) |" in text
    assert "| worse | **0.200 (0.100 to 0.300)** |" in text
    assert "| truth through the codec | 0.050 |" in text


def test_the_curve_is_a_table_and_a_picture():
    curve = {"errors": {"euler": [[4, 0.2], [8, 0.1]], "heun": [[8, 0.01]]}, "fine": {}}
    about = {
        "model": {"folder": "m", "step": 3, "weights": "0123456789abcdef99"},
        "sampler": {"solver": "euler", "steps": 12, "guidance": 1.5, "scales": {"sync": 1.8}},
        "clips": 2,
        "seconds": 9.6,
        "date": "2026-01-01",
    }
    values = {"solvers": {"about": about, "settings": {"curve": curve, "points": {"a": {}}}}}
    formatted = tables.format_tables(values)
    assert "| heun |  | 0.0100 |" in formatted["curve"] and tables.PICTURE in formatted["curve"]
    text = " ".join(formatted["solvers"].split())
    assert "step 3, weights `0123456789abcdef`; where not said otherwise" in text
    assert "guidance 1.5 (sync 1.8); 2 clips; 10 s; 2026-01-01" in text


def test_the_page_has_the_tables_of_the_file_of_results():
    text = tables.PAGE.read_text()
    assert tables.update_page(text, json.loads(results.FILE.read_text())) == text
    assert set(tables.format_tables({})) <= {name for _, name, _ in tables.TABLE.findall(text)}


# ---- the commands -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("generated", [0, 1])
def test_rows_are_trained_once_and_scored(generated, tiny_run, tmp_path):
    """Two rows of two steps, one of them asked for twice."""
    out = tmp_path / "results.json"
    flags = [flag for flag in tiny_configs.FLAGS if "grid" not in flag and "corpus" not in flag]
    printed = command(
        "train",
        "--config=configs/small.py",
        *flags,
        f"--config.data.shards={tiny_run / 'shards'}",
        "--config.train.steps=2",
        f"--workdir={tmp_path}",
        "--rows=sound,speech,sound",
        "--seeds=3",
        "--clips=2",
        f"--generated={generated}",
        f"--results={out}",
    )
    assert printed.count("sound, seed 3") == printed.count("speech, seed 3") == 1
    scores = json.loads(out.read_text())["training"]["rows"]
    for name in ("sound", "speech"):
        run = scores[name]["3"]
        assert run["steps"] == 2 and set(run["scores"]) == {name}
        assert 0 < run["scores"][name]["loss"] < 10
        assert ("kl" in run["scores"][name]) == bool(generated)


@pytest.mark.slow
def test_one_model_is_sampled_in_all_settings(tiny_run, tmp_path):
    out = tmp_path / "results.json"
    flags = (f"--workdir={tiny_run}", "--clips=2", f"--results={out}")
    command("sampling", *flags)
    values = json.loads(out.read_text())
    times = values["times"]["settings"]
    assert len(times) == 7 and times["true times"]["speech"]["wer"]["score"] >= 0
    assert len(values["guidance"]["settings"]) == 11
    curve = values["solvers"]["settings"]["curve"]
    errors = {solver: dict(points) for solver, points in curve["errors"].items()}
    assert errors["euler"][32] < errors["euler"][8] and errors["rk4"][32] < errors["euler"][32]
    assert errors["dopri5"].popitem()[1] < 1e-2 and curve["fine"]["half"] < 1e-3
