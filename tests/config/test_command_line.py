"""Flags of a recipe's fields."""

import io
import sys
import unicodedata

import pytest
from absl import flags

from vssflow_jax.config import command_line, recipes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ml_collections


@pytest.fixture
def config_of(monkeypatch):
    """The config that a command gets with some flags."""

    def parsed(*arguments):
        values, argv = flags.FlagValues(), ["train", "--config=grid", *arguments]
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


def test_paths_expand_the_home_folder_and_match_accents(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    apart = unicodedata.normalize("NFD", "é.mp4")
    (tmp_path / apart).touch()
    values = flags.FlagValues()
    command_line.define_path("video", None, "A file.", flag_values=values)
    for text, path in (
        ("~/a:b%d.mp4", tmp_path / "a:b%d.mp4"),
        ("~no_such_user/x", "~no_such_user/x"),
        (str(tmp_path / unicodedata.normalize("NFC", "é.mp4")), tmp_path / apart),
        ("", ""),
    ):
        values(["command", f"--video={text}"])
        assert values.video == str(path)
    for address in ("https://example.org/a.mp4", "s3://bucket/a.mp4", "file:///a.mp4"):
        with pytest.raises(flags.IllegalFlagValueError, match="found an address, expected a path"):
            values(["command", f"--video={address}"])
    resolved = recipes.resolve_flags(["train", "--config.data.shards=~/shards"])
    assert resolved[1] == f"--config.data.shards={tmp_path}/shards"


def test_names_that_are_no_utf8_are_printed_with_escapes():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    command_line.escape_names(stream)
    print("caf\udce9.mp4", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"caf\\udce9.mp4\n"
