"""How fast media become shards: `python benchmarks/preparing.py --manifest=clips.csv`.

Prints the time of each stage of a clip in one process, then whole runs by the number of
workers, with the largest memory of the main process and of a worker.

With `--overlap=N` it measures instead how much of the decoding hides behind the encoding: the
main process runs CLIP's tower on one half of the cores, which stands for an accelerator, and the
workers decode N clips, enlarged to `--side` pixels, on the other half.
"""

import collections
import contextlib
import csv
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.features import face_tracking, registry, runner
from vssflow_jax.preparation import examples
from vssflow_jax.preparation.prepare import prepare, read_source
from vssflow_jax.text import aligner, alignment, normalize
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.weights import published, sources

MANIFEST = flags.DEFINE_string("manifest", None, "Manifest of the clips.", required=True)
STAGES = flags.DEFINE_integer("stages", 100, "Clips whose stages are timed; 0: none.")
WORKERS = flags.DEFINE_multi_integer("workers", [1, 2], "Numbers of workers.")
CLIPS = flags.DEFINE_multi_integer("clips", [], "Numbers of clips of whole runs; none: all.")
OVERLAP = flags.DEFINE_integer("overlap", 0, "Clips of which decoding and encoding are measured.")
LAYERS = flags.DEFINE_integer("layers", 1, "Of the tower's 12, at full width (--overlap).")
SIDE = flags.DEFINE_integer("side", 1080, "Pixels of the pictures that are decoded (--overlap).")

RUN = """
import json, resource, sys, time
from vssflow_jax.preparation.prepare import prepare
start = time.perf_counter()
prepare(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), progress=False)
took = time.perf_counter() - start
peaks = [resource.getrusage(who).ru_maxrss / 1024
         for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([took, *peaks]))
"""


class Clock:
    """Seconds and calls by stage."""

    def __init__(self):
        self.seconds, self.calls = collections.Counter(), collections.Counter()

    def __call__(self, stage, function, *arguments, **options):
        """function(…), its time added to the stage's."""
        start = time.perf_counter()
        result = function(*arguments, **options)
        self.seconds[stage] += time.perf_counter() - start
        self.calls[stage] += 1
        return result


def time_stages(rows, notes, folder: pathlib.Path) -> None:
    """Prints milliseconds and clips a second of each stage over the rows."""
    clock = Clock()
    with shards.open_shard_writer(folder / "stages.array_record") as write:
        for row in rows:
            clock("hash of the file", examples.hash_media, row.video or row.audio)
            picture = clock("decode pictures", media.read_video, row.video)
            wave = clock("decode sound", media.read_audio, row.audio or row.video)
            duration = len(picture.frames) / registry.VIDEO_RATE
            mouth = notes.get(row.id, {}).get("mouth")
            boxes = mouth and np.broadcast_to(mouth, (len(picture.frames), 4))
            inputs = registry.EncoderInputs(
                duration=duration,
                frames=picture.frames,
                speaker_wave=wave,
                mouth=mouth and face_tracking.MouthTrack.from_boxes(boxes),
            )
            clock("encode: thumbnails (shared)", getattr, inputs, "thumbnails")
            record = {"wave": media.to_int16(wave), "meta": {"id": row.id}}
            for encoder in registry.BUILT_IN:
                made = clock(f"encode: {encoder.condition}", encoder.encode, inputs)
                if made is not None:
                    record[encoder.condition] = made.astype("float16")
            if row.text:  # what is done where the manifest does not say
                clock(
                    "find the mouth (where none is given)",
                    face_tracking.track_mouth,
                    picture.frames,
                )
                words = normalize.words(row.text)
                with contextlib.suppress(InputError):
                    clock(
                        "align the text (where no times are given)",
                        aligner.align_words,
                        wave,
                        words,
                    )
            if row.alignment:
                spoken = clock(
                    "phonemes from the alignment", alignment.read_alignment, row.alignment
                )
                record["phonemes"] = phonemes_to_frames(spoken, round(duration * 25))
            data = clock("record to bytes", shards.encode_record, record)
            clock("write", write, data)
    print("\n| stage | clips | ms a clip | clips a second |\n|---|---|---|---|")
    for stage, seconds in clock.seconds.items():
        count = clock.calls[stage]
        print(f"| {stage} | {count} | {1e3 * seconds / count:.2f} | {count / seconds:.0f} |")


def first_rows(manifest: pathlib.Path, rows, folder: pathlib.Path) -> pathlib.Path:
    """A manifest of some rows, in a folder of its own, with the annotations."""
    path = folder / "clips.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, manifests.COLUMNS)
        writer.writeheader()
        writer.writerows({name: getattr(row, name) for name in manifests.COLUMNS} for row in rows)
    notes = manifest.with_name(manifests.ANNOTATIONS)
    if notes.exists():
        shutil.copy(notes, folder)
    return path


# ---- decoding behind encoding ---------------------------------------------------------------


def time_overlap(rows, folder: pathlib.Path) -> None:
    """Prints seconds of decoding alone, of encoding alone, and of both in the pool.

    All three are the same run of `prepare`. In the first the encoder answers at once with
    zeros, and what it was asked is kept; the second is the encoder on that. What is hidden is
    counted against the seconds that the encoder took in the third: beside the workers it has
    less of the machine than alone.
    """
    manifest = enlarged(rows, folder / "enlarged")
    cores = sorted(os.sched_getaffinity(0))
    half = max(len(cores) // 2, 1)
    os.sched_setaffinity(0, cores[:half])
    pin_workers(cores[half:] or cores, folder)
    random_tower(folder / "weights")
    run, asked, config = runner._answer, [], runner.read_config("clip")

    def instant(questions):
        asked.append(questions)
        parts = [parts for _, parts in questions]
        return [[np.zeros((len(p), config.width), "f4") for p in some] for some in parts]

    def whole(name) -> None:
        workers = len(cores) - half or 1
        options = {"workers": workers, "encoder_set": "clip=published", "progress": False}
        prepare(manifest, folder / name, **options)

    run([("clip", [np.zeros((1, config.side, config.side, 3), np.uint8)])])  # compiles
    clock = Clock()
    runner._answer = instant
    clock("decode", whole, "decoded")
    for questions in asked:
        clock("encode", run, questions)
    runner._answer = lambda questions: clock("busy", run, questions)
    clock("both", whole, "both")
    decode, encoding, both, busy = (clock.seconds[k] for k in ("decode", "encode", "both", "busy"))
    hidden = (decode + busy - both) / min(decode, busy)
    columns = ("clips", "decode alone, s", "encode alone, s", "both in the pool, s",
               "of that the encoder, s", "hidden of the smaller")  # fmt: skip
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    seconds = " | ".join(f"{value:.1f}" for value in (decode, encoding, both, busy))
    print(f"| {len(rows)} | {seconds} | {hidden:.0%} |")


def enlarged(rows, folder: pathlib.Path) -> pathlib.Path:
    """A manifest of the rows' videos with larger pictures, silent."""
    folder.mkdir()
    size = (SIDE.value, SIDE.value)
    for row in rows:
        frames = media.read_video(row.video).frames
        large = [np.asarray(Image.fromarray(f).resize(size, Image.BICUBIC)) for f in frames]
        media.write_video(folder / f"{row.id}.mp4", np.stack(large), registry.VIDEO_RATE)
    path = folder / "clips.csv"
    lines = [f"{row.id},{row.id}.mp4,train" for row in rows]
    path.write_text("\n".join(["id,video,split", *lines]) + "\n")
    return path


def pin_workers(cores, folder: pathlib.Path) -> None:
    """Processes that start from now on have these cores alone."""
    script = folder / "python"
    listed = ",".join(map(str, cores))
    script.write_text(f'#!/bin/sh\nexec taskset -c {listed} "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    multiprocessing.set_executable(str(script))


def random_tower(folder: pathlib.Path) -> None:
    """Weights of CLIP's tower at full width, with few layers, where they are looked for."""
    config, rng = ClipViTConfig(layers=LAYERS.value), np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.02 * rng.standard_normal(leaf.shape, np.float32),
        published.parameter_shapes("clip", config),
    )
    published.save_encoder("clip", config, params, {"file": "random"}, folder / "clip")
    os.environ[sources.VARIABLE] = str(folder)


def main(_) -> None:
    manifest = pathlib.Path(MANIFEST.value)
    rows, notes = read_source(manifest)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if OVERLAP.value:
            return time_overlap(rows[: OVERLAP.value], folder)
        if STAGES.value:
            time_stages(rows[: STAGES.value], notes, folder)
        print("\n| clips | workers | seconds | clips a second | main MB | largest worker MB |")
        print("|---|---|---|---|---|---|")
        for count in CLIPS.value or [len(rows)]:
            some = first_rows(manifest, rows[:count], folder)
            for workers in WORKERS.value:
                out = folder / f"{count}-{workers}"
                run = [sys.executable, "-c", RUN, str(some), str(out), str(workers)]
                done = subprocess.run(run, check=True, capture_output=True, text=True)
                took, main_peak, worker_peak = json.loads(done.stdout)
                print(f"| {count} | {workers} | {took:.1f} | {count / took:.1f} | {main_peak:.0f} "
                      f"| {worker_peak:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    app.run(main)
