"""The page in a headless Chromium, against the real command with a tiny run.

All of these are slow, and skipped where there is no Chromium, Playwright or Gradio.
"""

import re
import time
from pathlib import Path

import pytest
from helpers import chromium, fixtures
from helpers.chromium import drop, generate, say, status, upload

from vssflow_jax import media

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")
pytestmark = chromium.MARKS
PLAYS = """async (selector) => {
    const media = document.querySelector(selector);
    media.muted = true;
    await media.play();
    await new Promise(done => setTimeout(done, 700));
    return {duration: media.duration, error: media.error && media.error.message,
            time: media.currentTime};
}"""


def media_duration(path):
    return media.probe(path).duration


@pytest.mark.parametrize("name", ["miniav", *fixtures.REAL_VIDEOS])
def test_a_video_gets_its_sound(visit, tiny_run, tmp_path, name):
    """Progress is seen, the result plays to its length, and the download is a whole file."""
    source = next((tiny_run / "corpus" / "videos").glob("*.mp4"))
    source = source if name == "miniav" else fixtures.find_real_video(name)
    page = visit()
    drop(page, source)
    say(page, "bin red by k two soon")
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
    media.write_wav(folder / "sound.mp4", fixtures.make_tone())
    media.write_video(folder / "long.mp4", fixtures.make_frames(1200), 1)
    return {"text.mp4": "The video", "long.mp4": "lasts 1200 s", "sound.mp4": "The video"}


def test_wrong_files_are_refused_and_the_page_goes_on(visit, tmp_path):
    page = visit()
    for name, words in wrong_files(tmp_path).items():
        upload(page, "#video", tmp_path / name)
        status(page, words)
        page.get_by_label("Clear").first.click()
        status(page, "Ready.")
    upload(page, "#video", tmp_path / "large.mp4")
    page.wait_for_selector("text=/exceed|too large|larger/i")
    page.reload()
    page.wait_for_selector("#generate")
    evil = tmp_path / "..%2f..%2f..%2ftmp%2fevil.mp4"
    fixtures.write_video(evil)
    drop(page, evil)
    generate(page)
    assert not list(Path("/tmp").glob("evil*"))


def test_three_users_wait_their_turn(visit):
    pages = [visit() for _ in range(3)]
    for page in pages:
        say(page, "set blue at g nine now")
        page.click("#generate")
    for page in pages:
        status(page, "Done.")
        assert page.locator("#whole").is_visible()


def memory(process):
    """Resident megabytes of a process."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def test_many_requests_leave_no_file_and_no_memory(browser, tiny_run, tmp_path):
    keep, sizes = 20, []
    with (
        chromium.serving(tiny_run, tmp_path, f"--keep={keep}") as (address, process),
        chromium.visiting(browser, address) as visit,
    ):
        page = visit()
        say(page, "set blue at g nine now")
        for _ in range(24):
            generate(page)
            sizes.append(memory(process))
        for _ in range(20):
            left = [path for path in tmp_path.rglob("*") if path.is_file()]
            if not left:
                break
            time.sleep(keep / 4)
    assert max(sizes[-4:]) < max(sizes[4:8]) * 1.05 + 20, sizes
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
        *("Speech ends", "Voice", "Seed", "Candidates", "Guidance", "More", "Generate"),
    ):
        assert words in together, words


def test_it_fits_a_phone(visit):
    page = visit(width=390, height=844)
    chromium.more(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 392


def test_nothing_is_left_when_it_ends(tiny_run, tmp_path):
    """The folder of uploads goes with the server."""
    with chromium.serving(tiny_run, tmp_path) as (_, process):
        process.send_signal(2)
        process.wait(60)
    assert not list(tmp_path.glob("vssflow-*"))
