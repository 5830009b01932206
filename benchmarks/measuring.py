"""Shared code of the benchmarks: each row measured in a process of its own, a table, JSON.

A benchmark is a dictionary of rows, name -> function that returns {"seconds": [..], ..}. The rows
alternate for `--rounds` rounds, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from absl import flags

from vssflow_jax.config import command_line

Rows = Mapping[str, Callable[[], dict]]
MATRIX = "matrix product"  # prefix of the rows that measure the machine's rate


def main(
    make_rows: Callable[[], Rows],
    define_own_flags: Callable[[], None],
    reference: str,
    metric: str = "seconds",
) -> None:
    """Runs a benchmark as a command.

    Args:
      make_rows: returns the rows, once flags are parsed.
      define_own_flags: defines the flags of this benchmark.
      reference: the row whose time is 1.
      metric: the list of seconds that is compared.
    """

    def define_all_flags() -> None:
        define_flags()
        define_own_flags()

    command_line.run(lambda: measure_rows(make_rows(), reference, metric), define_all_flags)


def measure_rows(rows: Rows, reference: str, metric: str) -> None:
    """Prints the table of all rows, or with --row the numbers of one."""
    if flags.FLAGS.row:
        print(json.dumps({**rows[flags.FLAGS.row](), **report_memory()}))
        return
    results: dict[str, dict] = {}
    for _ in range(flags.FLAGS.rounds):
        for name in rows:
            merge_turn(results.setdefault(name, {}), measure_in_child(name))
    title = f"python -m {sys.modules['__main__'].__spec__.name} {' '.join(sys.argv[1:])}"
    print(format_table(title.strip(), results, reference, metric))
    if flags.FLAGS.json:
        Path(flags.FLAGS.json).write_text(json.dumps({"command": title, "rows": results}, indent=1))


def measure_in_child(name: str) -> dict:
    """The numbers of a row, measured in a fresh process."""
    return run_in_child(*sys.argv[1:], f"--row={name}")


def run_in_child(*arguments: str) -> dict:
    """What this benchmark prints as JSON in its last line, run in a fresh process."""
    command = [sys.executable, "-m", sys.modules["__main__"].__spec__.name, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def merge_turn(row: dict, turn: dict) -> None:
    """Adds the numbers of a turn to its row: lists grow, of peaks the largest stays."""
    for key, value in turn.items():
        if isinstance(value, list):
            row.setdefault(key, []).extend(value)
        else:
            row[key] = max(value, row.get(key, value)) if key.startswith("peak") else value


def time_calls(function: Callable[[], object]) -> list[float]:
    """Seconds of `--repeats` calls, after one that compiles and warms up."""
    function()
    seconds = []
    for _ in range(flags.FLAGS.repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory() -> int:
    """Peak resident bytes of this process; getrusage would include its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def reset_peak_memory() -> None:
    """Lets `peak_memory` count from what this process has in memory now."""
    Path("/proc/self/clear_refs").write_text("5")


def report_memory() -> dict[str, float]:
    """Peak memory of this process, and of its accelerator if it used one."""
    out = {"peak_GB": peak_memory() / 1e9}
    if "jax" in sys.modules:
        stats = sys.modules["jax"].devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            out["peak_device_GB"] = stats["peak_bytes_in_use"] / 1e9
    return out


def format_table(title: str, results: Mapping[str, dict], reference: str, metric: str) -> str:
    """Markdown: best and median, relative to the reference, rate and share of the machine's."""
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
            lines.append(format_row(cells))
    return "\n".join(lines)


def format_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def has_packages(*packages: str) -> bool:
    """Whether packages are installed."""
    return all(importlib.util.find_spec(package) for package in packages)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("row", None, "Measure this row alone in this process and print JSON.")
    flags.DEFINE_integer("rounds", 2, "Turns of each row.")
    flags.DEFINE_integer("repeats", 3, "Measured calls in a turn, after a warm-up.")
    flags.DEFINE_string("json", None, "File for the numbers.")
