"""Lists of NAME=VALUE."""

from __future__ import annotations

import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.pairs import parse_pairs


def test_a_value_is_all_after_the_first_sign():
    assert parse_pairs(["Anna=a=b.wav", "Bob=c.wav"], "--voice", "") == {
        "Anna": "a=b.wav", "Bob": "c.wav",
    }  # fmt: skip
    assert parse_pairs([], "--voice", "") == {}


@pytest.mark.parametrize("item", ["", "sync", "=1", " =1", "sync=", "sync= "])
def test_an_item_that_is_no_pair_is_named(item):
    with pytest.raises(InputError, match=f"--scales: found '{item}', expected like sync=1"):
        parse_pairs(["clip=1", item], "--scales", "like sync=1")


def test_a_name_has_one_value():
    with pytest.raises(InputError, match="--scales: found 'sync' twice, expected it once"):
        parse_pairs(["sync=1", "clip=2", "sync=1"], "--scales", "like sync=1")
