"""Export of a run: a folder with half-precision weights, config, codec, hashes, scores, card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from vssflow_jax import bundled
from vssflow_jax.codecs.interface import hash_latents, load_codec, save_codec
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, hash_file, read_json, resolve, to_path, write_text
from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.conditions import EVALUATED_TASKS
from vssflow_jax.generation.generator import read_statistics
from vssflow_jax.generation.sampling import read_student
from vssflow_jax.training import checkpoint

CI95 = "_ci95"  # ends the names of the intervals in metrics.json
# What the hub reads of a card.
CARD_HEADER = """---
license: apache-2.0
library_name: vssflow_jax
tags:
- text-to-speech
- video-to-audio
---

"""
DTYPES = ("float16", "bfloat16", "float32")
LOCAL_PATHS = (  # fields left empty
    ("data", "shards"), ("codec", "folder"), ("train", "init_from"), ("distill", "init_from"),
)  # fmt: skip


def cast_params(params: Mapping, dtype: str) -> dict[str, np.ndarray]:
    """Parameters by path in another type.

    Raises:
      InputError: a number out of the type's range.
    """
    out = {}
    for path, array in flatten_dict(params, sep="/").items():
        array = np.asarray(array)
        if float(np.abs(array).max(initial=0.0)) > float(jnp.finfo(dtype).max):
            raise InputError(f"{path}: found numbers beyond {dtype}, expected --dtype=bfloat16")
        out[path] = array.astype(jnp.dtype(dtype))
    return out


def export_run(workdir: str | Path, out: str | Path, name: str = "", dtype: str = "float16") -> str:
    """Writes the newest weights of a run, and everything that sampling needs, to a folder.

    Args:
      workdir: the run's folder, or a model's name.
      out: the folder; new or empty.
      name: of the model in the card; "": the folder's name.
      dtype: of the stored weights; sampling computes in float32 all the same.

    Returns:
      A line about the folder: parameters, step, size.

    Raises:
      InputError: no trained run, or a folder that is not empty.
    """
    workdir, out = bundled.find_workdir(workdir), to_path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out}: found something there, expected a new folder")
    params, step, identity = checkpoint.load_weights(workdir)
    config = checkpoint.read_config(workdir)
    codec = load_codec(workdir / "codec")
    checkpoint.check_run(identity, config, hash_latents(codec), f"{workdir}: checkpoint {step}")
    read_statistics(workdir / "statistics.json")  # refuses what nothing can be sampled with
    source = Path(config.train.init_from).name
    for group, field in LOCAL_PATHS:
        config[group][field] = ""
    weights = cast_params(params, dtype)
    save_codec(codec, out / "codec")
    write_text(out / "config.json", config.to_json(indent=1))
    write_text(out / "statistics.json", (workdir / "statistics.json").read_text())
    write_arrays(out / checkpoint.WEIGHTS_FILE, weights)
    facts = {
        "name": name or resolve(out).name,
        "step": step,
        "init_from": source,
        "parameters": sum(array.size for array in weights.values()),
        "dtype": dtype,
        "weights": hash_file(out / checkpoint.WEIGHTS_FILE),
        "codec": hash_latents(codec),
        "dataset": identity.get("dataset"),
    }
    scores = read_scores(workdir)
    if scores:
        write_text(out / "metrics.json", json.dumps(scores, indent=1))
    write_text(out / "README.md", render_card(facts, config, scores))
    write_text(out / checkpoint.EXPORT_FILE, json.dumps(facts, indent=1))
    size = file_size(out / checkpoint.WEIGHTS_FILE) / 1e6
    return f"{out}: {facts['parameters']:,} parameters of step {step}, {size:.1f} MB as {dtype}"


def read_scores(workdir: Path) -> dict:
    """The run's scores, with the number of skipped clips; empty before an evaluation."""
    path = workdir / "eval" / "metrics.json"
    if not path.exists():
        return {}
    metrics = read_json(path, "the scores of a run")
    scores = {task: dict(metrics[task]) for task in EVALUATED_TASKS if task in metrics}
    for values in scores.values():
        values["skipped"] = len(values.get("skipped", ()))
    run = {key: value for key, value in metrics.get("run", {}).items() if key != "generated"}
    for recognizer in (run[key] for key in ("recognizer", "open_recognizer") if key in run):
        name, *folder = recognizer["name"].split(":", 1)  # "whisper:/home/me/tiny.en"
        recognizer["name"] = ":".join([name, *(Path(path).name for path in folder)])
    return {**scores, "run": run}


def render_card(facts: Mapping, config, scores: Mapping) -> str:
    """The model card in Markdown: training, hashes, scores, use, license."""
    guidance = ", ".join(
        f"{name} {scale:g}" for name, scale in config.sample.scales.items() if scale is not None
    )
    source = f", from the weights of `{facts['init_from']}`" if facts["init_from"] else ""
    return f"""{CARD_HEADER}# {facts["name"]}

A VSSFlow model: sound, speech, or both for a silent video. {facts["parameters"]:,} parameters,
{config.model.layers} layers, weights in {facts["dtype"]}.

    python -m vssflow_jax.sample --workdir={facts["name"]} --video=in.mp4 --out=out.mp4

## Training

{facts["step"]:,} steps of {config.data.batch_size} clips of {config.data.duration:g} s, route
`{config.model.route}`, {config.optim.name}{source}; corpus: {describe_corpus(config)}.
Sampling by default: {config.sample.solver}, {config.sample.steps} steps,
guidance {config.sample.guidance:g}{f" ({guidance})" if guidance else ""}.

{describe_student(facts, config)}| what | hash |
|---|---|
| weights (SHA-256) | `{facts["weights"]}` |
| codec | `{facts["codec"]}` |
| data set | `{facts["dataset"]}` |

## Scores

{score_table(scores)}

## Use

The model covers the words, voices and kinds of event of its training data; expect poor results
on other material. Generated speech in somebody's voice needs that person's consent. License:
Apache-2.0.
"""


def describe_corpus(config) -> str:
    """The corpus of a run in words."""
    data = config.data
    if not data.corpus:
        return "the data set below"
    sentences = data.corpus_sentences
    if data.corpus_audio_sentences:
        sentences += f" and {data.corpus_audio_sentences}"
    return f"{data.corpus} ({data.corpus_voices} voices, {sentences} sentences)"


def describe_student(facts: Mapping, config) -> str:
    """The card's paragraph about a student; empty for a flow model."""
    student = read_student(config)
    if student is None:
        return ""
    *others, last = map(str, student.evaluations)
    evaluations = f"{', '.join(others)} or {last}" if others else last
    return f"""A student of `{facts["init_from"]}`, meant for {evaluations} evaluations
(`--steps`). It takes guidance scales from {student.min_scale:g} to {student.max_scale:g} as inputs.

"""


def score_table(scores: Mapping) -> str:
    """A Markdown table: task, metric, score, 95 % interval, codec floor, ground truth."""
    lines = [
        "| task | metric | score | 95 % interval | codec floor | truth |",
        "|---|---|---|---|---|---|",
    ]
    for task in EVALUATED_TASKS:
        values = scores.get(task, {})
        for metric in values:
            if metric + CI95 not in values or metric.endswith("_ceiling"):
                continue
            low, high = values[metric + CI95]
            bounds = (values.get(f"{metric}_{kind}") for kind in ("floor", "ceiling"))
            endings = ("" if bound is None else f"{bound:.3f}" for bound in bounds)
            row = (task, metric, f"{values[metric]:.3f}", f"{low:.3f} to {high:.3f}", *endings)
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) if len(lines) > 2 else "The run was not evaluated."
