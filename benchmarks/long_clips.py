"""Long clips: seams at the borders of windows, and memory by length.

    python -m benchmarks.long_clips --workdir=DIR --videos=FOLDER [--seconds=60]

Joins the videos of a folder (MiniAV's, say) to one of so many seconds, makes sound and speech
for it, and compares how much the log-mel changes at the borders of windows with how much it
changes elsewhere. Then makes clips of growing length, each in a process of its own: speech
alone, and speech and sound for a video of 256 x 256 pixels, written to a file. Prints the peak
of resident memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import measuring
from vssflow_jax import Generator, conditions, media
from vssflow_jax.evaluation.metrics.common import FRAME_RATE, log_mels
from vssflow_jax.flow import windows
from vssflow_jax.generation.synthesis import OVERLAP

WORKDIR = flags.DEFINE_string("workdir", None, "A run's folder, or a model's name.")
VIDEOS = flags.DEFINE_string("videos", None, "Folder of mp4 files.")
SECONDS = flags.DEFINE_float("seconds", 60.0, "Length of the clip whose seams are measured.")
MEMORY = flags.DEFINE_float("memory", 0.0, "Makes a clip of so many seconds, prints its peak.")
VIDEO = flags.DEFINE_string("video", None, "Of the clip whose memory is measured.")
LENGTHS = (4, 15, 60, 120, 240)  # seconds
NEAR = 2  # log-mel frames around a border that count as it
SIDE, ENLARGE = 128, 2  # pixels of a picture's side; by how much, where memory is measured
SENTENCES = ("bin red by k two soon", "set blue at g nine now", "lay green in r five please")


def joined(folder: Path, seconds: float, out: Path, enlarge: int = 1) -> None:
    """A video of so many seconds from those of a folder, one after another."""
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


def borders(generator: Generator, seconds: float) -> np.ndarray:
    """Seconds at which a window begins or ends within the clip."""
    length = conditions.num_latent_frames(seconds)
    window = conditions.num_latent_frames(generator.config.data.duration)
    first = windows.window_starts(length, window, OVERLAP)
    edges = np.unique(np.concatenate([first[1:], first[:-1] + window]))
    return edges[edges < length] / conditions.LATENT_RATE


def seams(wave: np.ndarray, times: np.ndarray) -> dict[str, float]:
    """The change of the log-mel (mean over bands, nepers a frame) at borders and elsewhere."""
    mel = log_mels([wave])[0]
    change = np.abs(np.diff(mel, axis=0)).mean(1)
    largest = np.array([change[max(k - NEAR, 0) : k + NEAR + 1].max() for k in range(len(change))])
    at = np.round(times * FRAME_RATE).astype(int)
    elsewhere = np.ones(len(change), bool)
    for frame in at:
        elsewhere[max(frame - 20, 0) : frame + 20] = False
    return {
        "borders": len(at),
        "mean at borders": float(largest[at].mean()),
        "mean elsewhere": float(largest[elsewhere].mean()),
        "largest at borders": float(largest[at].max()),
        "largest elsewhere": float(largest[elsewhere].max()),
        "share elsewhere above the largest at borders": float(
            (largest[elsewhere] > largest[at].max()).mean()
        ),
    }


def script(seconds: float) -> list[dict]:
    """A sentence every five seconds."""
    starts = np.arange(0.5, seconds - 3, 5.0)
    return [{"text": SENTENCES[k % 3], "start": float(t)} for k, t in enumerate(starts)]


def memory(seconds: float, *more: str) -> int:
    """Peak of a process that makes a clip of so many seconds, MB."""
    command = (sys.executable, "-m", "benchmarks.long_clips", f"--memory={seconds}", *more)
    done = subprocess.run(
        (*command, f"--workdir={WORKDIR.value}"), capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main(argv) -> None:
    """Prints both tables."""
    del argv
    generator = Generator.from_workdir(WORKDIR.value)
    if MEMORY.value:
        with tempfile.TemporaryDirectory() as folder:
            lines = script(max(MEMORY.value, 4))
            made = generator(VIDEO.value, script=lines, duration=MEMORY.value)
            made.save(Path(folder) / ("out.mp4" if VIDEO.value else "out.wav"))
        print(measuring.peak() // 2**20)
        return
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        joined(Path(VIDEOS.value), SECONDS.value, video)
        made = generator(video=video, script=script(SECONDS.value))
    for name, wave in {"both": made.wave, **made.stems}.items():
        print(name)
        for key, value in seams(wave, borders(generator, SECONDS.value)).items():
            print(f"  {key}: {value:.4g}")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in LENGTHS:
            video = Path(folder) / f"{seconds}.mp4"
            joined(Path(VIDEOS.value), seconds, video, ENLARGE)
            for kind, more in {"speech": (), "video": (f"--video={video}",)}.items():
                print(f"{kind}, {seconds} s: {memory(seconds, *more)} MB", flush=True)


if __name__ == "__main__":
    app.run(main)
