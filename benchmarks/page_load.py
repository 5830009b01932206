"""The web page under load: requests, refusals, the server's memory, files that are left.

    python -m benchmarks.page_load [--clients=20] [--minutes=10]

Serves the page and calls it by `gradio_client`. Each client asks, again and again and at random,
for speech, for sound for a video, for both in two candidates, or for what is wrong; or it leaves
while its request waits or runs, and another one comes. Every other second the server's resident
memory and the files of its folder are counted. At the end all clients leave; files that are there
after `--keep` seconds, and a fourth more, are left over.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.claims.tables import format_markdown
from vssflow_jax import bundled, media
from vssflow_jax.config import command_line

SECONDS = 1.6  # of the video
SIDE = 128  # pixels
STEPS = 4
TIMEOUT = 600.0  # seconds that a client waits for an answer
INTERVAL = 2.0  # seconds between measurements
TEXT = "We open at nine."


class Load:
    """Clients of a page, and what became of their requests.

    Args:
      address: of the page.
      video: a file that they upload.
    """

    def __init__(self, address: str, video: Path):
        self.address, self.video = address, video
        self.counts: collections.Counter[str] = collections.Counter()
        self.waits: list[float] = []
        self.has_ended = threading.Event()

    def run_client(self, number: int) -> None:
        """Sends requests, one after another, until the end."""
        rng = np.random.default_rng(number)
        while not self.has_ended.is_set():
            client = self.connect()
            try:
                while not self.has_ended.is_set() and self.request(client, rng):
                    pass
            finally:
                client.close()

    def connect(self):
        """A new visitor."""
        from gradio_client import Client

        return Client(
            self.address,
            verbose=False,
            analytics_enabled=False,
            httpx_kwargs={"timeout": TIMEOUT},
        )

    def request(self, client, rng: np.random.Generator) -> bool:
        """One request; whether the visitor stays."""
        kind = str(rng.choice(["speech", "sound", "both", "wrong", "leave"]))
        job = client.submit(api_name="/generate", steps=STEPS, **self.make_arguments(kind))
        started = time.monotonic()
        if kind == "leave":
            self.has_ended.wait(rng.uniform(0, 5))
            self.counts["left"] += 1
            return False
        try:
            files, _ = job.result(timeout=TIMEOUT)
        except Exception as error:  # all kinds of the client's; what is unexpected is printed
            self.count_error(kind, str(error))
            self.has_ended.wait(rng.uniform(0.5, 2))
            return True
        self.waits.append(time.monotonic() - started)
        self.counts["answered" if kind != "wrong" and files else "answered wrongly"] += 1
        for path in files:
            Path(path).unlink(missing_ok=True)  # the client's copies
        return True

    def make_arguments(self, kind: str) -> dict:
        """The arguments of a request."""
        from gradio_client import handle_file

        arguments = {"seed": 1, "video": handle_file(self.video)}
        if kind == "wrong":
            return arguments | {"mix": "loud"}
        if kind == "sound":
            return arguments
        if kind == "both":
            return arguments | {"text": TEXT, "candidates": 2}
        return {"text": TEXT}

    def count_error(self, kind: str, text: str) -> None:
        """Counts a request that was refused."""
        if "queue is full" in text.lower():
            self.counts["refused, queue full"] += 1
        elif kind == "wrong" and "loud" in text:
            self.counts["wrong input named"] += 1
        else:
            self.counts["failed"] += 1
            print(f"failed: {kind}: {text[:300]}", flush=True)


def read_memory(process: subprocess.Popen) -> float:
    """The resident megabytes of a process."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1000


def list_files(folder: Path) -> list[Path]:
    """All files below a folder, from which others are deleted meanwhile."""
    return [Path(place) / name for place, _, names in os.walk(folder) for name in names]


def watch(process: subprocess.Popen, folder: Path, seconds: float) -> list[tuple[float, int]]:
    """Megabytes of the server and number of its files, again and again."""
    end, rows = time.monotonic() + seconds, []
    while time.monotonic() < end:
        time.sleep(INTERVAL)
        rows.append((read_memory(process), len(list_files(folder))))
    return rows


def measure(address: str, process: subprocess.Popen, folder: Path, video: Path) -> None:
    """Runs all clients and prints what was measured."""
    load, minutes = Load(address, video), flags.FLAGS.minutes
    start = read_memory(process)
    clients = [
        threading.Thread(target=load.run_client, args=(number,))
        for number in range(flags.FLAGS.clients)
    ]
    for client in clients:
        client.start()
    rows = watch(process, folder, 60 * minutes)
    load.has_ended.set()
    for client in clients:
        client.join()
    time.sleep(1.25 * flags.FLAGS.keep + 10)
    left = list_files(folder)
    print(format_markdown(["requests", "number"], [[k, str(v)] for k, v in load.counts.items()]))
    waits = np.array(load.waits or [np.nan])
    print(f"seconds until an answer: median {np.median(waits):.1f}, largest {waits.max():.1f}")
    table = [
        [f"minutes {part * minutes / 5:g} to {(part + 1) * minutes / 5:g}",
         f"{max(memory for memory, _ in chunk):.0f}", str(max(count for _, count in chunk))]
        for part, chunk in enumerate(rows[k * len(rows) // 5 : (k + 1) * len(rows) // 5]
                                     for k in range(5))
        if chunk
    ]  # fmt: skip
    print(format_markdown(["", "largest memory, MB", "most files"], table))
    end, peak = read_memory(process), max(memory for memory, _ in rows)
    print(f"memory: {start:.0f} MB at the start, {peak:.0f} MB at most, {end:.0f} MB at the end")
    print(f"files left: {len(left)}", flush=True)
    for path in left[:5]:
        print(f"left: {path.relative_to(folder)}")


def main() -> None:
    """Serves the page and measures it."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as server_folder:
        video, folder = Path(name) / "in.mp4", Path(server_folder)
        frames = np.random.default_rng(0).integers(0, 255, (round(SECONDS * 25), SIDE, SIDE, 3))
        media.write_video(video, frames.astype(np.uint8), 25)
        command = [sys.executable, "-m", "vssflow_jax.app", f"--workdir={flags.FLAGS.workdir}"]
        process = subprocess.Popen(
            [*command, "--port=0", f"--queue={flags.FLAGS.queue}", f"--keep={flags.FLAGS.keep}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": server_folder},
        )
        os.environ["GRADIO_TEMP_DIR"] = name  # of the clients' downloads
        try:
            address = re.search(r"page: (\S+)", process.stdout.readline())[1]
            measure(address, process, folder, video)
        finally:
            process.terminate()
            process.wait(60)


def define_flags() -> None:
    """The flags of the benchmark."""
    command_line.define_path("workdir", bundled.DEFAULT, bundled.WORKDIR_HELP)
    flags.DEFINE_integer("clients", 20, "Visitors at a time.")
    flags.DEFINE_float("minutes", 10.0, "Length of the test.")
    flags.DEFINE_integer("queue", 16, "Requests that may wait.")
    flags.DEFINE_integer("keep", 60, "Seconds that the server keeps files.")


if __name__ == "__main__":
    command_line.run(main, define_flags)
