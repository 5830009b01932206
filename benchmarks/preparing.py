"""How fast media become shards: `python benchmarks/preparing.py --manifest=clips.csv`.

Prints the time of each stage of a clip in one process, then whole runs by the number of
workers, with the largest memory of the main process and of a worker.
"""

import collections
import contextlib
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags

from vssflow_jax import clips, media
from vssflow_jax.data import manifest as manifests
from vssflow_jax.data import shards
from vssflow_jax.errors import InputError
from vssflow_jax.features import encode, faces
from vssflow_jax.prepare import read_source
from vssflow_jax.text import aligner, normalize, timing

MANIFEST = flags.DEFINE_string("manifest", None, "Manifest of the clips.", required=True)
STAGES = flags.DEFINE_integer("stages", 100, "Clips whose stages are timed; 0: none.")
WORKERS = flags.DEFINE_multi_integer("workers", [1, 2], "Numbers of workers.")
CLIPS = flags.DEFINE_multi_integer("clips", [], "Numbers of clips of whole runs; none: all.")

RUN = """
import json, resource, sys, time
from vssflow_jax.prepare import prepare
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
    with shards.shard_writer(folder / "stages.array_record") as write:
        for row in rows:
            clock("hash of the file", clips.source, row.video or row.audio)
            picture = clock("decode pictures", media.read_video, row.video)
            wave = clock("decode sound", media.read_audio, row.audio or row.video)
            duration = len(picture.frames) / encode.VIDEO_RATE
            mouth = notes.get(row.id, {}).get("mouth")
            clip = encode.Clip(
                duration=duration,
                frames=picture.frames,
                speaker_wave=wave,
                mouth=mouth and faces.Mouth.at(np.broadcast_to(mouth, (len(picture.frames), 4))),
            )
            clock("encode: thumbnails (shared)", getattr, clip, "thumbs")
            record = {"wave": media.pcm(wave), "meta": {"id": row.id}}
            for encoder in encode.EMBEDDED:
                made = clock(f"encode: {encoder.condition}", encoder.encode, clip)
                if made is not None:
                    record[encoder.condition] = made.astype("float16")
            if row.text:  # what is done where the manifest does not say
                clock("find the mouth (where none is given)", faces.find_mouth, picture.frames)
                words = normalize.words(row.text)
                with contextlib.suppress(InputError):
                    clock("align the text (where no times are given)", aligner.align, wave, words)
            if row.alignment:
                spoken = clock("phonemes from the alignment", timing.read_alignment, row.alignment)
                record["phonemes"] = timing.to_grid(spoken, round(duration * 25))
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


def main(_) -> None:
    manifest = pathlib.Path(MANIFEST.value)
    rows, notes = read_source(manifest)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
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
