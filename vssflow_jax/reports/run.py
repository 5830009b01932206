"""The report of a run, one HTML file: what was trained, curves, scores, and clips to hear.

The file is self-contained: sounds and pictures are embedded, nothing is fetched, no script runs.
Where the run lacks something (scores, a task, videos), a sentence says so.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from etils import epath

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import read_json, resolve, to_path, write_text
from vssflow_jax.conditions import LATENT_RATE
from vssflow_jax.data import shards
from vssflow_jax.generation.durations import load_duration_model
from vssflow_jax.reports import examples, plots
from vssflow_jax.reports.html import Figure, Image, data_uri, render
from vssflow_jax.training import checkpoint
from vssflow_jax.training.log import read_metrics

FILE = "report.html"

TASKS = {
    "speech": ("Speech", "A silent talker, the words, a reference voice; the model speaks."),
    "sound": ("Sound", "Silent events; the model generates their sound."),
    "joint": ("Both at once", "A silent talker and events in one clip, with the words."),
    "text": (
        "Speech without video",
        "The words and a reference voice alone; the phonemes' times are predicted, so they "
        "differ from the ground truth's.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a score of metrics.json is shown: title, unit, factor, decimals, the better direction."""

    title: str
    unit: str = ""
    factor: float = 1
    decimals: int = 3
    better: str = ""

    def format_value(self, value: float | None) -> str:
        """A score with its unit."""
        return "-" if value is None else f"{value * self.factor:.{self.decimals}f}{self.unit}"

    def format_interval(self, interval: tuple[float, float]) -> str:
        """Both ends of an interval, without the unit."""
        return " to ".join(f"{value * self.factor:.{self.decimals}f}" for value in interval)


METRICS = {
    "wer": Metric("Word error rate", " %", 100, 1, "lower"),
    "wer_homophones_equal": Metric("Word error rate, homophones equal", " %", 100, 1, "lower"),
    "wer_open": Metric("Word error rate, open recognizer", " %", 100, 1, "lower"),
    "wer_homophones_equal_open": Metric(
        "Word error rate, open recognizer, homophones equal", " %", 100, 1, "lower"
    ),
    "onset_f1": Metric("Onset F1 (within 50 ms)", better="higher"),
    "onset_mae_ms": Metric("Timing error of matched onsets", " ms", 1, 1, "lower"),
    "sound_class_accuracy": Metric("Sound class recognized", " %", 100, 1, "higher"),
    "speaker_accuracy": Metric("Voice recognized", " %", 100, 1, "higher"),
    "speaker_similarity": Metric("Similarity to the reference voice", better="higher"),
    "dvector_similarity": Metric("Similarity to the reference voice (d-vector)", better="higher"),
    "dvector_other_voice": Metric("The same of another voice's ground truth (d-vector)"),
    "mcd": Metric("Mel-cepstral distortion", " dB", 1, 2, "lower"),
    "kl": Metric("KL divergence from the truth", " nats", 1, 2, "lower"),
    "frechet": Metric("Fréchet distance", "", 1, 2, "lower"),
    "inception_score": Metric("Inception score", "", 1, 2, "higher"),
    "dnsmos": Metric("Predicted MOS (DNSMOS)", "", 1, 2, "higher"),
    "distillmos": Metric("Predicted MOS (DistillMOS)", "", 1, 2, "higher"),
    "utmos": Metric("Predicted MOS (UTMOS)", "", 1, 2, "higher"),
}
SENTENCES = Path("eval") / "sentences" / "metrics.json"  # of `evaluate --sentences`
PLOTTED = ("wer", "onset_f1", "sound_class_accuracy", "mcd")  # side by side, above the tables
CURVES = {
    "loss": "Loss",
    "grad_norm": "Gradient norm",
    "learning_rate": "Learning rate",
    "clips_per_second": "Clips a second",
    "input_wait_fraction": "Share of the time spent waiting for input",
}
SMOOTHED = ("loss", "grad_norm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One metric in a table of scores."""

    title: str
    better: str
    score: str
    interval: str
    floor: str
    ceiling: str
    ceiling_interval: str  # empty: there is none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """The scores of a task."""

    title: str
    clips: int
    skipped: Sequence[Mapping]
    rows: Sequence[Row]


# ---- reading ------------------------------------------------------------------------------


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units: 1 min 5 s."""
    hours, rest = divmod(round(seconds), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    nonzero = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(nonzero[:2]) or "0 s"


def read_optional_json(path: Path) -> dict:
    """The contents of a JSON file; empty without the file."""
    return read_json(path, "the description of a run") if path.exists() else {}


def count_parameters(workdir: Path) -> int | None:
    """Numbers in the newest checkpoint's weights, by its metadata; None without one."""
    folders = [p for p in (workdir / "checkpoints").glob("*/weights") if p.parent.name.isdigit()]
    if not folders:
        return None
    newest = resolve(max(folders, key=lambda p: int(p.parent.name)))
    with checkpoint.refusing_damage(str(newest)):
        tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(newest)).tree
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


# ---- what was trained ---------------------------------------------------------------------


def describe_run(workdir: Path, config: Mapping, log: Sequence[Mapping]) -> str:
    """The paragraph about model, training, codec and data."""
    model, train, data, optim = (config[part] for part in ("model", "train", "data", "optim"))
    width = model["heads"] * model["head_dim"]
    count = count_parameters(workdir)
    size = f"{count:,} parameters: " if count else ""
    text = (
        f"A flow-matching transformer, {size}{model['layers']} layers of width {width}, "
        f"{model['heads']} heads, conditions by the route “{model['route']}”. "
    )
    if log:
        last = log[-1]
        text += f"{last['step']:,} of {train['steps']:,} steps"
        text += f" in {format_seconds(last['seconds'])}" if "seconds" in last else ""
    else:
        text += "No step has been logged yet"
    text += (
        f", {data['batch_size']} clips of up to {data['duration']:g} s a step, "
        f"learning rate {optim['learning_rate']:g} ({optim['schedule']}), seed {config['seed']}. "
    )
    codec = read_optional_json(workdir / "codec" / "codec.json")
    if codec:
        text += f"Codec: {codec['kind']}, {LATENT_RATE} frames a second. "
    try:
        split = shards.load_dataset_info(data["shards"])["splits"]["train"]
    except InputError:
        return text + "The training data is no longer there."
    tasks = ", ".join(f"{number:,} {name}" for name, number in split["tasks"].items())
    return text + f"Trained on {split['clips']:,} clips ({tasks})."


# ---- curves and scores --------------------------------------------------------------------


def plot_themed(plot, alt: str, *, wide: bool = False) -> Image:
    """A plot in light and in dark; a wide one also has a narrow form for narrow windows.

    Args:
      plot: theme and `wide` to the bytes of a PNG.
      alt: what it shows.
      wide: over two columns of the page.
    """
    shapes = ((" and (max-width: 860px)", False), ("", True)) if wide else (("", False),)
    sources = [
        (
            f"(prefers-color-scheme: {scheme}){width_query}",
            data_uri(plot(theme, is_wide), "image/png"),
        )
        for width_query, is_wide in shapes
        for scheme, theme in (("dark", plots.DARK), ("light", plots.LIGHT))
    ]
    *alternatives, (_, default) = sources
    return Image(uri=default, alt=alt, sources=alternatives)


def plot_curves(log: Sequence[Mapping]) -> list[Figure]:
    """The curves of metrics.jsonl that have at least two points."""
    figures = []
    for name, title in CURVES.items():
        points = [(row["step"], row[name]) for row in log if row.get(name) is not None]
        if len(points) < 2:
            continue
        steps, values = zip(*points, strict=True)

        def plot(theme, wide, steps=steps, values=values, name=name):
            return plots.plot_curve(steps, values, theme, wide=wide, smooth=name in SMOOTHED)

        alt = f"{title} from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} at {steps[-1]}"
        wide = name == "loss"
        figures.append(Figure(caption=title, image=plot_themed(plot, alt, wide=wide), wide=wide))
    return figures


def plot_scores(metrics: Mapping) -> Image | None:
    """The main scores of all tasks with floor and ceiling; None without any of them."""
    names = {
        name: METRICS[name].title
        for name in PLOTTED
        if any(name in scores for scores in metrics.values())
    }
    if not names:
        return None
    alt = f"{', '.join(names.values())} of {', '.join(metrics)}, as in the tables below"
    return plot_themed(lambda theme, _: plots.plot_scores(metrics, names, theme), alt)


def make_table(title: str, scores: Mapping) -> Table:
    """The scores that have an interval."""
    rows = []
    names = [key for key in scores if f"{key}_ci95" in scores]
    for name in (name for name in names if not name.endswith("_ceiling")):
        metric = METRICS.get(name, Metric(name))
        ceiling_interval = scores.get(f"{name}_ceiling_ci95")
        rows.append(
            Row(
                title=metric.title,
                better=metric.better,
                score=metric.format_value(scores[name]),
                interval=metric.format_interval(scores[f"{name}_ci95"]),
                floor=metric.format_value(scores.get(f"{name}_floor")),
                ceiling=metric.format_value(scores.get(f"{name}_ceiling")),
                ceiling_interval=(
                    metric.format_interval(ceiling_interval) if ceiling_interval else ""
                ),
            )
        )
    return Table(
        title=title,
        clips=scores.get("clips", 0),
        skipped=scores.get("skipped", []),
        rows=rows,
    )


def describe_sampling(run: Mapping) -> dict:
    """How the scored clips were sampled, from the part `run` of metrics.json."""
    if not run:
        return {}
    scales = ", ".join(f"{scale:g}" for _, scale in run.get("guidance", [])) or "none"
    fields = {name: run.get(name) for name in ("checkpoint", "solver", "steps", "seed")}
    fields |= {"guidance": scales, "precision": run.get("precision"), "grid": None, "student": None}
    grid = run.get("grid", "uniform")
    if grid != "uniform":
        fields["grid"] = grid if isinstance(grid, str) else ", ".join(f"{t:g}" for t in grid)
    if "student" in run:
        low, high = run["student"]["scales"]
        evaluations = ", ".join(map(str, run["student"]["evaluations"]))
        fields["student"] = f"{evaluations} steps and guidance scales from {low:g} to {high:g}"
    return fields


def describe_recognizers(run: Mapping) -> str:
    """The recognizers behind the word error rates, from the part `run` of metrics.json.

    Of a model's folder the last name is shown, so that a report can be passed on.
    """
    names = (run.get(name, {}).get("name") for name in ("recognizer", "open_recognizer"))
    first, second = (_shorten(name) if name else None for name in names)
    if first is None:
        return ""
    return f"Recognizer: {first}" + (f"; open recognizer: {second}." if second else ".")


def _shorten(recognizer: str) -> str:
    """The name of a recognizer, its model without the folders around it."""
    kind, colon, model = recognizer.partition(":")
    return f"{kind}:{Path(model).name}" if colon else recognizer


def describe_sentences(metrics: Mapping) -> str:
    """The paragraph about the sentences that a run spoke; empty without any."""
    if not metrics:
        return ""
    run = metrics["run"]
    voices = ", ".join(run["speakers"])
    sampling = describe_sampling(run)
    return (
        f"{run['sentences']['number']} sentences ({run['sentences']['name']}) spoken from text "
        f"alone at predicted times, in the voices {voices}; checkpoint {sampling['checkpoint']}, "
        f"{sampling['solver']}, {sampling['steps']} steps, guidance {sampling['guidance']}, seed "
        f"{sampling['seed']}, {run['date']}. {describe_recognizers(run)} “Truth” is the voice "
        "itself, “codec” the same through the codec."
    )


def make_sentence_tables(metrics: Mapping) -> list[Table]:
    """The scores of sentences: of all voices together, where there are several, and of each."""
    voices = metrics.get("voices", {})
    tables = [make_table(f"Voice {name}", scores) for name, scores in voices.items()]
    return [make_table("All voices", metrics["text"]), *tables] if len(voices) > 1 else tables


# ---- clips --------------------------------------------------------------------------------


def make_tasks(workdir: Path, config: Mapping, metrics: Mapping) -> list[dict]:
    """The tasks with a few examples each.

    Raises:
      InputError: why there are no examples.
    """
    folder, split = to_path(config["data"]["shards"]), metrics.get("run", {}).get("split", "test")
    selected = examples.read_examples(workdir, folder, split, list(TASKS))
    if not selected:
        raise InputError("evaluation has not left any in eval/")
    durations = load_duration_model(workdir, read_optional_json(workdir / "statistics.json"))
    cards = examples.make_cards(workdir, selected, durations)
    return [
        {"title": title, "about": about, "cards": cards.get(task, [])}
        for task, (title, about) in TASKS.items()
    ]


def make_commands(workdir: Path) -> list[tuple[str, str]]:
    """Sentences and commands to sample from the run, with a video and a text of its own, if any."""
    video, text = "in.mp4", "bin red by k two soon"
    for row in examples.select_rows(workdir, "joint"):
        path = workdir / "corpus" / "videos" / f"{row['id']}.mp4"
        if path.exists():
            video, text = str(path), row["text"]
            break
    start = f"python -m vssflow_jax.sample --workdir={shlex.quote(str(workdir))} "
    with_video = f"--video={shlex.quote(video)} --text={shlex.quote(text)} --out=out.mp4"
    speech = f"--text={shlex.quote(text)} --out=speech.wav"
    return [
        ("Give a video its sound:", start + with_video),
        ("Speak a sentence without a video:", start + speech),
    ]


def write_report(workdir: str | Path, out: str | Path = "") -> Path:
    """Writes a report from the contents of a run's folder; returns its path.

    Args:
      workdir: of the run.
      out: the file to write; empty: `workdir`/report.html.

    Raises:
      InputError: no config.json in the folder.
    """
    workdir = to_path(workdir)
    if not (workdir / "config.json").is_file():
        raise InputError(
            f"{workdir / FILE}: found no config.json beside it, expected a run's folder"
        )
    config = checkpoint.read_config(workdir).to_dict()
    log = read_metrics(workdir)
    metrics = read_optional_json(workdir / "eval" / "metrics.json")
    sentences = read_optional_json(workdir / SENTENCES)
    scored = {task: metrics[task] for task in TASKS if metrics.get(task)}
    try:
        tasks, no_clips = make_tasks(workdir, config, metrics), ""
    except InputError as error:
        tasks, no_clips = [], str(error)
    page = render(
        "run.html",
        title=f"vssflow_jax: the run {resolve(workdir).name}",
        description=describe_run(workdir, config, log),
        config=json.dumps(config, indent=1),
        curves=plot_curves(log),
        tables=[make_table(TASKS[task][0], scores) for task, scores in scored.items()],
        recognizers=describe_recognizers(metrics.get("run", {})),
        sentences=describe_sentences(sentences),
        sentence_tables=make_sentence_tables(sentences),
        score_plot=plot_scores(scored),
        sampling=describe_sampling(metrics.get("run", {})),
        unscored=[title.lower() for task, (title, _) in TASKS.items() if task not in scored],
        clips_per_task=examples.NUM_EXAMPLES,
        tasks=tasks,
        no_clips=no_clips,
        commands=make_commands(workdir),
    )
    path = to_path(out or workdir / FILE)
    write_text(path, page)
    return path
