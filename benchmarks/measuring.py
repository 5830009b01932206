"""What the benchmarks share: each row measured in a process of its own, a table, JSON.

A benchmark is a dictionary of rows, name -> function, that returns {"seconds": [..], ..}. The
rows take turns for `--rounds` rounds, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from absl import app, flags

ROW = flags.DEFINE_string("row", None, "Measures this row alone, here, and prints JSON.")
ROUNDS = flags.DEFINE_integer("rounds", 2, "How many times each row has its turn.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Measured calls in a turn, after one that warms up.")
OUT = flags.DEFINE_string("json", None, "File for the numbers.")

Rows = Mapping[str, Callable[[], dict]]
MATRIX = "matrix product"  # rows whose name starts so give the machine's rate


def main(rows: Callable[[], Rows], reference: str, metric: str = "seconds") -> None:
    """The whole of a benchmark's command.

    Args:
      rows: gives the rows, once flags are parsed.
      reference: the row whose time is 1.
      metric: the list of seconds that is compared.
    """
    app.run(lambda _: _main(rows(), reference, metric))


def _main(rows: Rows, reference: str, metric: str) -> None:
    if ROW.value:
        print(json.dumps({**rows[ROW.value](), **memory()}))
        return
    results: dict[str, dict] = {}
    for _ in range(ROUNDS.value):
        for name in rows:
            merge(results.setdefault(name, {}), child(name))
    title = f"python -m {sys.modules['__main__'].__spec__.name} {' '.join(sys.argv[1:])}"
    print(table(title.strip(), results, reference, metric))
    if OUT.value:
        Path(OUT.value).write_text(json.dumps({"command": title, "rows": results}, indent=1))


def child(name: str) -> dict:
    """A row, measured in a fresh process."""
    module = sys.modules["__main__"].__spec__.name
    command = [sys.executable, "-m", module, *sys.argv[1:], f"--row={name}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def merge(into: dict, found: dict) -> None:
    """Adds a turn's numbers to a row's: lists grow, the largest of single numbers stays."""
    for key, value in found.items():
        if isinstance(value, list):
            into.setdefault(key, []).extend(value)
        else:
            into[key] = max(value, into.get(key, value)) if key.startswith("peak") else value


def clock(function: Callable[[], object]) -> list[float]:
    """Seconds of some calls, after one that compiles and warms up."""
    function()
    seconds = []
    for _ in range(REPEATS.value):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak() -> int:
    """Bytes that this process had in memory at most; getrusage would count its parent's too."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def memory() -> dict[str, float]:
    """Peak memory of this process, and of its accelerator where it used one."""
    out = {"peak_GB": peak() / 1e9}
    if "jax" in sys.modules:
        stats = sys.modules["jax"].devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            out["peak_device_GB"] = stats["peak_bytes_in_use"] / 1e9
    return out


def table(title: str, results: Mapping[str, dict], reference: str, metric: str) -> str:
    """Markdown: best and median, against the reference, rate and share of the machine's."""
    base = min(results[reference][metric]) if reference in results else None
    rates = {
        name.removeprefix(MATRIX).strip(): row["flops"] / min(row["seconds"])
        for name, row in results.items()
        if name.startswith(MATRIX)
    }
    lines = [
        f"`{title}`",
        "",
        f"| row | best s | median s | of {reference} | GFLOP/s | share of matrix rate | peak GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        lists = {key: values for key, values in row.items() if isinstance(values, list)}
        for key, seconds in lists.items():
            best, label = min(seconds), name if key == "seconds" else f"{name}: {key}"
            flops = row.get("flops" if key == "seconds" else f"{key} flops")
            rate = flops / best if flops else None
            top = rates.get(row.get("type"))
            cells = [
                label,
                f"{best:.3g}",
                f"{statistics.median(seconds):.3g}",
                f"{best / base:.2f}" if base and key == metric and "type" in row else "",
                f"{rate / 1e9:.0f}" if rate else "",
                f"{rate / top:.0%}" if rate and top else "",
                f"{row.get('peak_device_GB', row['peak_GB']):.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def has(*packages: str) -> bool:
    """Whether packages are installed."""
    return all(importlib.util.find_spec(package) for package in packages)
