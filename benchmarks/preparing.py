"""Speed of preparing shards: `python -m benchmarks.preparing --manifest=clips.csv`.

Prints the time of each stage of a clip in one process, then whole runs by the number of
workers, with the largest memory of the main process and of a worker.

With `--overlap=N` it measures instead how much of the decoding runs during the encoding: the main
process runs CLIP's network on one half of the cores, in place of an accelerator, and the workers
decode N clips, enlarged to `--side` pixels, on the other half.
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
from absl import flags
from PIL import Image

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.encoders.clip import ClipViTConfig
from vssflow_jax.features import face_tracking, registry, runner
from vssflow_jax.preparation import examples
from vssflow_jax.preparation.prepare import prepare, read_source
from vssflow_jax.text import aligner, alignment, normalize
from vssflow_jax.text.grid import phonemes_to_frames
from vssflow_jax.weights import published, sources

RUN = """
import json, resource, sys, time
from vssflow_jax.preparation.prepare import prepare
start = time.perf_counter()
prepare(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), progress=False)
seconds = time.perf_counter() - start
peaks = [resource.getrusage(who).ru_maxrss / 1024
         for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([seconds, *peaks]))
"""


class Clock:
    """Seconds and calls by stage."""

    def __init__(self):
        self.seconds, self.calls = collections.Counter(), collections.Counter()

    def __call__(self, stage, function, *arguments, **options):
        """Calls the function and adds its time to the stage's."""
        start = time.perf_counter()
        result = function(*arguments, **options)
        self.seconds[stage] += time.perf_counter() - start
        self.calls[stage] += 1
        return result


def time_stages(rows, annotations, folder: pathlib.Path) -> None:
    """Prints milliseconds and clips a second of each stage over the rows."""
    clock = Clock()
    with shards.open_shard_writer(folder / "stages.array_record") as write:
        for row in rows:
            clock("hash of the file", examples.hash_media, row.video or row.audio)
            video = clock("decode frames", media.read_video, row.video)
            wave = clock("decode sound", media.read_audio, row.audio or row.video)
            duration = len(video.frames) / registry.VIDEO_RATE
            mouth = annotations.get(row.id, {}).get("mouth")
            boxes = mouth and np.broadcast_to(mouth, (len(video.frames), 4))
            inputs = registry.EncoderInputs(
                duration=duration,
                frames=video.frames,
                speaker_wave=wave,
                mouth=mouth and face_tracking.MouthTrack.from_boxes(boxes),
            )
            clock("encode: thumbnails (shared)", getattr, inputs, "thumbnails")
            record = {"wave": media.to_int16(wave), "meta": {"id": row.id}}
            for encoder in registry.BUILT_IN:
                features = clock(f"encode: {encoder.condition}", encoder.encode, inputs)
                if features is not None:
                    record[encoder.condition] = features.astype("float16")
            if row.text:  # for manifests without mouths and alignments
                clock(
                    "find the mouth (without an annotation)",
                    face_tracking.track_mouth,
                    video.frames,
                )
                words = normalize.words(row.text)
                with contextlib.suppress(InputError):
                    clock(
                        "align the text (without an alignment)",
                        aligner.align_words,
                        wave,
                        words,
                    )
            if row.alignment:
                intervals = clock(
                    "phonemes from the alignment", alignment.read_alignment, row.alignment
                )
                record["phonemes"] = phonemes_to_frames(intervals, round(duration * 25))
            data = clock("record to bytes", shards.encode_record, record)
            clock("write", write, data)
    print("\n| stage | clips | ms a clip | clips a second |\n|---|---|---|---|")
    for stage, seconds in clock.seconds.items():
        count = clock.calls[stage]
        print(f"| {stage} | {count} | {1e3 * seconds / count:.2f} | {count / seconds:.0f} |")


def write_manifest(manifest: pathlib.Path, rows, folder: pathlib.Path) -> pathlib.Path:
    """Writes some rows as a manifest, with the annotations of the original one."""
    path = folder / "clips.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, manifests.COLUMNS)
        writer.writeheader()
        writer.writerows({name: getattr(row, name) for name in manifests.COLUMNS} for row in rows)
    annotations = manifest.with_name(manifests.ANNOTATIONS)
    if annotations.exists():
        shutil.copy(annotations, folder)
    return path


# ---- decoding during encoding ---------------------------------------------------------------


def time_overlap(rows, folder: pathlib.Path) -> None:
    """Prints seconds of decoding alone, of encoding alone, and of both in the pool.

    The first and the last are runs of `prepare`. In the first the encoder returns zeros at once,
    and its inputs are collected; the second is the encoder on those inputs. The hidden share
    relates to the seconds of the encoder in the last: beside the workers it has less of the
    machine than alone.
    """
    manifest = enlarge_videos(rows, folder / "enlarged")
    cores = sorted(os.sched_getaffinity(0))
    half = max(len(cores) // 2, 1)
    os.sched_setaffinity(0, cores[:half])
    pin_workers(cores[half:] or cores, folder)
    write_random_network(folder / "weights")
    run, collected, config = runner._answer, [], runner.read_config("clip")

    def return_zeros(questions):
        collected.append(questions)
        parts = [parts for _, parts in questions]
        return [[np.zeros((len(p), config.width), "f4") for p in some] for some in parts]

    def prepare_all(name) -> None:
        workers = len(cores) - half or 1
        options = {"workers": workers, "encoder_set": "clip=published", "progress": False}
        prepare(manifest, folder / name, **options)

    run([("clip", [np.zeros((1, config.side, config.side, 3), np.uint8)])])  # compiles
    clock = Clock()
    runner._answer = return_zeros
    clock("decode", prepare_all, "decoded")
    for questions in collected:
        clock("encode", run, questions)
    runner._answer = lambda questions: clock("busy", run, questions)
    clock("both", prepare_all, "both")
    decode, encoding, both, busy = (clock.seconds[k] for k in ("decode", "encode", "both", "busy"))
    hidden = (decode + busy - both) / min(decode, busy)
    columns = ("clips", "decode alone, s", "encode alone, s", "both in the pool, s",
               "of that the encoder, s", "hidden of the smaller")  # fmt: skip
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    seconds = " | ".join(f"{value:.1f}" for value in (decode, encoding, both, busy))
    print(f"| {len(rows)} | {seconds} | {hidden:.0%} |")


def enlarge_videos(rows, folder: pathlib.Path) -> pathlib.Path:
    """Writes the rows' videos with larger frames and without sound; returns their manifest."""
    folder.mkdir()
    size = (flags.FLAGS.side, flags.FLAGS.side)
    for row in rows:
        frames = media.read_video(row.video).frames
        large = [np.asarray(Image.fromarray(f).resize(size, Image.BICUBIC)) for f in frames]
        media.write_video(folder / f"{row.id}.mp4", np.stack(large), registry.VIDEO_RATE)
    path = folder / "clips.csv"
    lines = [f"{row.id},{row.id}.mp4,train" for row in rows]
    path.write_text("\n".join(["id,video,split", *lines]) + "\n")
    return path


def pin_workers(cores, folder: pathlib.Path) -> None:
    """Restricts processes that start from now on to these cores."""
    script = folder / "python"
    core_list = ",".join(map(str, cores))
    script.write_text(f'#!/bin/sh\nexec taskset -c {core_list} "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    multiprocessing.set_executable(str(script))


def write_random_network(folder: pathlib.Path) -> None:
    """Writes random weights of CLIP's network, at full width with few layers, and uses them."""
    config, rng = ClipViTConfig(layers=flags.FLAGS.layers), np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.02 * rng.standard_normal(leaf.shape, np.float32),
        published.parameter_shapes("clip", config),
    )
    published.save_encoder("clip", config, params, {"file": "random"}, folder / "clip")
    os.environ[sources.VARIABLE] = str(folder)


def main() -> None:
    """Prints the tables."""
    manifest = pathlib.Path(flags.FLAGS.manifest)
    rows, annotations = read_source(manifest)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if flags.FLAGS.overlap:
            return time_overlap(rows[: flags.FLAGS.overlap], folder)
        if flags.FLAGS.stages:
            time_stages(rows[: flags.FLAGS.stages], annotations, folder)
        print("\n| clips | workers | seconds | clips a second | main MB | largest worker MB |")
        print("|---|---|---|---|---|---|")
        for count in flags.FLAGS.clips or [len(rows)]:
            subset = write_manifest(manifest, rows[:count], folder)
            for workers in flags.FLAGS.workers:
                out = folder / f"{count}-{workers}"
                run = [sys.executable, "-c", RUN, str(subset), str(out), str(workers)]
                done = subprocess.run(run, check=True, capture_output=True, text=True)
                seconds, main_peak, worker_peak = json.loads(done.stdout)
                times = f"{seconds:.1f} | {count / seconds:.1f}"
                peaks = f"{main_peak:.0f} | {worker_peak:.0f}"
                print(f"| {count} | {workers} | {times} | {peaks} |", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string("manifest", None, "Manifest of the clips.", required=True)
    flags.DEFINE_integer("stages", 100, "Clips whose stages are timed; 0: none.")
    flags.DEFINE_multi_integer("workers", [1, 2], "Numbers of workers.")
    flags.DEFINE_multi_integer("clips", [], "Numbers of clips of whole runs; none: all.")
    flags.DEFINE_integer("overlap", 0, "Clips of which decoding and encoding are measured.")
    flags.DEFINE_integer("layers", 1, "Layers of CLIP's 12, at full width (--overlap).")
    flags.DEFINE_integer("side", 1080, "Pixels of the decoded frames (--overlap).")


if __name__ == "__main__":
    command_line.run(main, define_flags)
