"""The pages with equations: their functions and fields exist; each improved field is explained."""

import importlib
import re

import pytest
from helpers.paths import ROOT

from vssflow_jax.config import default_config, improved
from vssflow_jax.config.fields import flatten

PAGES = [(ROOT / "docs" / f"{name}.md").read_text() for name in ("equations", "few_steps")]
NAMES = sorted(set(re.findall(r"`((?:[a-z_]\w*\.)+\w+)`", "\n".join(PAGES))))
FIELDS = [name for name in NAMES if re.match(r"config\.(?!fields\.|rules\.)", name)]
FUNCTIONS = [name for name in NAMES if name not in FIELDS]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_exists(name):
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            target = importlib.import_module(".".join(["vssflow_jax", *parts[:cut]]))
            break
        except ModuleNotFoundError:
            continue
    for part in parts[cut:]:
        target = getattr(target, part)
    assert callable(target)


def test_each_field_exists():
    fields = {name.removeprefix("config.") for name in FIELDS}
    assert fields and fields <= set(flatten(default_config()))


def test_each_field_that_the_improved_recipes_change_is_explained():
    before, after = flatten(default_config()), flatten(improved(default_config()))
    changed = {name for name in before if before[name] != after[name]}
    assert changed and changed <= {name.removeprefix("config.") for name in FIELDS}
