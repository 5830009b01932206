"""Configs of older runs: renamed fields, changed values, and fields that no run has."""

import json

import pytest

from vssflow_jax import bundled
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import fields, load_recipe, migration

NAMES = {field.name for field in fields.FIELDS}


def old_fields(config) -> dict:
    """A config as it was saved before fields had today's names."""
    old_names = {new: old for old, new in migration.RENAMED.items()}
    old_values = {(name, new): old for (name, old), new in migration.OLD_VALUES.items()}
    values = {}
    for name, value in fields.flatten(config).items():
        if name in migration.ZERO_FOR_NONE and value is None:
            value = 0
        if isinstance(value, str):
            value = old_values.get((name, value), value)
        values[old_names.get(name, name)] = value
    return json.loads(json.dumps(fields.nest(values)))


def test_old_names_lead_to_fields_and_are_none_themselves():
    assert set(migration.RENAMED.values()) | migration.ZERO_FOR_NONE <= NAMES
    assert not migration.RENAMED.keys() & NAMES


@pytest.mark.parametrize("name", ["quickstart", "grid", "joint", "codec"])
def test_a_config_with_the_old_names_is_todays(name):
    config = load_recipe(name)
    saved = old_fields(config)
    assert saved["optim"]["kind"] and "name" not in saved["optim"]
    assert migration.parse_config(saved, "config.json").to_dict() == config.to_dict()


def test_a_saved_config_comes_back():
    config = load_recipe("grid")
    config.sample.scales.lips = 0.0
    config.optim.max_grad_norm = None
    saved = json.loads(config.to_json())
    assert migration.parse_config(saved, "config.json").to_dict() == config.to_dict()


def test_zero_was_the_common_scale_and_is_zero():
    old = {"optim": {"kind": "muon"}, "sample": {"scales": {"sync": 0.0, "clip": 2.0}}}
    scales = migration.parse_config(old, "config.json").sample.scales
    assert (scales.sync, scales.clip) == (None, 2.0)
    new = {"sample": {"scales": {"sync": 0.0}}}
    assert migration.parse_config(new, "config.json").sample.scales.sync == 0.0


def test_unknown_fields_are_named_together():
    with pytest.raises(InputError, match=r"a/config.json: found unknown fields model.depth, size"):
        migration.parse_config({"model": {"depth": 3}, "size": 1}, "a/config.json")


def test_a_value_of_another_type_is_named():
    with pytest.raises(InputError, match=r"config.json: model.layers: found 'many'"):
        migration.parse_config({"model": {"layers": "many"}}, "config.json")


@pytest.mark.parametrize("name", bundled.list_models())
def test_bundled_models_have_todays_names(name):
    saved = json.loads((bundled.model_folder(name) / bundled.CONFIG).read_text())
    assert fields.flatten(saved).keys() <= NAMES
