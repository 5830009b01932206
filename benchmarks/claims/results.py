"""The file of results: one JSON object, a part a command."""

from __future__ import annotations

import json
from pathlib import Path

from vssflow_jax.common.files import write_text

FILE = Path(__file__).parent / "results.json"


def update(path: Path, part: str, found: dict) -> None:
    """Puts one part into the file; the others stay."""
    known = json.loads(path.read_text()) if path.exists() else {}
    write_text(path, json.dumps({**known, part: found}, indent=1) + "\n")
