"""Lists of NAME=VALUE, as flags have them."""

from __future__ import annotations

from collections.abc import Iterable

from vssflow_jax.common.errors import InputError


def parse_pairs(items: Iterable[str], flag: str, expected: str) -> dict[str, str]:
    """Values by name, from items such as sync=1.8.

    Args:
      items: text, a pair each.
      flag: where they are from, for messages.
      expected: an item in words, for messages.

    Raises:
      InputError: an item without a name, the sign or a value, or a name that has another value.
    """
    pairs: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise InputError(f"{flag}: found {item!r}, expected {expected}")
        if name in pairs:
            raise InputError(f"{flag}: found {name!r} twice, expected it once")
        pairs[name] = value
    return pairs
