"""Makes sound: `python -m vssflow_jax.sample --workdir=DIR --video=in.mp4 --out=out.mp4`.

With --text it speaks, with --speaker in that voice; with --shards it generates a whole
split, one wav a clip and a manifest.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from absl import flags
from tqdm import tqdm

from vssflow_jax import errors, media
from vssflow_jax.data import shards
from vssflow_jax.errors import InputError
from vssflow_jax.files import replacing
from vssflow_jax.generate import Generator

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
VIDEO = flags.DEFINE_string("video", None, "Video to give sound to.")
TEXT = flags.DEFINE_string("text", None, "What is said.")
SPEECH_START = flags.DEFINE_float("speech_start", None, "Seconds at which speech starts.")
SPEECH_END = flags.DEFINE_float("speech_end", None, "Seconds at which speech ends.")
SPEAKER = flags.DEFINE_string("speaker", None, "Audio file with the voice to imitate.")
DURATION = flags.DEFINE_float("duration", None, "Seconds of sound; default: the video's.")
SEED = flags.DEFINE_integer("seed", 0, "Of the noise.")
STEPS = flags.DEFINE_integer("steps", None, "Solver steps; default: the run's.")
SOLVER = flags.DEFINE_string("solver", None, "Solver; default: the run's.")
GUIDANCE = flags.DEFINE_float("guidance", None, "Guidance scale; default: the run's.")
SHARDS = flags.DEFINE_string("shards", None, "Shards to generate a split of.")
SPLIT = flags.DEFINE_string("split", "test", "Split of --shards.")
OUT = flags.DEFINE_string("out", None, "File to write (.mp4, .wav), or with --shards a folder.")

CHUNK = 64  # clips read and generated at a time
ALONE = ("video", "text", "speaker", "speech_start", "speech_end", "duration")


def sample_one(generator: Generator, out: Path) -> None:
    """One clip from the flags."""
    if not out.suffix:
        raise InputError(
            f"--out={out}: found no ending, expected a file such as out.mp4 or out.wav"
        )
    if VIDEO.value is None and out.suffix.lower() != ".wav":
        raise InputError(f"--out={out}: expected a .wav name, since there is no --video")
    if VIDEO.value is not None and out.resolve() == Path(VIDEO.value).resolve():
        raise InputError(f"--out={out}: found the input video, expected another name")
    made = generator(
        video=VIDEO.value,
        text=TEXT.value,
        speaker=SPEAKER.value,
        speech_start=SPEECH_START.value,
        speech_end=SPEECH_END.value,
        duration=DURATION.value,
        seed=SEED.value,
        solver=SOLVER.value,
        steps=STEPS.value,
        guidance=GUIDANCE.value,
    )
    for warning in made.report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    made.save(out)
    used, missing = (", ".join(made.report[key]) or "none" for key in ("used", "missing"))
    print(f"{out}: {made.report['duration']:.2f} s; conditions used: {used}; missing: {missing}")


def sample_split(generator: Generator, folder: Path, split: str, out: Path) -> None:
    """A wav for each clip of a split, and `manifest.csv` when all are there."""
    records = shards.open_split(folder, split)
    rows = []
    for first in tqdm(range(0, len(records), CHUNK), desc="sample", unit="chunk"):
        some = [records[row] for row in range(first, min(first + CHUNK, len(records)))]
        waves = generator.batch(
            some,
            seed=SEED.value,
            solver=SOLVER.value,
            steps=STEPS.value,
            guidance=GUIDANCE.value,
        )
        for record, wave in zip(some, waves, strict=True):
            meta = record["meta"]
            name = f"{meta['id']}.wav"
            media.write_wav(out / name, wave, generator.codec.sample_rate)
            rows.append((meta["id"], name, meta.get("text", ""), split, meta["task"]))
    with replacing(out / "manifest.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "audio", "text", "split", "task"))
        writer.writerows(rows)
    print(f"{out}: {len(rows)} clips")


def main() -> None:
    """Flags in, sound out."""
    if WORKDIR.value is None or OUT.value is None:
        raise InputError("expected --workdir=DIR and --out=FILE")
    given = [name for name in ALONE if flags.FLAGS[name].value is not None]
    if SHARDS.value is not None and given:
        raise InputError(f"found --{given[0]} beside --shards, expected one or the other")
    generator = Generator.from_workdir(WORKDIR.value)
    if SHARDS.value is None:
        sample_one(generator, Path(OUT.value))
    else:
        sample_split(generator, Path(SHARDS.value), SPLIT.value, Path(OUT.value))


if __name__ == "__main__":
    errors.run(main)
