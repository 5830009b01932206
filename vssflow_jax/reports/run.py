"""The report of a run, one HTML file: what was trained, curves, scores, and clips to hear.

The file is whole in itself: sounds and pictures are in it, nothing is fetched, no script runs.
What a run does not have (scores, a task, pictures) is left out with a sentence.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from etils import epath

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.data import shards
from vssflow_jax.generation.durations import load_duration_model
from vssflow_jax.reports import examples, plots
from vssflow_jax.reports.html import data_uri, document, escape, figure
from vssflow_jax.training import checkpoint

FILE = "report.html"

TASKS = {
    "speech": ("Speech", "A silent talker, the words, a reference voice; the model speaks."),
    "sound": ("Sound", "Silent events; the model makes their sound."),
    "joint": ("Both at once", "A silent talker and events in one clip, with the words."),
    "text": (
        "Speech without video",
        "The words and a reference voice alone; the phonemes' times are predicted, so they "
        "differ from the ground truth's.",
    ),
}
# Key in metrics.json -> what it is called, unit, factor, decimals, which way is better.
METRICS = {
    "wer": ("Word errors", " %", 100, 1, "lower"),
    "onset_f1": ("Onsets found (F1, within 50 ms)", "", 1, 3, "higher"),
    "onset_mae_ms": ("Error of the found onsets", " ms", 1, 1, "lower"),
    "sound_class_accuracy": ("Sound class recognised", " %", 100, 1, "higher"),
    "speaker_accuracy": ("Voice recognised", " %", 100, 1, "higher"),
    "speaker_similarity": ("Likeness to the reference voice", "", 1, 3, "higher"),
    "mcd": ("Mel-cepstral distortion", " dB", 1, 2, "lower"),
    "kl": ("KL divergence from the truth", " nats", 1, 2, "lower"),
    "frechet": ("Fréchet distance", "", 1, 2, "lower"),
    "inception_score": ("Inception score", "", 1, 2, "higher"),
    "dnsmos": ("Opinion predicted by DNSMOS", "", 1, 2, "higher"),
    "utmos": ("Opinion predicted by UTMOS", "", 1, 2, "higher"),
}
CURVES = {
    "loss": "Loss",
    "grad_norm": "Norm of the gradient",
    "learning_rate": "Learning rate",
    "clips_per_second": "Clips a second",
    "input_wait_fraction": "Share of the time spent waiting for input",
}
NOISY = ("loss", "grad_norm")
DRAWN = ("wer", "onset_f1", "sound_class_accuracy", "mcd")  # scores that are drawn side by side

# ---- reading ------------------------------------------------------------------------------


def minutes(seconds: float) -> str:
    """A duration for people."""
    hours, rest = divmod(round(seconds), 3600)
    parts = ((hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return " ".join(shown[:2]) or "0 s"


def read_json(path: Path) -> dict:
    """A JSON file, or nothing where it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_log(path: Path) -> list[dict]:
    """The lines of metrics.jsonl; one that was cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [row for row in rows if "step" in row]


# ---- what was trained, curves, scores -----------------------------------------------------


def parameters(workdir: Path) -> int | None:
    """Numbers in the newest checkpoint's weights, by its metadata; None without one."""
    folders = [p for p in (workdir / "checkpoints").glob("*/weights") if p.parent.name.isdigit()]
    if not folders:
        return None
    newest = max(folders, key=lambda p: int(p.parent.name)).resolve()
    tree = ocp.PyTreeCheckpointHandler().metadata(epath.Path(newest)).tree
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def trained(workdir: Path, config: Mapping, log: Sequence[Mapping]) -> str:
    """The paragraph about the run."""
    model, train, data = config["model"], config["train"], config["data"]
    width = model["heads"] * model["head_dim"]
    count = parameters(workdir)
    size = f"{count:,} parameters: " if count else ""
    text = (
        f"A flow-matching transformer, {size}{model['layers']} layers of width {width}, "
        f"{model['heads']} heads, conditions by the route “{model['route']}”. "
    )
    if log:
        last = log[-1]
        text += f"{last['step']:,} of {train['steps']:,} steps"
        text += f" in {minutes(last['seconds'])}" if "seconds" in last else ""
    else:
        text += "No step has been logged yet"
    optim = config["optim"]
    text += (
        f", {data['batch_size']} clips of up to {data['duration']:g} s a step, "
        f"learning rate {optim['learning_rate']:g} ({optim['schedule']}), seed {config['seed']}. "
    )
    codec = read_json(workdir / "codec" / "codec.json")
    if codec:
        text += f"Codec: {codec['kind']}, 25 frames a second. "
    try:
        split = shards.load_dataset_info(data["shards"])["splits"]["train"]
    except InputError:
        text += "The data that it was trained on are not here any more."
    else:
        tasks = ", ".join(f"{number:,} {name}" for name, number in split["tasks"].items())
        text += f"Trained on {split['clips']:,} clips ({tasks})."
    everything = escape(json.dumps(config, indent=1))
    return (
        f"<p>{escape(text)}</p>"
        f"<details><summary>The whole config</summary><pre>{everything}</pre></details>"
    )


def themed(steps, values, alt: str, *, wide: bool, smooth: bool) -> str:
    """A curve in light and in dark; a wide one has a narrow form for narrow windows."""
    shapes = ((" and (max-width: 860px)", False), ("", True)) if wide else (("", False),)
    sources = []
    for width, broad in shapes:
        for scheme, theme in (("dark", plots.DARK), ("light", plots.LIGHT)):
            image = data_uri(
                plots.curve(steps, values, theme, wide=broad, smooth=smooth), "image/png"
            )
            sources.append((f"(prefers-color-scheme: {scheme}){width}", image))
    *others, (_, last) = sources
    tags = "".join(f'<source media="{media}" srcset="{uri}">' for media, uri in others)
    return f'<picture>{tags}<img src="{last}" alt="{escape(alt)}"></picture>'


def curves(log: Sequence[Mapping]) -> str:
    """The curves of metrics.jsonl."""
    panels = []
    for name, title in CURVES.items():
        points = [(row["step"], row[name]) for row in log if row.get(name) is not None]
        if len(points) < 2:
            continue
        steps, values = zip(*points, strict=True)
        alt = f"{title} from {values[0]:.3g} at step {steps[0]} to {values[-1]:.3g} at {steps[-1]}"
        wide = name == "loss"
        body = themed(steps, values, alt, wide=wide, smooth=name in NOISY)
        panels.append(figure(title, body, "card wide" if wide else "card"))
    if not panels:
        return "<p>There are no curves: metrics.jsonl has fewer than two lines.</p>"
    note = "Thin: as logged, one batch a point; thick: running mean."
    return f'<p class="note">{note}</p><div class="curves">{"".join(panels)}</div>'


def shown(name: str, value: float | None) -> str:
    """A score with its unit."""
    _, unit, factor, decimals, _ = METRICS.get(name, (name, "", 1, 3, ""))
    return "-" if value is None else f"{value * factor:.{decimals}f}{unit}"


def task_table(task: str, scores: Mapping) -> str:
    """The card of one task's scores."""
    rows = []
    for name in (key for key in scores if f"{key}_ci95" in scores):
        title, _, factor, decimals, better = METRICS.get(name, (name, "", 1, 3, ""))
        low, high = (f"{value * factor:.{decimals}f}" for value in scores[f"{name}_ci95"])
        hint = f" <small>{better} is better</small>" if better else ""
        rows.append(
            f'<tr><th scope="row">{escape(title)}{hint}</th><td>{shown(name, scores[name])}</td>'
            f"<td>{low} to {high}</td><td>{shown(name, scores.get(f'{name}_floor'))}</td>"
            f"<td>{shown(name, scores.get(f'{name}_ceiling'))}</td></tr>"
        )
    skipped = scores.get("skipped", [])
    left_out = "".join(
        f"<li>{escape(clip['id'])}: {escape(clip['reason'])}</li>" for clip in skipped
    )
    more = (
        f"<details><summary>{len(skipped)} clips left out</summary><ul>{left_out}</ul></details>"
        if skipped
        else ""
    )
    head = "".join(
        f'<th scope="col">{title}</th>'
        for title in ("", "score", "95 % interval", "codec", "truth")
    )
    return (
        f'<section class="card"><h3>{TASKS[task][0]}</h3>'
        f'<p class="note">{scores.get("clips", 0)} clips, {len(skipped)} left out</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{more}"
        "</section>"
    )


def score_picture(metrics: Mapping, tasks: Sequence[str]) -> str:
    """The main scores of all tasks beside floor and ceiling, in light and in dark."""
    found = {task: metrics[task] for task in tasks}
    names = {n: METRICS[n][0] for n in DRAWN if any(n in scores for scores in found.values())}
    if not names:
        return ""
    light, dark = (
        data_uri(plots.scores(found, names, theme), "image/png")
        for theme in (plots.LIGHT, plots.DARK)
    )
    alt = f"{', '.join(names.values())} of {', '.join(found)}, as in the tables below"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(alt)}"></picture>'
    )


def score_section(metrics: Mapping) -> str:
    """All tasks' scores."""
    tasks = [task for task in TASKS if metrics.get(task)]
    if not tasks:
        return "<p>The run has not been scored yet (python -m vssflow_jax.evaluate).</p>"
    run = metrics.get("run", {})
    how = ""
    if run:
        scales = ", ".join(f"{scale:g}" for _, scale in run.get("guidance", [])) or "none"
        how = (
            f" Sampled from checkpoint {run.get('checkpoint')} with {run.get('solver')}, "
            f"{run.get('steps')} steps, guidance {scales}, seed {run.get('seed')}."
        )
    missing = [TASKS[task][0].lower() for task in TASKS if task not in tasks]
    if missing:
        how += f" Not scored: {', '.join(missing)}."
    text = (
        "Clips of the test split, which training never saw. “Codec” is the same score of the "
        "ground truth sent through the codec and back: what this codec allows at best; “truth” "
        "is that of the ground truth itself. Intervals are bootstrapped over clips. Words are "
        "judged by a speech recogniser; onsets, sound classes and voices by small models fitted "
        "on ground truth; eval/protocol.json has the whole procedure." + how
    )
    tables = "".join(task_table(task, metrics[task]) for task in tasks)
    drawn = score_picture(metrics, tasks)
    return f'<p>{escape(text)}</p>{drawn}<div class="scores">{tables}</div>'


# ---- clips --------------------------------------------------------------------------------


def clip_section(workdir: Path, config: Mapping, metrics: Mapping) -> str:
    """A few clips of each task."""
    folder, split = Path(config["data"]["shards"]), metrics.get("run", {}).get("split", "test")
    try:
        found = examples.find(workdir, folder, split, list(TASKS))
    except InputError as error:
        return f"<p>No clips are shown: {escape(error)}.</p>"
    if not found:
        return "<p>No clips are shown: evaluation has not left any in eval/.</p>"
    durations = load_duration_model(workdir, read_json(workdir / "statistics.json"))
    made = examples.cards(workdir, found, durations)
    parts = []
    for task, (title, about) in TASKS.items():
        if task not in found:
            parts.append(f"<h3>{title}</h3><p>No clips of this task.</p>")
            continue
        parts.append(f"<section><h3>{title}</h3><p>{escape(about)}</p>{made[task]}</section>")
    text = (
        f"Nobody picked these: the list of a task's scored clips is cut into {examples.CLIPS} "
        "equal parts, and the clip in the middle of each is shown. The two spectrograms of a clip "
        "share one colour scale. White lines and symbols: phonemes as they were asked for; "
        "blue dashes and triangles: the onsets of the events in the video. Both are drawn on what "
        "was generated as well, to compare."
    )
    return f"<p>{escape(text)}</p>{''.join(parts)}"


def next_command(workdir: Path) -> str:
    """How to sample from the run: from one of the clips shown, if its video is there."""
    video, text = "in.mp4", "place red by k two soon"
    for row in examples.chosen(workdir, "joint"):
        path = workdir / "corpus" / "videos" / f"{row['id']}.mp4"
        if path.exists():
            video, text = str(path), row["text"]
            break
    start = f"python -m vssflow_jax.sample --workdir={shlex.quote(str(workdir))} "
    picture = f"--video={shlex.quote(video)} --text={shlex.quote(text)} --out=out.mp4"
    speech = "--text='bin red by k two soon' --out=speech.wav"
    return (
        f"<p>Give a video its sound:</p><pre>{escape(start + picture)}</pre>"
        f"<p>Speak a sentence without a video:</p><pre>{escape(start + speech)}</pre>"
    )


def report(workdir: str | Path) -> Path:
    """Writes `workdir`/report.html from what the run's folder holds; returns its path.

    Raises:
      InputError: no config.json there: not a run's folder.
    """
    workdir = Path(workdir)
    if not (workdir / "config.json").is_file():
        raise InputError(
            f"{workdir / FILE}: found no config.json beside it, expected a run's folder"
        )
    config = checkpoint.read_config(workdir).to_dict()
    log = read_log(workdir / "metrics.jsonl")
    metrics = read_json(workdir / "eval" / "metrics.json")
    sections = (
        ("What was trained", trained(workdir, config, log)),
        ("Curves", curves(log)),
        ("Scores", score_section(metrics)),
        ("Clips", clip_section(workdir, config, metrics)),
        ("What next", next_command(workdir)),
    )
    title = f"vssflow_jax: the run {workdir.resolve().name}"
    body = "".join(f"<section><h2>{name}</h2>{content}</section>" for name, content in sections)
    path = workdir / FILE
    write_text(path, document(title, f"<h1>{escape(title)}</h1>{body}"))
    return path
