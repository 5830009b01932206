"""The web page for tests: its server, a headless Chromium, and what visitors do."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from helpers import tiny_configs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
TIMEOUT = 240_000  # milliseconds; the first request compiles
# Keeps the percentages of the progress bar, in whichever way the page changes it.
WATCH = """
window.seen = [];
new MutationObserver(() => {
    const bar = document.querySelector('#status progress');
    if (bar && bar.value !== window.seen.at(-1)) window.seen.push(bar.value);
}).observe(document, {subtree: true, childList: true, attributeFilter: ['value']});
"""
# Threads have heaps of their own, up to 8 a core: until all of them exist, memory seems to grow.
SERVER_ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "MALLOC_ARENA_MAX": "2"}
REDRAW = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@contextlib.contextmanager
def serve_page(workdir, folder, *flags):
    """The page of a run: its address and its process, whose temporary files lie in `folder`."""
    # Ctrl-C ends the server, even where the shell that runs the tests ignores it.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        (sys.executable, "-m", "vssflow_jax.app", f"--workdir={workdir}", "--port=0", *flags),
        cwd=tiny_configs.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **SERVER_ENVIRONMENT, "TMPDIR": str(folder)},
    )
    signal.signal(signal.SIGINT, handler)
    try:
        yield re.search(r"page: (\S+)", process.stdout.readline())[1], process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def open_browser(microphone):
    """A browser whose microphone hears an audio file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=CHROMIUM,
            args=[*ARGUMENTS, f"--use-file-for-fake-audio-capture={microphone}"],
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def open_pages(browser, address):
    """Opens pages; afterwards none of them may have an error in its console."""
    contexts, errors = [], []

    def open_page(width=1366, height=900):
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, permissions=["microphone"]))
        page = contexts[-1].new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda r: errors.append(r.url) if is_foreign(r.url) else None)
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_selector("#generate")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def is_foreign(url):
    return not url.startswith(("http://127.0.0.1", "data:", "blob:"))


def wait_for_status(page, words):
    """Waits until the status line has the words."""
    page.wait_for_function(
        "words => document.querySelector('#status').innerText.includes(words)", arg=words
    )


def upload(page, selector, path):
    page.set_input_files(f"{selector} input[type=file]", path)


def upload_video(page, path):
    """Uploads a video and waits until the page has looked at it."""
    upload(page, "#video", path)
    wait_for_status(page, "The video lasts")


def fill_text(page, text):
    page.fill("#text textarea", text)


def open_more(page):
    """Opens the fields that are hidden at first."""
    page.get_by_role("button", name="More").click()
    page.get_by_label("number input for Steps").wait_for()
    page.evaluate(REDRAW)


def fill_number(page, label, value):
    """Types a number into a field or beside a slider."""
    slider = page.get_by_label(f"number input for {label}", exact=True)
    field = slider if slider.count() else find_field(page, label)
    field.fill(f"{value:g}")
    field.press("Tab")
    page.evaluate(REDRAW)
    assert field.input_value() == f"{value:g}"


def find_field(page, label):
    """A field by the words of its label; choices may have them as well."""
    return page.locator("input:not([type=radio]), textarea").and_(page.get_by_label(label))


def clear_number(page, label):
    """Empties a number field."""
    field = find_field(page, label)
    field.fill("")
    field.press("Tab")
    page.evaluate(REDRAW)
    assert field.input_value() == ""


def press_generate(page, press=None):
    """Presses the button; the percentages that the page showed until it was done."""
    from playwright.sync_api import TimeoutError

    page.evaluate("window.seen = []")
    (press or page.locator("#generate").click)()
    try:
        page.wait_for_function("window.seen.length")
        wait_for_status(page, "Done.")
    except TimeoutError:
        raise AssertionError(f"not done: {page.inner_text('#status')}") from None
    page.wait_for_selector("#files a")
    page.evaluate(REDRAW)  # with "Done." came all the rest
    return page.evaluate("window.seen")


def read_downloads(page):
    """The bytes of all files of the result by their names."""
    links = page.eval_on_selector_all("#files a", "all => all.map(a => [a.download, a.href])")
    return {name: page.request.get(address).body() for name, address in links}
