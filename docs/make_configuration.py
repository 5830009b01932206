"""Writes configuration.md from the table of fields: python docs/make_configuration.py."""

from __future__ import annotations

import json
from pathlib import Path

from vssflow_jax.config.fields import FIELDS, GROUPS, Field

PAGE = Path(__file__).parent / "configuration.md"
HEAD = """# Configuration

Every field of a run, from `vssflow_jax/config/fields.py`. The defaults are the paper's joint
model. A recipe in `configs/` changes a few fields, and a flag changes one:
`--config.optim.learning_rate=1e-3`. Optional fields also take `None`:
`--config.optim.max_grad_norm=None`.

A run resumes with the config of its checkpoint: another value of a field is an error that names
both, except for fields marked "yes" under "may change", which do not alter what is learned from
the same step on (apart from rounding).

This page is written by `python docs/make_configuration.py`.
"""
TABLE = (
    "| field | type | default | allowed | unit | may change | meaning |\n"
    "|---|---|---|---|---|---|---|"
)


def row(field: Field) -> str:
    """A field's line of the table."""
    default = json.dumps(field.default) if field.type is str else str(field.default)
    allowed = field.allowed.expected + (" or None" if field.optional else "")
    may_change = "yes" if field.mutable else ""
    cells = (f"`{field.name}`", field.type.__name__, f"`{default}`", allowed, field.unit,
             may_change, field.meaning)  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The text of configuration.md."""
    sections = []
    for group in ("", *GROUPS):
        rows = [row(field) for field in FIELDS if field.name.rpartition(".")[0] == group]
        heading = f"## {group}\n\n{GROUPS[group]}\n\n" if group else ""
        sections.append(f"{heading}{TABLE}\n" + "\n".join(rows) + "\n")
    return "\n".join((HEAD, *sections))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
