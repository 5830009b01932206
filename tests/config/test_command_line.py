"""Flags of a recipe's fields."""

import sys

import pytest
from absl import flags

from vssflow_jax.config import command_line, recipes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ml_collections


@pytest.fixture
def config_of(monkeypatch):
    """The config that a command gets with some flags."""

    def parsed(*arguments):
        values, argv = flags.FlagValues(), ["train", "--config=quickstart", *arguments]
        monkeypatch.setattr(sys, "argv", recipes.resolve_flags(argv))
        command_line.define_config(None, "Recipe.", values)
        values(sys.argv)
        return values.config

    return parsed


def test_numbers_that_are_optional_take_none(config_of):
    config = config_of(
        "--config.optim.max_grad_norm=None",
        "--config.sample.scales.sync=None",
        "--config.sample.scales.clip=0",
        "--config.model.projected_widths.lips=32",
        "--config.data.corpus_clips=12",
    )
    assert config.optim.max_grad_norm is None and config.sample.scales.sync is None
    assert config.sample.scales.clip == 0.0
    assert (config.model.projected_widths.lips, config.data.corpus_clips) == (32, 12)


def test_a_word_for_a_number_is_refused(config_of):
    with pytest.raises(flags.IllegalFlagValueError, match="nothing"):
        config_of("--config.optim.max_grad_norm=nothing")
