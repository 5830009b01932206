"""Writes configuration.md from configs/base.py: python docs/make_configuration.py."""

from __future__ import annotations

import re
from pathlib import Path

from vssflow_jax.config.validation import rules

DOCS = Path(__file__).parent
BASE = DOCS.parent / "configs" / "base.py"
FIELD = re.compile(r"^    config\.([\w.]+) = (.+?)(?:  # (.*))?$")
HEAD = """# Configuration

Every field of a run, from `configs/base.py`, which holds the paper's joint model. A recipe
changes a few of them; a flag changes one: `--config.optim.learning_rate=1e-3`. This page is
written by `python docs/make_configuration.py`.
"""
TABLE = "\n| field | default | may be | meaning |\n|---|---|---|---|"


def fields(text: str):
    """(name, default, meaning) of each field in the text of base.py, groups with no default."""
    lines = text.replace("ConfigDict(  # ", "ConfigDict()  # ").splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        found = FIELD.match(line)
        if not found:
            continue
        name, default, meaning = found.groups()
        group = default == "ConfigDict()"
        nested = after.strip() if group and after.strip().startswith("{") else ""
        yield name, nested or ("" if group else default), meaning or ""


def page(text: str) -> str:
    """The page for the text of base.py."""
    out, wanted = [HEAD], {name: rule.wanted for name, rule in rules()}
    for name, default, meaning in fields(text):
        if not default:
            out.append(f"\n## {name}\n{TABLE}")
            continue
        if "." not in name:
            out.append(TABLE)
        meaning = meaning.replace("|", "\\|")
        out.append(f"| `{name}` | `{default}` | {wanted.get(name, '')} | {meaning} |")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    (DOCS / "configuration.md").write_text(page(BASE.read_text()), encoding="utf-8")
