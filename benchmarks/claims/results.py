"""The file of results: one JSON object, a part a command."""

from __future__ import annotations

import json
from pathlib import Path

from vssflow_jax.common.files import write_text

FILE = Path(__file__).parent / "results.json"


def update_results(path: Path, part: str, values: dict) -> None:
    """Replaces one part of the file; the others stay."""
    results = json.loads(path.read_text()) if path.exists() else {}
    write_text(path, json.dumps({**results, part: values}, indent=1) + "\n")
