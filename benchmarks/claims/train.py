"""Trains and scores rows with seeds: `python -m benchmarks.claims.train --workdir=DIR …`.

    python -m benchmarks.claims.train --config=configs/small.py \
        --config.data.shards=SHARDS --workdir=DIR

Each row and seed has a folder in DIR. Finished ones are skipped, interrupted ones resume. `--rows`
and `--seeds` select some; the scores of all finished runs go into the file `--results`.
"""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path

from absl import flags

from benchmarks.claims import flow_losses, results, rows
from vssflow_jax import train
from vssflow_jax.codecs.interface import hash_latents
from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.config import command_line
from vssflow_jax.data import shards
from vssflow_jax.evaluation import protocol
from vssflow_jax.evaluation.evaluator import Evaluator
from vssflow_jax.generation import scoring
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import codec_setup, preemption, setup, state

SCORES = "scores.json"  # in a finished run's folder


def configure_row(recipe, name: str, seed: int, folder: Path):
    """The recipe with a row's changes and a seed; codec and compiled programs are shared."""
    config = recipe.copy_and_resolve_references()
    changes = dict(rows.ROWS[name])
    for field in rows.SHARES:
        if field in changes:
            changes[field] = round(changes[field] * recipe.train.steps)
    config.update_from_flattened_dict(changes)
    config.seed = seed
    config.codec.folder = str(folder / "codec")
    config.train.compilation_cache = str(folder / "compiled")
    config.train.evaluate = False
    return config


def score_run(folder: Path, name: str, evaluator: Evaluator | None, data: Path) -> dict:
    """Scores of a finished run by task, and its cost; without an evaluator only flow losses."""
    generator = Generator.from_workdir(folder)
    losses = flow_losses.measure_flow_losses(
        generator, data, rows.scored_tasks(name), flags.FLAGS.clips
    )
    out = {task: {"loss": loss} for task, loss in losses.items()}
    for task in out if evaluator else ():
        generated = scoring.generate_waves(generator, evaluator.examples[task], task)
        scores = evaluator.score(generated.examples, generated.waves, task)
        out[task] |= flow_losses.scores_and_floors(scores)
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "scores": out,
        "steps": generator.step,
        "parameters": state.count_parameters(generator.params),
        "seconds": round(last["seconds"], 1),
        "date": f"{datetime.date.today()}",
    }


def read_scores(folder: Path) -> dict[str, dict]:
    """The scores of all finished runs in a folder: row -> seed -> scores."""
    scores: dict[str, dict] = {}
    for path in sorted(folder.glob(f"*/{SCORES}")):
        name, _, seed = path.parent.name.rpartition("-")
        if name in rows.ROWS:
            scores.setdefault(name, {})[seed] = json.loads(path.read_text())
    return scores


def main() -> None:
    """Flags in, trained and scored rows out."""
    config, workdir = (flags.FLAGS[name].value for name in ("config", "workdir"))
    if config is None or workdir is None:
        raise InputError("expected --config=FILE and --workdir=DIR")
    unknown = [name for name in flags.FLAGS.rows if name not in rows.ROWS]
    if unknown:
        raise InputError(f"--rows: found {unknown}, expected some of {list(rows.ROWS)}")
    recipe, folder = command_line.require_config(config), Path(workdir)
    setup.set_compilation_cache(folder / "compiled")
    preemption.exit_on_signals()
    data = train.ensure_shards(recipe, folder)
    with recipe.unlocked():
        recipe.data.shards = str(data)
    codec = codec_setup.ensure_codec(recipe, setup.open_training_split(recipe, data, ()), folder)
    evaluator = None
    for seed in map(int, flags.FLAGS.seeds):
        for name in flags.FLAGS.rows:
            started, own = time.perf_counter(), folder / f"{name}-{seed}"
            if (own / SCORES).exists():
                continue
            train.train(configure_row(recipe, name, seed, folder), own)
            if flags.FLAGS.generated and evaluator is None:
                evaluator = Evaluator.from_shards(
                    data, flow_losses.SPLIT, flags.FLAGS.generated, codec
                )
            scores = score_run(own, name, evaluator, data)
            write_text(own / SCORES, json.dumps(scores, indent=1))
            print(f"{name}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    about = {
        "dataset": shards.load_dataset_info(data)["hash"],
        "codec": hash_latents(codec),
        "clips": flags.FLAGS.clips,
        "generated": flags.FLAGS.generated,
        "cores": process_pool.count_cores(),
        "versions": protocol.versions(),
    }
    results.update_results(
        Path(flags.FLAGS.results), "training", {"about": about, "rows": read_scores(folder)}
    )


def define_flags() -> None:
    """The flags of the command, beside those of `vssflow_jax.train`."""
    train.define_flags()
    flags.DEFINE_list("rows", list(rows.ROWS), "Rows, of rows.ROWS, in this order.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; all rows of one before the next.")
    flags.DEFINE_integer("clips", 64, "Test clips a task for the flow losses.")
    flags.DEFINE_integer("generated", 0, "Test clips a task that are generated and scored.")
    flags.DEFINE_string("results", str(results.FILE), "File for the scores.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
