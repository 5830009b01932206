"""The tables and pictures of docs/results.md: `python -m benchmarks.claims.tables`.

Between `<!-- table: NAME -->` and `<!-- end -->` the page has what this module makes of the
file of results; all else on the page is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.claims import intervals, results, rows
from vssflow_jax.common.files import replacing, write_text
from vssflow_jax.reports import plots

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
PICTURE = "solvers.png"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TITLES = {
    "loss": "flow loss",
    "wer": "word errors",
    "mcd": "MCD, dB",
    "onset_f1": "onset F1",
    "sound_class_accuracy": "sound class",
    "speaker_accuracy": "speaker",
}
JOINT = ("wer", "onset_f1", "sound_class_accuracy", "mcd")
SAMPLED = {  # columns of the tables of one model's samplings
    "times": (("speech", "wer"), ("speech", "mcd")),
    "guidance": tuple(("joint", name) for name in JOINT),
    "solvers": tuple(("joint", name) for name in JOINT),
}


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)) + "\n"


def title(column: tuple[str, str]) -> str:
    """Head of a column."""
    return f"{column[0]}: {TITLES[column[1]]}"


# ---- trainings ----------------------------------------------------------------------------


def trained(table: rows.Table, runs: Mapping[str, Mapping]) -> str:
    """Means over seeds, and differences from the table's first row, paired by seed."""
    named = {name: runs[row] for name, row in table.rows.items() if row in runs}
    if not named:
        return "Not done.\n"
    values = {
        name: {column: intervals.of_row(some, *column) for column in table.columns}
        for name, some in named.items()
    }
    columns = [c for c in table.columns if any(cells[c] for cells in values.values())]
    means = [
        [name, f"{len(named[name])}", *(shown(list(cells[c].values())) for c in columns)]
        for name, cells in values.items()
    ]
    first, *others = values
    apart = [
        [name, *(change(values[name][c], values[first][c]) for c in columns)] for name in others
    ]
    head = [title(column) for column in columns]
    parts = [markdown(["trained on", "seeds", *head], means)]
    if apart:
        parts.append(markdown([f"less {first}", *head], apart))
    return "\n".join([*parts, took(named)])


def took(named: Mapping[str, Mapping]) -> str:
    """Sizes, seeds, time and dates of a table's runs, and what is missing of them."""
    runs = [run for some in named.values() for run in some.values()]
    parameters = sorted(run["parameters"] for run in runs)
    sizes = " to ".join(f"{count:,}" for count in sorted({parameters[0], parameters[-1]}))
    steps = ", ".join(str(count) for count in sorted({run["steps"] for run in runs}))
    seconds = sum(run["seconds"] for run in runs)
    dates = " to ".join(sorted({run["date"] for run in runs}))
    seeds = ", ".join(sorted({seed for some in named.values() for seed in some}))
    return (
        f"{len(runs)} runs, seeds {seeds}; {sizes} parameters; {steps} steps; "
        f"{seconds / 3600:.2f} hours of training in all; {dates}.\n"
    )


def shown(values: Sequence[float]) -> str:
    """A mean with its interval."""
    if not values:
        return "-"
    mean, half = intervals.interval(values)
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def change(ours: Mapping[str, float], first: Mapping[str, float]) -> str:
    """A paired difference, bold where its interval leaves 0 out."""
    found = intervals.paired(ours, first)
    if found is None:
        return "-"
    text = f"{found.mean:+.3f}" + ("" if found.half is None else f" ± {found.half:.3f}")
    return f"**{text}**" if found.beside_zero else text


# ---- samplings of one model ---------------------------------------------------------------


def sampled(settings: Mapping[str, Mapping], columns: Sequence[tuple[str, str]]) -> str:
    """Scores with intervals over clips, bold where they differ from the first setting's."""
    lines = [
        [name, *(cell(by_task.get(task, {}).get(score)) for task, score in columns)]
        for name, by_task in settings.items()
    ]
    first = next(iter(settings.values()))
    floors = [first.get(task, {}).get(score, {}).get("floor") for task, score in columns]
    lines.append(["truth through the codec", *("-" if f is None else f"{f:.3f}" for f in floors)])
    return markdown(["setting", *map(title, columns)], lines)


def sampler(about: Mapping) -> str:
    """What model was sampled, how, when and for how long."""
    model, how = about["model"], about["sampler"]
    weights = f", weights `{model['weights'][:16]}`" if "weights" in model else ""
    own = ", ".join(f"{name} {scale:g}" for name, scale in how["scales"].items() if scale)
    return (
        f"Model `{model['folder']}`, step {model['step']}{weights}; where not said otherwise "
        f"{how['solver']}, {how['steps']} steps, guidance {how['guidance']:g}"
        f"{f' ({own})' if own else ''}; {about['clips']} clips; {about['seconds']:.0f} s; "
        f"{about['date']}.\n"
    )


def cell(found: Mapping | None) -> str:
    """A score with its interval."""
    if found is None:
        return "-"
    low, high = found["ci95"]
    text = f"{found['score']:.3f} ({low:.3f} to {high:.3f})"
    low, high = found.get("difference_ci95", (0, 0))
    return f"**{text}**" if low > 0 or high < 0 else text


def errors(curve: Mapping) -> str:
    """Errors to the fine solution, a line a solver."""
    counts = sorted({count for points in curve["errors"].values() for count, _ in points})
    lines = []
    for solver, points in curve["errors"].items():
        known = dict(map(tuple, points))
        lines.append([solver, *(f"{known[n]:.4f}" if n in known else "" for n in counts)])
    return markdown(["solver", *map(str, counts)], lines)


# ---- the page -----------------------------------------------------------------------------


def tables(found: Mapping) -> dict[str, str]:
    """All tables by name."""
    runs = found.get("training", {}).get("rows", {})
    out = {name: trained(table, runs) for name, table in rows.TABLES.items()}
    for name, columns in SAMPLED.items():
        if name in found:
            settings = found[name]["settings"]
            made = sampled(settings.get("points", settings), columns)
            out[name] = f"{made}\n{sampler(found[name]['about'])}"
    if "solvers" in found:
        curve = found["solvers"]["settings"]["curve"]
        out["curve"] = f"{errors(curve)}\n![Error of the latent by solver]({PICTURE})\n"
    return out


def page(text: str, found: Mapping) -> str:
    """The page with its tables made anew."""
    made = tables(found)
    return MARKED.sub(lambda m: f"{m[1]}\n{made.get(m[2], 'Not done.')}\n{m[3]}", text)


def main() -> None:
    """Rewrites the page's tables and its picture."""
    found = json.loads(results.FILE.read_text())
    write_text(PAGE, page(PAGE.read_text(), found))
    if "solvers" in found:
        curve = found["solvers"]["settings"]["curve"]["errors"]
        labels = ("velocity evaluations", "error of the latent")
        with replacing(PAGE.with_name(PICTURE)) as partial:
            partial.write_bytes(plots.plot_lines(curve, labels, plots.LIGHT))


if __name__ == "__main__":
    main()
