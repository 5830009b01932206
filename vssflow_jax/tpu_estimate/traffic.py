"""Where the memory traffic of a step comes from: by part of the network, pass and kind."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

from vssflow_jax.tpu_estimate.costs import Transfer, count_bytes
from vssflow_jax.training.chips import GIB

# What JAX adds to a path besides the names of modules: transformations, loops, branches, methods,
# specifications of products, arguments.
_ADDED = re.compile(
    r".*\(.*|while|body|cond|closed_call|checkpoint|rematted_computation|branch_\d+_fun|shard_map"
    r"|.*->.*|[A-Z]\w*\.\w+|.*<.*|.*\[.*"
)
PARTS = 3  # names of modules that a part of the network is told apart by
PASSES = ("forward", "recomputed", "backward", "update", "-")
COLUMNS = ("GiB", "share", "part of the network", "pass", "kind", "instructions", "runs")


def find_pass(path: str) -> str:
    """The pass of a training step that a path is of, one of PASSES; "-": there is no path."""
    if not path:
        return "-"
    if "rematted_computation" in path:
        return "recomputed"
    if "transpose(" in path:
        return "backward"
    return "forward" if "jvp(" in path else "update"


def find_part(path: str) -> str:
    """The first modules of a path, "dit/blocks/attention"; "-": it names none."""
    names = [name for name in path.split("/")[:-1] if name and not _ADDED.fullmatch(name)]
    return "/".join(names[:PARTS]) or "-"


def group_transfers(transfers: Sequence[Transfer]) -> dict[tuple[str, str, str], list[Transfer]]:
    """Transfers by part of the network, pass and kind, those that move most first."""
    groups = collections.defaultdict(list)
    for one in transfers:
        groups[find_part(one.path), find_pass(one.path), one.kind].append(one)
    return dict(sorted(groups.items(), key=lambda item: -count_bytes(item[1])))


def describe_traffic(transfers: Sequence[Transfer]) -> str:
    """A table of all groups, the largest first, and their sum."""
    total = count_bytes(transfers)
    rows = [COLUMNS]
    for (part, direction, kind), group in group_transfers(transfers).items():
        moved, runs = count_bytes(group), sum(one.times for one in group)
        share = f"{moved / total:.1%}"
        rows.append((f"{moved / GIB:.3f}", share, part, direction, kind, len(group), runs))
    runs = sum(one.times for one in transfers)
    rows.append((f"{total / GIB:.3f}", "", "sum", "", "", len(transfers), runs))
    return "\n".join(_line(row) for row in rows)


def _line(row: Sequence) -> str:
    moved, share, part, direction, kind, count, runs = row
    return f"{moved:>10}{share:>8}  {part:40}{direction:12}{kind:22}{count:>13}{runs:>7}"
