"""The table of fields: defaults, allowed values, None, and that every field is read."""

import pytest
from helpers import config_reads, in_process
from helpers.paths import ROOT

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields, load_recipe, validation
from vssflow_jax.flow import grids, solvers
from vssflow_jax.models import dit

RECIPES = sorted(
    str(path.relative_to(ROOT / "configs").with_suffix(""))
    for path in (ROOT / "configs").rglob("*.py")
)
BY_NAME = {field.name: field for field in fields.FIELDS}
SOURCES = [p for p in (ROOT / "vssflow_jax").rglob("*.py") if "config" not in p.parts]


def test_the_config_has_the_fields_of_the_table():
    assert fields.flatten(fields.default_config()) == {
        name: field.default for name, field in BY_NAME.items()
    }
    assert len(BY_NAME) == len(fields.FIELDS)
    assert {name.rpartition(".")[0] for name in BY_NAME} == {"", *fields.GROUPS}


@pytest.mark.parametrize("field", fields.FIELDS, ids=lambda field: field.name)
def test_fields_have_a_meaning_and_a_default_of_their_type(field):
    assert field.meaning
    assert field.optional or field.default is not None
    assert field.default is None or type(field.default) is field.type


def test_choices_are_those_of_the_code_that_reads_them():
    for name, choices in {
        "model.route": conditions.ROUTES,
        "model.remat": ["none", *(name for name in dit.REMAT if name != "none")],
        "sample.solver": solvers.SOLVERS,
        "sample.grid": grids.GRIDS,
        "distill.grid": grids.GRIDS,
    }.items():
        assert all(BY_NAME[name].allowed.holds(choice) for choice in choices)
        assert BY_NAME[name].allowed.expected.count('"') == 2 * len(choices)


def test_every_field_is_read():
    read = config_reads.read_fields(path.read_text() for path in SOURCES)
    assert sorted(BY_NAME.keys() - read) == []


def test_a_name_that_occurs_elsewhere_is_no_read():
    source = """
def train(config):
    optim, steps = config.optim, other.train.steps
    config.data.tasks = ()
    return apply(settings.seed, options=optim, solver=config.sample.solver)

def apply(seed, options, solver):
    "Reads config.flow.mask_padding and optim.b2."
    return options.b1, seed.ema_decay
"""
    assert config_reads.read_fields([source]) == {"optim.b1", "sample.solver"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_the_fields_of_the_table_with_allowed_values(name):
    config = load_recipe(name)
    assert fields.flatten(config).keys() == BY_NAME.keys()
    validation.check(config)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("optim.name", "foo", 'expected "adamw" or "muon"'),
        ("optim.learning_rate", float("nan"), "found nan, expected more than 0"),
        ("optim.max_grad_norm", 0.0, "found 0.0, expected more than 0, or None"),
        ("model.heads", 10, "expected a multiple of model.kv_heads, 12"),
        ("model.layers", 0, "expected at least 1"),
        ("model.layers", None, "found None, expected at least 1"),
        ("model.projected_widths.lips", 0, "found 0, expected at least 1, or None"),
        ("precision.compute", "float99", '"float32" or "bfloat16"'),
        ("data.duration", -4.0, "expected 0.04 to 3600"),
        ("data.tasks", ("sound", "music"), "a list, each"),
        ("data.corpus_clips", 5, "at least 9, or None"),
        ("dropout.frame_ratios", (0.5, 1.5), "a list, each 0 to 1"),
        ("seed", -1, "expected 0 to 2147483647"),
        ("train.steps", -1, "expected at least 1"),
        ("train.log_every", 0, "expected at least 1"),
        ("train.evaluate", None, "found None, expected a bool"),
        ("sample.solver", "x", '"euler"'),
        ("sample.scales.clip", float("inf"), "expected a finite number"),
        ("sample.grid", "0,0.5,0.4,1", "or times that ascend from 0 to 1"),
        ("sample.guidance_stop", 1.5, "expected 0 to 1"),
        ("distill.evaluations", (), "each at least 1, not empty"),
        ("flow.time_sampling", "zz", '"uniform" or "logit_normal"'),
        ("mesh.fsdp", 0, "expected at least 1, or -1"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(name, value, expected):
    config = fields.default_config()
    config.update_from_flattened_dict({name: value})
    with pytest.raises(InputError, match=name) as refusal:
        validation.check(config)
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--config.train.steps=-1"], "train.steps: found -1, expected at least 1"),
        (["--config.train.steps=None"], "train.steps: found None, expected at least 1"),
        (["--config.train.init_from=nowhere"], "train.init_from: found 'nowhere', expected the"),
        (["--config.nosuch=1"], "--config: found no field 'nosuch'"),
    ],
)
def test_a_wrong_field_ends_training_before_the_corpus(tmp_path, flags, message):
    done = in_process.run("train", "--config=grid", f"--workdir={tmp_path / 'run'}", *flags)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_recipe_that_is_no_python_is_said_to_be_so(tmp_path):
    done = in_process.run("train", f"--config={ROOT / 'README.md'}", f"--workdir={tmp_path}")
    assert done.returncode == 2 and done.stderr.startswith("error: --config: ")
    assert done.stderr.count("\n") == 1
