"""Fuzzing for long: `python tests/fuzz --inputs=60000 --save=FOLDER`.

Each kind of input is damaged again and again and read in a process of its own. An input is fine if
it is read or refused by the one-line error of a user's mistake. Other exceptions, more than 20 s,
a file written elsewhere than in the output folder, a program started, an address opened and memory
that keeps growing are failures: the input is saved, and the exit status is 1.
`--reproduce=FILE --kinds=KIND` runs a saved input again, in this process.
"""

import argparse
import collections
import hashlib
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz import kinds, watch  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

SHARES = {  # of the inputs, by kind
    "media": 0.2, "shards": 0.1, "safetensors": 0.14, "tables": 0.16, "configs": 0.14,
    "texts": 0.26,
}  # fmt: skip
BATCH = 1000  # inputs of one search, which remembers what it has tried
MAX_GROWTH = 150e6  # bytes by which memory may grow from the second quarter to the last
SETTINGS = settings(
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Report:
    """The outcomes of a kind.

    Args:
      save: folder for the inputs of failures, one a reason.
    """

    def __init__(self, name: str, save: Path):
        self.name, self.save = name, save
        self.states: collections.Counter = collections.Counter()
        self.failures: dict[str, Path] = {}
        self.memory: list[int] = []

    def add(self, file: str, data: bytes, outcome: watch.Outcome) -> None:
        """Counts an outcome, and saves the input of a new kind of failure."""
        self.states[outcome.state] += 1
        if outcome.memory:
            self.memory.append(outcome.memory)
        reason = outcome.reason.partition(": ")[0]
        if outcome.state == watch.FAILED and reason not in self.failures:
            digest = hashlib.sha256(data).hexdigest()[:8]
            path = self.save / f"{self.name}-{digest}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self.failures[reason] = path
            print(f"{self.name}: {outcome.reason}\n  {path}", flush=True)

    def find_growth(self) -> float:
        """Bytes by which memory grew from the second quarter of the inputs to the last."""
        quarter = len(self.memory) // 4
        if not quarter:
            return 0.0
        early, late = self.memory[quarter : 2 * quarter], self.memory[-quarter:]
        return statistics.median(late) - statistics.median(early)

    def format(self, seconds: float) -> str:
        """A row of the table."""
        peak = max(self.memory, default=0) / 1e6
        total = sum(self.states.values())
        counts = " | ".join(
            f"{self.states[state]:,}" for state in (watch.READ, watch.REFUSED, watch.FAILED)
        )
        growth = f"{self.find_growth() / 1e6:+.0f} MB"
        return (
            f"| {self.name} | {total:,} | {counts} | {seconds:.0f} s | {peak:.0f} MB | {growth} |"
        )


def fuzz_kind(name: str, count: int, number: int, save: Path) -> Report:
    """Runs `count` inputs of a kind; `number` seeds them."""
    kind, report = kinds.MAKERS[name](), Report(name, save)
    worker, strategy = watch.Worker(kind), kind.inputs()
    try:
        for batch in range(-(-count // BATCH)):
            remaining = min(BATCH, count - batch * BATCH)

            @seed(number + batch)
            @settings(SETTINGS, max_examples=remaining)
            @given(strategy)
            def run(item):
                report.add(*item, worker.run(*item))

            run()
    finally:
        worker.stop()
    if report.find_growth() > MAX_GROWTH:
        report.states[watch.FAILED] += 1
        print(f"{name}: memory grew by {report.find_growth() / 1e6:.0f} MB", flush=True)
    return report


def main() -> int:
    """Flags in, a table out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=60_000, help="of all kinds together")
    parser.add_argument("--kinds", default=",".join(SHARES), help="some of the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("fuzz_failures"))
    parser.add_argument("--reproduce", type=Path, help="a saved input, of the one kind of --kinds")
    options = parser.parse_args()
    names = options.kinds.split(",")
    if options.reproduce:
        kind = kinds.MAKERS[names[0]]()
        file = next(name for name in kind.files if options.reproduce.as_posix().endswith(name))
        print(watch.run_input(kind, file, options.reproduce.read_bytes()))
        return 0
    share = sum(SHARES[name] for name in names)
    print("| kind | inputs | read | refused | failed | time | memory | growth |", flush=True)
    has_failed = False
    for name in names:
        start = time.monotonic()
        count = round(options.inputs * SHARES[name] / share)
        report = fuzz_kind(name, count, options.seed, options.save)
        print(report.format(time.monotonic() - start), flush=True)
        has_failed |= report.states[watch.FAILED] > 0
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
