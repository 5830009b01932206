"""Long clips: seams at the borders of windows, and memory by length.

    python -m benchmarks.long_clips --workdir=DIR --videos=FOLDER [--seconds=60]

Joins the videos of a folder (such as MiniAV's) to one long video, generates sound and speech for
it, and compares the change of the log-mel at the borders of windows with the change elsewhere.
Then it generates clips of increasing length, each in a process of its own: speech alone, and speech
and sound for a video of 256 x 256 pixels, written to a file. It prints peak resident memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks import measuring
from vssflow_jax import Generator, bundled, conditions, media
from vssflow_jax.config import command_line
from vssflow_jax.evaluation.metrics.common import FRAME_RATE
from vssflow_jax.evaluation.metrics.loops import measure_change
from vssflow_jax.flow import windows
from vssflow_jax.generation.synthesis import OVERLAP

LENGTHS = (4, 15, 60, 120, 240)  # seconds
NEAR = 2  # log-mel frames around a border that belong to it
SIDE, ENLARGE = 128, 2  # pixels of a frame's side; its enlargement where memory is measured
SENTENCES = ("bin red by k two soon", "set blue at g nine now", "lay green in r five please")


def join_videos(folder: Path, seconds: float, out: Path, enlarge: int = 1) -> None:
    """Writes a video of this length from those of a folder, one after another."""
    parts, count = [], 0
    files = sorted(folder.glob("*.mp4"))
    for number in range(10_000):
        frames = media.read_video(files[number % len(files)], 25.0, SIDE).frames[:, :SIDE, :SIDE]
        parts.append(frames)
        count += len(frames)
        if count >= seconds * 25:
            break
    frames = np.concatenate(parts)[: round(seconds * 25)]
    media.write_video(out, frames.repeat(enlarge, 1).repeat(enlarge, 2), 25)


def window_borders(generator: Generator, seconds: float) -> np.ndarray:
    """Seconds at which a window starts or ends within the clip."""
    length = conditions.num_latent_frames(seconds)
    window = conditions.num_latent_frames(generator.config.data.duration)
    first = windows.window_starts(length, window, OVERLAP)
    edges = np.unique(np.concatenate([first[1:], first[:-1] + window]))
    return edges[edges < length] / conditions.LATENT_RATE


def find_largest(change: np.ndarray) -> np.ndarray:
    """The largest change within two frames of each."""
    return np.array([change[max(k - NEAR, 0) : k + NEAR + 1].max() for k in range(len(change))])


def measure_seams(wave: np.ndarray, times: np.ndarray) -> dict[str, float]:
    """The change of the log-mel (mean over bands, nepers a frame) at borders and elsewhere."""
    change = measure_change(wave)
    largest = find_largest(change)
    border_frames = np.round(times * FRAME_RATE).astype(int)
    elsewhere = np.ones(len(change), bool)
    for frame in border_frames:
        elsewhere[max(frame - 20, 0) : frame + 20] = False
    return {
        "borders": len(border_frames),
        "mean at borders": float(largest[border_frames].mean()),
        "mean elsewhere": float(largest[elsewhere].mean()),
        "largest at borders": float(largest[border_frames].max()),
        "largest elsewhere": float(largest[elsewhere].max()),
        "share elsewhere above the largest at borders": float(
            (largest[elsewhere] > largest[border_frames].max()).mean()
        ),
    }


def make_script(seconds: float) -> list[dict]:
    """A sentence every five seconds."""
    starts = np.arange(0.5, seconds - 3, 5.0)
    return [{"text": SENTENCES[k % 3], "start": float(t)} for k, t in enumerate(starts)]


def measure_memory(seconds: float, *options: str) -> int:
    """Peak MB of a process that generates a clip of this length."""
    command = (sys.executable, "-m", "benchmarks.long_clips", f"--memory={seconds}", *options)
    done = subprocess.run(
        (*command, f"--workdir={flags.FLAGS.workdir}"), capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> None:
    """Prints both tables."""
    generator = Generator.from_workdir(flags.FLAGS.workdir)
    if flags.FLAGS.memory:
        with tempfile.TemporaryDirectory() as folder:
            lines = make_script(max(flags.FLAGS.memory, 4))
            output = generator(flags.FLAGS.video, script=lines, duration=flags.FLAGS.memory)
            output.save(Path(folder) / ("out.mp4" if flags.FLAGS.video else "out.wav"))
        print(measuring.peak_memory() // 2**20)
        return
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        join_videos(Path(flags.FLAGS.videos), flags.FLAGS.seconds, video)
        output = generator(video=video, script=make_script(flags.FLAGS.seconds))
    for name, wave in {"mix": output.wave, **output.stems}.items():
        print(name)
        for key, value in measure_seams(
            wave, window_borders(generator, flags.FLAGS.seconds)
        ).items():
            print(f"  {key}: {value:.4g}")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in LENGTHS:
            video = Path(folder) / f"{seconds}.mp4"
            join_videos(Path(flags.FLAGS.videos), seconds, video, ENLARGE)
            for kind, options in {"speech": (), "video": (f"--video={video}",)}.items():
                print(f"{kind}, {seconds} s: {measure_memory(seconds, *options)} MB", flush=True)


def define_flags() -> None:
    """The flags of the command."""
    flags.DEFINE_string(
        "workdir", bundled.DEFAULT, "Folder of a run, or the name of a bundled model."
    )
    flags.DEFINE_string("videos", None, "Folder of mp4 files.")
    flags.DEFINE_float("seconds", 60.0, "Length of the clip whose seams are measured.")
    flags.DEFINE_float("memory", 0.0, "Generate a clip of this length and print its peak memory.")
    flags.DEFINE_string("video", None, "Of the clip whose memory is measured.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
