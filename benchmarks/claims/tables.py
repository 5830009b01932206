"""The tables and pictures of docs/results.md: `python -m benchmarks.claims.tables`.

The page has the generated tables between `<!-- table: NAME -->` and `<!-- end -->`; the rest of it
is written by hand.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import measuring
from benchmarks.claims import intervals, results, rows
from vssflow_jax.common.files import replacing, write_text
from vssflow_jax.reports import plots

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
PICTURE = "solvers.png"
WIDTH = 100  # of lines
TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TITLES = {
    "loss": "flow loss",
    "wer": "word errors",
    "mcd": "MCD, dB",
    "onset_f1": "onset F1",
    "sound_class_accuracy": "sound class",
    "speaker_accuracy": "speaker",
}
JOINT = ("wer", "onset_f1", "sound_class_accuracy", "mcd")
SAMPLING_COLUMNS = {  # of the tables of one model's samplings
    "times": (("speech", "wer"), ("speech", "mcd")),
    "guidance": tuple(("joint", name) for name in JOINT),
    "solvers": tuple(("joint", name) for name in JOINT),
}


def format_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(map(measuring.format_row, (head, rule, *rows))) + "\n"


def column_title(column: tuple[str, str]) -> str:
    """The head of a column."""
    return f"{column[0]}: {TITLES[column[1]]}"


# ---- trainings ----------------------------------------------------------------------------


def format_trainings(table: rows.Table, runs: Mapping[str, Mapping]) -> str:
    """Means over seeds, and differences from the table's first row, paired by seed."""
    runs_by_name = {name: runs[row] for name, row in table.rows.items() if row in runs}
    if not runs_by_name:
        return "Not done.\n"
    values = {
        name: {column: intervals.scores_by_seed(some, *column) for column in table.columns}
        for name, some in runs_by_name.items()
    }
    columns = [c for c in table.columns if any(cells[c] for cells in values.values())]
    means = [
        [
            name,
            f"{len(runs_by_name[name])}",
            *(format_mean(list(cells[c].values())) for c in columns),
        ]
        for name, cells in values.items()
    ]
    first, *others = values
    differences = [
        [name, *(format_difference(values[name][c], values[first][c]) for c in columns)]
        for name in others
    ]
    head = [column_title(column) for column in columns]
    parts = [format_markdown(["trained on", "seeds", *head], means)]
    if differences:
        parts.append(format_markdown([f"less {first}", *head], differences))
    return "\n".join([*parts, describe_runs(runs_by_name)])


def describe_runs(runs_by_name: Mapping[str, Mapping]) -> str:
    """Sizes, seeds, time and dates of a table's runs."""
    runs = [run for some in runs_by_name.values() for run in some.values()]
    parameters = sorted(run["parameters"] for run in runs)
    sizes = " to ".join(f"{count:,}" for count in sorted({parameters[0], parameters[-1]}))
    steps = ", ".join(str(count) for count in sorted({run["steps"] for run in runs}))
    seconds = sum(run["seconds"] for run in runs)
    dates = " to ".join(sorted({run["date"] for run in runs}))
    seeds = ", ".join(sorted({seed for some in runs_by_name.values() for seed in some}))
    text = (
        f"{len(runs)} runs, seeds {seeds}; {sizes} parameters; {steps} steps; "
        f"{seconds / 3600:.2f} hours of training in all; {dates}."
    )
    return f"{textwrap.fill(text, WIDTH)}\n"


def format_mean(values: Sequence[float]) -> str:
    """A mean with its interval."""
    if not values:
        return "-"
    mean, half = intervals.student_interval(values)
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def format_difference(ours: Mapping[str, float], first: Mapping[str, float]) -> str:
    """A paired difference, bold where its interval excludes 0."""
    difference = intervals.paired_difference(ours, first)
    if difference is None:
        return "-"
    half = "" if difference.half is None else f" ± {difference.half:.3f}"
    text = f"{difference.mean:+.3f}{half}"
    return f"**{text}**" if difference.excludes_zero else text


# ---- samplings of one model ---------------------------------------------------------------


def format_samplings(settings: Mapping[str, Mapping], columns: Sequence[tuple[str, str]]) -> str:
    """Scores with intervals over clips, bold where they differ from the first setting's."""
    lines = [
        [name, *(format_score(by_task.get(task, {}).get(score)) for task, score in columns)]
        for name, by_task in settings.items()
    ]
    first = next(iter(settings.values()))
    floors = [first.get(task, {}).get(score, {}).get("floor") for task, score in columns]
    lines.append(["truth through the codec", *("-" if f is None else f"{f:.3f}" for f in floors)])
    return format_markdown(["setting", *map(column_title, columns)], lines)


def describe_samplings(about: Mapping) -> str:
    """The sampled model, the sampler, clips, time and date."""
    model, options = about["model"], about["sampler"]
    weights = f", weights `{model['weights'][:16]}`" if "weights" in model else ""
    own = ", ".join(f"{name} {scale:g}" for name, scale in options["scales"].items() if scale)
    text = (
        f"Model `{model['folder']}`, step {model['step']}{weights}; where not said otherwise "
        f"{options['solver']}, {options['steps']} steps, guidance {options['guidance']:g}"
        f"{f' ({own})' if own else ''}; {about['clips']} clips; {about['seconds']:.0f} s; "
        f"{about['date']}."
    )
    return f"{textwrap.fill(text, WIDTH)}\n"


def format_score(score: Mapping | None) -> str:
    """A score with its interval, bold where it differs from the first setting's."""
    if score is None:
        return "-"
    low, high = score["ci95"]
    text = f"{score['score']:.3f} ({low:.3f} to {high:.3f})"
    low, high = score.get("difference_ci95", (0, 0))
    return f"**{text}**" if low > 0 or high < 0 else text


def format_curve(curve: Mapping) -> str:
    """Errors against the fine solution, a row a solver."""
    counts = sorted({count for points in curve["errors"].values() for count, _ in points})
    lines = []
    for solver, points in curve["errors"].items():
        errors = dict(map(tuple, points))
        lines.append([solver, *(f"{errors[n]:.4f}" if n in errors else "" for n in counts)])
    return format_markdown(["solver", *map(str, counts)], lines)


# ---- the page -----------------------------------------------------------------------------


def format_tables(values: Mapping) -> dict[str, str]:
    """All tables by name, from the file of results."""
    runs = values.get("training", {}).get("rows", {})
    out = {name: format_trainings(table, runs) for name, table in rows.TABLES.items()}
    for name, columns in SAMPLING_COLUMNS.items():
        if name in values:
            settings = values[name]["settings"]
            table = format_samplings(settings.get("points", settings), columns)
            out[name] = f"{table}\n{describe_samplings(values[name]['about'])}"
    if "solvers" in values:
        curve = values["solvers"]["settings"]["curve"]
        out["curve"] = f"{format_curve(curve)}\n![Error of the latent by solver]({PICTURE})\n"
    return out


def update_page(text: str, values: Mapping) -> str:
    """The page with new tables."""
    tables = format_tables(values)
    return TABLE.sub(lambda m: f"{m[1]}\n{tables.get(m[2], 'Not done.')}\n{m[3]}", text)


def main() -> None:
    """Rewrites the page's tables and its picture."""
    values = json.loads(results.FILE.read_text())
    write_text(PAGE, update_page(PAGE.read_text(), values))
    if "solvers" in values:
        curve = values["solvers"]["settings"]["curve"]["errors"]
        labels = ("velocity evaluations", "error of the latent")
        with replacing(PAGE.with_name(PICTURE)) as partial:
            partial.write_bytes(plots.plot_lines(curve, labels, plots.LIGHT))


if __name__ == "__main__":
    main()
