"""The page in a headless Chromium, against the real command with a tiny run.

All of these are slow, and skipped where there is no Chromium, Playwright or Gradio.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import making
import pytest
import tiny

from vssflow_jax import media

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PATIENCE = 240_000  # milliseconds; the first request compiles
KEEP = 5  # seconds that results are kept
PLAYS = """async (selector) => {
    const media = document.querySelector(selector);
    media.muted = true;
    await media.play();
    await new Promise(done => setTimeout(done, 700));
    return {duration: media.duration, error: media.error && media.error.message,
            time: media.currentTime};
}"""


@pytest.fixture(scope="module")
def server(tiny_run, tmp_path_factory):
    """The page's address, its process, and the folder of its temporary files."""
    folder = tmp_path_factory.mktemp("page")
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "vssflow_jax.app", f"--workdir={tiny_run}", "--port=0"),
            *(f"--keep={KEEP}", "--megabytes=100", "--seconds=60"),
        ),
        cwd=tiny.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "TMPDIR": str(folder)},
    )
    address = re.search(r"page: (\S+)", process.stdout.readline())[1]
    yield address, process, folder
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(server, browser):
    """Opens pages; afterwards none of them may have an error in its console."""
    contexts, errors = [], []

    def open_page(width=1366, height=900):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda r: errors.append(r.url) if foreign(r.url) else None)
        page.goto(server[0])
        page.wait_for_selector("#generate")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def media_duration(path):
    return media.probe(path).duration


def foreign(url):
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def status(page, words):
    """Waits until the status line has the words."""
    page.wait_for_function(
        "words => document.querySelector('#status').innerText.includes(words)", arg=words
    )


def drop(page, path):
    page.set_input_files("#video input[type=file]", path)


def generate(page):
    """Presses the button; the percentages that were seen until it is done."""
    page.click("#generate")
    seen = []
    for _ in range(PATIENCE // 50):
        text = page.inner_text("#status")
        found = re.search(r"(\d+) %", text)
        if found and int(found[1]) not in seen[-1:]:
            seen.append(int(found[1]))
        if seen and "Done." in text:
            return seen
        page.wait_for_timeout(50)
    raise AssertionError(f"not done: {page.inner_text('#status')}")


@pytest.mark.parametrize("name", ["miniav", *making.REAL])
def test_a_video_gets_its_sound(visit, tiny_run, tmp_path, name):
    """Progress is seen, the result plays to its length, and the download is a whole file."""
    source = next((tiny_run / "corpus" / "videos").glob("*.mp4"))
    source = source if name == "miniav" else making.real(name)
    page = visit()
    drop(page, source)
    status(page, "The video lasts")
    page.fill("#text textarea", "bin red by k two soon")
    seen = generate(page)
    assert seen == sorted(seen) and seen[0] == 0 and len(seen) >= 2
    page.wait_for_selector("#result video")
    page.wait_for_function("document.querySelector('#result video').readyState >= 2")
    played = page.evaluate(PLAYS, "#result video")
    assert played["error"] is None and played["time"] > 0
    assert played["duration"] == pytest.approx(media_duration(source), abs=0.2)
    assert "Conditions used: clip" in page.inner_text("#line")
    assert "result.speech.wav" in page.inner_text("#files").replace("\n", "")
    with page.expect_download() as download:
        page.locator("#files a").first.click()
    path = tmp_path / "download.mp4"
    download.value.save_as(path)
    assert media_duration(path) == pytest.approx(media_duration(source), abs=0.1)


def wrong_files(folder):
    (folder / "text.mp4").write_text("not a video")
    (folder / "large.mp4").write_bytes(bytes(200_000_000))
    media.write_wav(folder / "sound.mp4", making.tone())
    media.write_video(folder / "long.mp4", making.pictures(1200), 1)
    return {"text.mp4": "The video", "long.mp4": "lasts 1200 s", "sound.mp4": "The video"}


def test_wrong_files_are_refused_and_the_page_goes_on(visit, server, tmp_path):
    page = visit()
    for name, words in wrong_files(tmp_path).items():
        drop(page, tmp_path / name)
        status(page, words)
        page.get_by_label("Clear").first.click()
        status(page, "Ready.")
    drop(page, tmp_path / "large.mp4")
    page.wait_for_selector("text=/exceed|too large|larger/i")
    page.reload()
    page.wait_for_selector("#generate")
    evil = tmp_path / "..%2f..%2f..%2ftmp%2fevil.mp4"
    making.clip(evil)
    drop(page, evil)
    status(page, "The video lasts")
    generate(page)
    assert not list(Path("/tmp").glob("evil*"))


def test_three_users_wait_their_turn(visit):
    pages = [visit() for _ in range(3)]
    for page in pages:
        page.fill("#text textarea", "set blue at g nine now")
        page.click("#generate")
    for page in pages:
        status(page, "Done.")
        assert page.locator("#whole").is_visible()


def memory(process):
    """Resident megabytes of a process."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def test_many_requests_leave_no_file_and_no_memory(visit, server):
    _, process, folder = server
    page = visit()
    page.fill("#text textarea", "set blue at g nine now")
    sizes = []
    for _ in range(24):
        generate(page)
        sizes.append(memory(process))
    assert max(sizes[-4:]) < max(sizes[4:8]) * 1.05 + 20, sizes
    for _ in range(20):
        left = [path for path in folder.rglob("*") if path.is_file()]
        if not left:
            break
        time.sleep(KEEP)
    assert left == []


def test_the_keyboard_reaches_everything(visit):
    page = visit()
    names = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        names.add(
            page.evaluate(
                "(() => {const e = document.activeElement; const box = e.closest('.block');"
                "return [e.id, e.ariaLabel, e.innerText, box && box.innerText].join(' ')})()"
            )
        )
    together = " ".join(names)
    for words in (
        *("Video", "speech and sound", "What is said", "Choose when", "Speech starts"),
        *("Speech ends", "Voice", "Seed", "Variants", "Guidance", "More", "Generate"),
    ):
        assert words in together, words


def test_it_fits_a_phone(visit):
    page = visit(width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 392


def test_nothing_is_left_when_it_ends(tiny_run, tmp_path):
    """The folder of uploads goes with the server."""
    process = subprocess.Popen(
        (sys.executable, "-m", "vssflow_jax.app", f"--workdir={tiny_run}", "--port=0"),
        cwd=tiny.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "TMPDIR": str(tmp_path)},
    )
    assert "page:" in process.stdout.readline()
    process.send_signal(2)
    process.wait(60)
    assert not list(tmp_path.glob("vssflow-*"))
