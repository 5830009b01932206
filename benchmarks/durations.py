"""How well phoneme times are predicted: `python benchmarks/durations.py CORPUS`, a Markdown table.

CORPUS is a folder of `python -m vssflow_jax.corpus`, whose alignments are exact. Times are
predicted from the true start on, as for a text without a video, and compared on the test split.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vssflow_jax.data.manifest import read_manifest
from vssflow_jax.text import timing
from vssflow_jax.text.schedule import predicted


def errors(clips, durations: Mapping[str, float]) -> tuple[float, float, float, int]:
    """Mean absolute errors in ms of boundaries, of durations, of the end; and clips compared."""
    boundaries, lasts, ends = [], [], []
    for text, truth in clips:
        meta = {"text": text, "alignment": truth, "duration": 4.0}
        found = predicted(meta, durations)
        if [i.symbol for i in found] != [i.symbol for i in truth]:
            continue
        gap = np.array([i.end for i in found]) - [i.end for i in truth]
        boundaries += list(abs(gap))
        lasts += list(abs(np.diff(gap, prepend=0.0)))
        ends.append(abs(gap[-1]))
    return (*(1000 * float(np.mean(x)) for x in (boundaries, lasts, ends)), len(ends))


def main() -> None:
    """Prints the table."""
    rows = [row for row in read_manifest(Path(sys.argv[1]) / "clips.csv") if row.alignment]
    said = {row.id: timing.read_alignment(row.alignment) for row in rows}
    learned = timing.context_durations(said[row.id] for row in rows if row.split == "train")
    means = {name: seconds for name, seconds in learned.items() if " " not in name}
    test = [(row.text, said[row.id]) for row in rows if row.split == "test"]
    print("| durations | boundary, ms | phoneme, ms | end, ms | clips |\n|---|---|---|---|---|")
    tables = {"typical": {}, "mean of the phoneme": means, "mean in context": learned}
    for name, durations in tables.items():
        *scores, count = errors(test, durations)
        print(f"| {name} | {' | '.join(f'{x:.1f}' for x in scores)} | {count} of {len(test)} |")


if __name__ == "__main__":
    main()
