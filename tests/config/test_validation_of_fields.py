"""What the fields of a run may be, and that it is looked at before anything is made."""

import pytest
from helpers import tiny_configs

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields, load_recipe, validation

RECIPES = sorted(
    str(path.relative_to(tiny_configs.ROOT / "configs").with_suffix(""))
    for path in (tiny_configs.ROOT / "configs").rglob("*.py")
)


def leaves(config, above=""):
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_every_field_has_a_rule_and_every_rule_a_field():
    assert sorted(name for name, _ in validation.rules()) == sorted(leaves(fields.default_config()))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_as_they_may_be(name):
    validation.check(load_recipe(name))


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("optim.kind", "foo", 'expected "adamw" or "muon"'),
        ("optim.learning_rate", float("nan"), "found nan, expected more than 0"),
        ("model.heads", 10, "expected a multiple of model.kv_heads, 12"),
        ("model.layers", 0, "expected at least 1"),
        ("precision.compute", "float99", '"float32" or "bfloat16"'),
        ("data.duration", -4.0, "expected more than 0"),
        ("data.tasks", ("sound", "music"), "a list, each"),
        ("data.corpus_clips", 5, "0 or at least 9"),
        ("dropout.frame_ratios", (0.5, 1.5), "a list, each 0 to 1"),
        ("seed", -1, "expected 0 to 2147483647"),
        ("train.steps", -1, "expected at least 1"),
        ("train.log_every", 0, "expected at least 1"),
        ("sample.solver", "x", '"euler"'),
        ("sample.scales.clip", float("inf"), "expected a finite number"),
        ("flow.time", "zz", '"uniform" or "logit_normal"'),
        ("mesh.fsdp", 0, "expected at least 1, or -1"),
    ],
)
def test_what_a_field_may_not_be_is_said(name, value, expected):
    config = fields.default_config()
    config.update_from_flattened_dict({name: value})
    with pytest.raises(InputError, match=name) as found:
        validation.check(config)
    assert expected in str(found.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--config.train.steps=-1"], "train.steps: found -1, expected at least 1"),
        (["--config.train.start=nowhere"], "train.start: found 'nowhere', expected the folder"),
        (["--config.nosuch=1"], "--config: found no field 'nosuch'"),
    ],
)
def test_a_wrong_field_ends_training_before_the_corpus(tmp_path, flags, message):
    done = tiny_configs.run("train", "--config=quickstart", f"--workdir={tmp_path / 'run'}", *flags)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_recipe_that_is_no_python_is_said_to_be_so(tmp_path):
    done = tiny_configs.run(
        "train", f"--config={tiny_configs.ROOT / 'README.md'}", f"--workdir={tmp_path}"
    )
    assert done.returncode == 2 and done.stderr.startswith("error: --config: ")
    assert done.stderr.count("\n") == 1
