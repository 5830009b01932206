"""The page in a headless Chromium, against the real command with a tiny run.

All of these are slow, and skipped without Chromium, Playwright or Gradio.
"""

import io
import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers import chromium, fixtures, odd_media

from vssflow_jax import media

pytest.importorskip("gradio")
reverse_proxy = pytest.importorskip("helpers.reverse_proxy", exc_type=ImportError)
pytest.importorskip("playwright.sync_api")
pytestmark = chromium.MARKS
ONE, TWO = "bin red by k two soon", "set blue at g nine now"
PLAYERS = ("#both", "#speech", "#sound")
STEMS = ("result.wav", "result.speech.wav", "result.sound.wav")
PLAYS = """async (selector) => {
    const media = document.querySelector(selector);
    media.muted = true;
    await media.play();
    await new Promise(done => setTimeout(done, 700));
    return {duration: media.duration, error: media.error && media.error.message,
            time: media.currentTime};
}"""


def read_duration(path):
    return media.probe(path).duration


@pytest.mark.parametrize("name", ["miniav", *fixtures.REAL_VIDEOS])
def test_a_video_gets_its_sound(visit, tiny_run, tmp_path, name):
    """Progress is seen, the result plays to its length, and the download is a whole file."""
    source = next((tiny_run / "corpus" / "videos").glob("*.mp4"))
    source = source if name == "miniav" else fixtures.find_real_video(name)
    page = visit()
    chromium.upload_video(page, source)
    chromium.fill_text(page, "bin red by k two soon")
    seen = chromium.press_generate(page)
    assert seen == sorted(seen) and seen[0] == 0 and len(seen) >= 2
    page.wait_for_selector("#result video")
    page.wait_for_function("document.querySelector('#result video').readyState >= 2")
    played = page.evaluate(PLAYS, "#result video")
    assert played["error"] is None and played["time"] > 0
    assert played["duration"] == pytest.approx(read_duration(source), abs=0.2)
    assert "Conditions used: clip" in page.inner_text("#summary")
    assert "result.speech.wav" in page.inner_text("#files").replace("\n", "")
    with page.expect_download() as download:
        page.locator("#files a").first.click()
    path = tmp_path / "download.mp4"
    download.value.save_as(path)
    assert read_duration(path) == pytest.approx(read_duration(source), abs=0.1)


def wrong_files(folder):
    (folder / "text.mp4").write_text("not a video")
    (folder / "large.mp4").write_bytes(bytes(200_000_000))
    media.write_wav(folder / "sound.mp4", fixtures.make_tone())
    media.write_video(folder / "long.mp4", fixtures.make_frames(1200), 1)
    return {"text.mp4": "The video", "long.mp4": "lasts 1200 s", "sound.mp4": "The video"}


def test_wrong_files_are_refused_and_the_page_goes_on(visit, tmp_path):
    page = visit()
    for name, words in wrong_files(tmp_path).items():
        chromium.upload(page, "#video", tmp_path / name)
        chromium.wait_for_status(page, words)
        page.get_by_label("Clear").first.click()
        chromium.wait_for_status(page, "Ready.")
    chromium.upload(page, "#video", tmp_path / "large.mp4")
    page.wait_for_selector("text=/exceed|too large|larger/i")
    page.reload()
    page.wait_for_selector("#generate")
    evil = tmp_path / "..%2f..%2f..%2ftmp%2fevil.mp4"
    fixtures.write_video(evil)
    chromium.upload_video(page, evil)
    chromium.press_generate(page)
    assert not list(Path("/tmp").glob("evil*"))


def test_three_users_wait_their_turn(visit):
    pages = [visit() for _ in range(3)]
    for page in pages:
        chromium.fill_text(page, "set blue at g nine now")
        page.click("#generate")
    for page in pages:
        chromium.wait_for_status(page, "Done.")
        assert page.locator("#both").is_visible()


def memory(process):
    """Resident megabytes of a process."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def list_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


def test_many_requests_leave_no_file_and_no_memory(browser, tiny_run, tmp_path):
    """A result is replaced by the next; after --keep seconds the last is deleted as well."""
    keep, sizes = 20, []
    with (
        chromium.serve_page(tiny_run, tmp_path, f"--keep={keep}") as (address, process),
        chromium.open_pages(browser, address) as visit,
    ):
        page = visit()
        chromium.fill_text(page, TWO)
        for _ in range(24):
            chromium.press_generate(page)
            sizes.append(memory(process))
            names = sorted(path.name for path in list_files(tmp_path))
            assert names == ["result.json", "result.speech.wav", "result.srt", "result.wav"]
        assert wait_until(lambda: not list_files(tmp_path), 1.5 * keep)
    assert max(sizes[-4:]) < max(sizes[4:8]) * 1.05 + 20, sizes


def test_uploads_and_results_are_deleted_when_no_page_shows_them(
    browser, tiny_run, tmp_path, video, voices
):
    """Removed, replaced, shown by another page, or left; after a request that failed as well."""
    with (
        chromium.serve_page(tiny_run, tmp_path) as (address, _),
        chromium.open_pages(browser, address) as visit,
    ):
        first, second = visit(), visit()
        for page in (first, second):
            chromium.upload_video(page, video)
        choose_voice(first, 1, voices[0])
        chromium.fill_text(first, ONE)
        for _ in range(2):  # the same upload serves several requests
            chromium.press_generate(first)
        names = {path.name for path in list_files(tmp_path)}
        assert {video.name, voices[0].name, "result.mp4", "result.speech.wav"} <= names
        first.get_by_label("Clear").first.click()
        chromium.wait_for_status(first, "Ready.")
        assert video.name in {path.name for path in list_files(tmp_path)}
        chromium.fill_text(first, "")
        first.click("#generate")
        chromium.wait_for_status(first, "neither a video nor a text")
        first.close()
        assert wait_until(lambda: [path.name for path in list_files(tmp_path)] == [video.name])
        second.click("#generate")
        second.wait_for_function("window.seen.length")
        second.close()
        assert wait_until(lambda: not list_files(tmp_path), 60)


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
    chromium.open_more(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 392


def test_nothing_is_left_when_it_ends(tiny_run, tmp_path):
    """The folder of uploads goes with the server."""
    with chromium.serve_page(tiny_run, tmp_path) as (_, process):
        process.send_signal(2)
        process.wait(60)
    assert not list(tmp_path.glob("vssflow-*"))


# ---- requests -----------------------------------------------------------------------------


@pytest.fixture
def video(tiny_run):
    return min((tiny_run / "corpus" / "videos").glob("*.mp4"))


@pytest.fixture
def voices(tiny_run):
    """Recordings of two voices."""
    return [tiny_run / "corpus" / "voices" / f"{name}_0.wav" for name in ("ada", "ben")]


def choose_voice(page, number, path):
    chromium.upload(page, f"#voice{number}", path)
    page.wait_for_selector(f"#voice{number} [aria-label=Play]")


def read_conditions(page):
    """Names of the conditions that were used, and of those that were missing."""
    match = re.search(r"Conditions used: (.*?); not used: (.*?)\.", page.inner_text("#summary"))
    return [names.split(", ") for names in match.groups()]


def request_sound(page):
    """The bytes of the sound of a request."""
    chromium.press_generate(page)
    return chromium.read_downloads(page)["result.wav"]


def samples(data):
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


def press_play(page, player):
    """Presses a player's button; its clock must move."""
    page.click(f"{player} [aria-label=Play]")
    page.wait_for_function(
        "player => document.querySelector(`${player} time`).innerText !== '0:00'", arg=player
    )


def test_a_script_with_two_voices(visit, voices):
    """The result reaches behind the second line, and it matters whose voice that line has."""
    page = visit()
    chromium.open_more(page)
    for number, path in enumerate(voices, 1):
        choose_voice(page, number, path)
    sounds = {}
    for number in ("", "1", "2"):
        page.fill("#lines textarea", f"0.5,2.0,{ONE}\n2.5,4.1,{TWO},{number}")
        sounds[number] = request_sound(page)
        assert read_conditions(page) == [["speaker", "phonemes"], ["clip", "lips", "sync"]]
    assert sounds[""] == sounds["1"] != sounds["2"]
    seconds = len(samples(sounds["2"])) / 16_000
    assert 4.1 <= seconds <= 5 and page.inner_text("#summary").startswith(f"{seconds:.2f} s")
    page.fill("#lines textarea", f",,{ONE},3")
    page.click("#generate")
    chromium.wait_for_status(page, "line 1: found voice '3'")


def test_candidates_come_best_first(visit, voices):
    """As many as asked for, in the order of the scores that the page tells."""
    page = visit()
    choose_voice(page, 1, voices[0])
    chromium.fill_text(page, ONE)
    chromium.fill_number(page, "Seed", 5)
    chromium.fill_number(page, "Candidates, best first", 3)
    best = request_sound(page)
    files = chromium.read_downloads(page)
    assert len({files[f"{name}.wav"] for name in ("result", "candidate2", "candidate3")}) == 3
    score = r"seed (\d+), word errors (\d+\.\d+), voice similarity (-?\d+\.\d+)"
    told = re.findall(score, page.inner_text("#candidates"))
    assert sorted(seed for seed, *_ in told) == ["5", "6", "7"]
    ranks = [(float(errors), -float(likeness)) for _, errors, likeness in told]
    assert ranks == sorted(ranks)
    chromium.fill_number(page, "Seed", int(told[0][0]))
    chromium.fill_number(page, "Candidates, best first", 1)
    assert np.corrcoef(samples(best), samples(request_sound(page)))[0, 1] > 0.99


def test_guidance_of_single_conditions(visit, video):
    """It changes the sound; 0 is 0, and an empty field is the common guidance."""
    page = visit()
    chromium.upload_video(page, video)
    chromium.fill_text(page, ONE)
    plain = request_sound(page)
    assert request_sound(page) == plain
    chromium.open_more(page)  # empty fields are not 0 because they are shown
    assert request_sound(page) == plain
    chromium.fill_number(page, "Phonemes", 6)
    assert request_sound(page) != plain
    chromium.fill_number(page, "Phonemes", 0)
    without = request_sound(page)
    assert without != plain
    chromium.clear_number(page, "Phonemes")
    assert request_sound(page) == plain
    chromium.clear_number(page, "Sync")  # the common guidance in place of the run's own
    common = request_sound(page)
    assert common != plain
    chromium.fill_number(page, "Sync", 1.5)
    assert request_sound(page) == common


def test_a_voice_is_recorded(visit):
    """With the microphone; the speaker is among the conditions only then."""
    page = visit()
    chromium.fill_text(page, ONE)
    without = request_sound(page)
    assert "speaker" in read_conditions(page)[1]
    page.click("#voice1 [aria-label='Record audio']")
    page.click("#voice1 .record-button")
    page.wait_for_timeout(3000)
    page.click("#voice1 .stop-button")
    page.wait_for_selector("#voice1 [aria-label=Play]")
    assert page.locator("#voice1 [aria-label=Share]").count() == 0  # it would go to another site
    assert request_sound(page) != without
    assert "speaker" in read_conditions(page)[0]


def test_progress_moves_with_the_steps(visit):
    page = visit()
    chromium.fill_text(page, ONE)
    chromium.open_more(page)
    chromium.fill_number(page, "Steps", 200)
    chromium.fill_number(page, "Duration", 30)
    seen = chromium.press_generate(page)
    assert seen == sorted(set(seen)) and seen[0] == 0 and len(seen) >= 10


def test_stems_play_where_there_are_two(visit, video):
    """Speech, other sounds, and both; a request for one of them has the whole alone."""
    page = visit()
    chromium.upload_video(page, video)
    chromium.fill_text(page, ONE)
    chromium.press_generate(page)
    for player in PLAYERS:
        press_play(page, player)
    files = chromium.read_downloads(page)
    assert len({files[name] for name in STEMS}) == 3
    assert page.locator("#spectrograms img").count() == 3
    for task, used in (("speech", ["phonemes", "lips"]), ("sound", ["clip", "sync"])):
        page.get_by_label(task, exact=True).check()
        assert request_sound(page) != files["result.wav"]
        assert read_conditions(page)[0] == used
        assert [page.locator(player).is_visible() for player in PLAYERS] == [True, False, False]
        press_play(page, "#both")
        assert page.locator("#spectrograms img").count() == 1


def test_the_keyboard_is_enough(visit):
    """Tab, letters and Enter make a sound and play it."""
    page = visit()

    def reach(selector):
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"80 tabs do not reach {selector}")

    reach("#text textarea")
    page.keyboard.type(ONE)
    reach("#generate")
    chromium.press_generate(page, lambda: page.keyboard.press("Enter"))
    page.wait_for_selector("#both [aria-label=Play]")
    reach("#both [aria-label=Play]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#both [aria-label=Pause]")


# ---- edits ----------------------------------------------------------------------------------


def press_edit(page, button):
    """Presses a button that makes another result, and waits for it."""
    chromium.press_generate(page, page.locator(button).click)


def read_spans(page):
    return page.input_value("#redo textarea, #redo input")


def read_wave(page):
    return samples(chromium.read_downloads(page)["result.wav"])


def test_words_light_up_while_they_are_heard(visit):
    """Each at its times, in the player of sounds; a click on the waveform plays from there."""
    page = visit()
    chromium.fill_text(page, ONE)
    chromium.press_generate(page)
    words = page.locator("#timeline .word")
    assert words.all_inner_texts() == ONE.split()
    page.click("#both [aria-label=Play]")
    lit = page.wait_for_function(
        """() => {
            window.lit ??= [];
            for (const word of document.querySelectorAll("#timeline .word.now"))
                if (window.lit.at(-1) !== word.innerText) window.lit.push(word.innerText);
            return window.lit.at(-1) === "soon" && window.lit;
        }""",
        polling=20,
    ).json_value()
    assert lit == ONE.split()
    box = page.locator("#timeline .wave").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    seconds = float(page.get_attribute("#timeline .timeline", "data-seconds"))
    page.wait_for_function(
        """place => Math.abs(parseFloat(document.querySelector("#timeline .cursor").style.left)
            - place) < 2""",
        arg=50,
    )
    assert read_spans(page) == "" and seconds > 1


def test_words_light_up_in_the_video(visit, video):
    page = visit()
    chromium.upload_video(page, video)
    chromium.fill_text(page, ONE)
    chromium.press_generate(page)
    page.wait_for_function("document.querySelector('#result video').readyState >= 2")
    page.evaluate(
        """() => {
            const word = document.querySelectorAll("#timeline .word")[2];
            document.querySelector("#result video").currentTime = Number(word.dataset.start) + 0.02;
        }"""
    )
    page.wait_for_selector("#timeline .word.now:nth-of-type(3)")


def test_a_span_is_dragged_on_the_waveform_and_made_anew(visit):
    """Outside of it the samples stay; a word is another span, and a second click removes it."""
    page = visit()
    chromium.fill_text(page, ONE)
    first = samples(request_sound(page))
    page.locator("#timeline .wave").scroll_into_view_if_needed()
    box = page.locator("#timeline .wave").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 30, steps=4)
    page.mouse.up()
    start, end = map(float, read_spans(page).split(":"))
    seconds = len(first) / 16_000
    assert start == pytest.approx(seconds / 2, abs=0.05)
    assert end == pytest.approx(0.75 * seconds, abs=0.05)
    page.locator("#timeline .word").first.click()
    assert len(read_spans(page).split(",")) == 2
    assert page.locator("#timeline .marks div").count() == 2
    page.locator("#timeline .word").first.click()
    assert len(read_spans(page).split(",")) == 1
    press_edit(page, "#redo-button")
    again = read_wave(page)
    borders = [round(time * 16_000) for time in (start, end)]
    assert np.array_equal(again[: borders[0]], first[: borders[0]])
    assert np.array_equal(again[borders[1] :], first[borders[1] :])
    assert not np.array_equal(again, first)
    assert "Generated anew" in page.inner_text("#summary") and read_spans(page) == ""


def test_the_keyboard_chooses_spans(visit):
    """Arrow keys move between words, Enter chooses one; spans of numbers are added."""
    page = visit()
    chromium.fill_text(page, ONE)
    chromium.press_generate(page)
    page.locator("#timeline .word").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    word = page.locator("#timeline .word").nth(1)
    assert word.get_attribute("aria-pressed") == "true"
    start, end = map(float, read_spans(page).split(":"))
    assert start == pytest.approx(float(word.get_attribute("data-start")), abs=0.01) and end > start
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "from"
    page.get_by_label("From (s)", exact=True).fill("1.5")
    page.get_by_label("To (s)", exact=True).fill("1.75")
    page.get_by_role("button", name="Add span").press("Enter")
    assert read_spans(page).endswith("1.50:1.75")
    page.get_by_role("button", name="Clear spans").press("Enter")
    assert read_spans(page) == "" and page.locator("#timeline .marks div").count() == 0
    page.click("#redo-button")
    chromium.wait_for_status(page, "There is no span")


def test_a_sound_is_extended(visit):
    page = visit()
    chromium.fill_text(page, ONE)
    first = samples(request_sound(page))
    page.fill("#said textarea", TWO)
    page.get_by_label("Or go on where it ends").fill("5")
    press_edit(page, "#extend-button")
    longer = read_wave(page)
    assert len(longer) == 5 * 16_000
    kept = len(first) - 1600
    assert np.array_equal(longer[:kept], first[:kept])
    words = page.locator("#timeline .word").all_inner_texts()
    assert words == [*ONE.split(), *TWO.split()]


def test_candidates_are_heard_side_by_side_and_one_is_edited(visit):
    page = visit()
    chromium.fill_text(page, ONE)
    chromium.fill_number(page, "Candidates, best first", 2)
    chromium.press_generate(page)
    page.wait_for_selector("#candidates audio")
    assert page.locator("#candidates audio").count() == 2
    played = page.evaluate(PLAYS, "#candidates figure:nth-of-type(2) audio")
    assert played["error"] is None and played["time"] > 0
    files = chromium.read_downloads(page)
    chosen = page.get_by_role("radio", name="2: seed")
    chosen.check()
    chromium.wait_for_status(page, "Candidate 2.")
    chromium.fill_number(page, "Candidates, best first", 1)
    page.locator("#timeline .word").last.click()
    span = [round(float(time) * 16_000) for time in read_spans(page).split(":")]
    press_edit(page, "#redo-button")
    assert np.array_equal(read_wave(page)[: span[0]], samples(files["candidate2.wav"])[: span[0]])


def test_subtitles_have_a_voice_for_each_speaker(visit, voices, tmp_path):
    """The video's own sound stays below the speech, at a loudness."""
    (tmp_path / "talk.srt").write_text(
        f"1\n00:00:00,200 --> 00:00:01,800\n[Anna] {ONE}\n\n"
        f"2\n00:00:02,000 --> 00:00:03,900\n[Bob] {TWO}\n"
    )
    source = fixtures.write_video(tmp_path / "in.mp4", 4.0)
    page = visit()
    chromium.upload_video(page, source)
    page.get_by_role("button", name="Subtitles").click()
    chromium.upload(page, "#subtitles", tmp_path / "talk.srt")
    chromium.wait_for_status(page, "Speakers: Anna, Bob.")
    for number, path in enumerate(voices, 1):
        chromium.upload(page, f"#voice-of-speaker{number}", path)
        page.wait_for_selector(f"#voice-of-speaker{number} [aria-label=Play]")
    assert "Voice of Anna" in page.inner_text("#voice-of-speaker1")
    page.get_by_role("button", name="own sound").click()
    page.get_by_label("kept, quieter").check()
    page.get_by_label("Loudness of the result").fill("-23")
    chromium.press_generate(page)
    files = chromium.read_downloads(page)
    assert {"result.original.wav", "result.generated.wav", "result.srt"} <= files.keys()
    assert b"[Anna] bin red" in files["result.srt"]
    assert "not spoken" not in page.inner_text("#summary")
    words = page.locator("#timeline p").all_inner_texts()
    assert [text.split()[:2] for text in words] == [["Anna:", "bin"], ["Bob:", "set"]]


def test_a_link_restores_the_settings(visit):
    page = visit()
    chromium.fill_text(page, ONE)
    chromium.fill_number(page, "Seed", 7)
    page.get_by_label("speech", exact=True).check()
    chromium.press_generate(page)
    address = page.get_by_role("link", name="Link to these settings").get_attribute("href")
    page.goto(page.url.rstrip("/") + "/" + address)
    page.wait_for_selector("#status")
    chromium.wait_for_status(page, "These are the settings of the link")
    assert page.input_value("#text textarea") == ONE
    assert chromium.find_field(page, "Seed").input_value() == "7"
    assert page.get_by_label("speech", exact=True).is_checked()


def test_screen_readers_have_a_name_for_every_control(visit, video):
    page = visit()
    chromium.upload_video(page, video)
    chromium.fill_text(page, ONE)
    chromium.press_generate(page)
    for name in ("Subtitles", "own sound"):
        page.get_by_role("button", name=name).click()
    chromium.open_more(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, select, video, svg[role]")]
            .filter((e) => e.offsetParent && e.type !== "file" && !(
                e.innerText?.trim() || e.ariaLabel || e.title || e.labels?.length
                || e.getAttribute("aria-labelledby") || e.placeholder))
            .map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    for name in ("Words and waveform", "Words; choose those to make anew"):
        assert page.get_by_label(name).count() == 1
    assert page.get_by_role("img", name="Waveform of").count() == 1


@pytest.mark.parametrize("width", [390, 1366])
def test_a_result_fits_the_page(visit, video, width):
    page = visit(width=width, height=844)
    chromium.upload_video(page, video)
    chromium.fill_text(page, ONE)
    chromium.fill_number(page, "Candidates, best first", 3)
    chromium.press_generate(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width + 2


# ---- what people bring ----------------------------------------------------------------------


def test_a_request_is_cancelled_and_the_next_one_runs(visit):
    """The button works while a request runs or waits, and the page can generate again."""
    first, second = visit(), visit()
    for page in (first, second):
        assert page.locator("#cancel").is_disabled()
        chromium.fill_text(page, ONE)
    chromium.open_more(first)
    chromium.fill_number(first, "Steps", 200)
    chromium.fill_number(first, "Duration", 30)
    first.click("#generate")
    first.wait_for_function("window.seen.length >= 2")
    second.click("#generate")
    second.wait_for_selector("#cancel:enabled")
    for page in (second, first):
        page.click("#cancel")
        chromium.wait_for_status(page, "Cancelled.")
        page.wait_for_selector("#cancel:disabled")
        page.wait_for_selector("#both", state="hidden")
    assert max(first.evaluate("window.seen")) < 100
    chromium.press_generate(second)
    assert second.locator("#both").is_visible()
    chromium.fill_number(first, "Steps", 2)
    chromium.press_generate(first)


def test_times_of_a_longer_video_are_fitted_to_a_shorter_one(visit, tmp_path):
    page = visit()
    chromium.upload_video(page, fixtures.write_video(tmp_path / "long.mp4", 4.0))
    page.get_by_label("Choose when the speech starts and ends").check()
    chromium.fill_number(page, "Speech starts (s)", 2.5)
    chromium.fill_text(page, "set")
    page.get_by_label("Clear").first.click()
    chromium.wait_for_status(page, "Ready.")
    chromium.upload_video(page, fixtures.write_video(tmp_path / "short.mp4", 1.6))
    chromium.wait_for_status(page, "Speech starts at 0 s instead of 2.50 s")
    assert page.get_by_label("number input for Speech ends (s)").input_value() == "1.6"
    chromium.press_generate(page)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("animation.gif", {"codec": "gif", "pixels": "rgb8"}),
        ("camera.ts", {}),
        ("raw.h264", {"container": "h264"}),
        ("film.MKV", {"codec": "mpeg4"}),
        ("no suffix", {"container": "mov"}),
    ],
)
def test_files_of_any_name_are_taken_by_their_content(visit, tmp_path, name, settings):
    page = visit()
    chromium.upload_video(page, odd_media.write_media(tmp_path / name, **settings))
    chromium.press_generate(page)
    page.wait_for_function("document.querySelector('#result video').readyState >= 2")
    assert page.evaluate(PLAYS, "#result video")["error"] is None


def test_a_video_file_is_a_voice_and_its_track_can_be_chosen(visit, tmp_path):
    voice = odd_media.split_chunks(fixtures.make_voice())
    tracks = [("aac", "mono", odd_media.split_chunks(np.zeros(32_000))), ("aac", "mono", voice)]
    page = visit()
    choose_voice(page, 1, odd_media.write_media(tmp_path / "talk.mp4", tracks=tracks))
    chromium.fill_text(page, ONE)
    page.click("#generate")
    chromium.wait_for_status(page, "Voice 1: speaker audio: found silence")
    chromium.open_more(page)
    chromium.fill_number(page, "Audio track", 2)
    chromium.press_generate(page)
    assert "speaker" in read_conditions(page)[0]


def test_characters_that_cannot_be_read_are_named_or_skipped(visit):
    page = visit()
    chromium.fill_text(page, "set \u043c blue")
    page.click("#generate")
    chromium.wait_for_status(page, "CYRILLIC SMALL LETTER EM")
    chromium.open_more(page)
    page.get_by_label("Skip characters that cannot be read").check()
    chromium.press_generate(page)
    assert "Note: Text: skipped" in page.inner_text("#summary")


def test_the_page_of_a_reverse_proxy(browser, tiny_run, tmp_path, video):
    """Under a path of its own, with uploads, progress and results, and nothing from elsewhere."""
    with chromium.serve_page(tiny_run, tmp_path, "--root_path=/dub") as (address, _):
        app = reverse_proxy.make_app(address.rstrip("/"), "/dub")
        with (
            reverse_proxy.run(app) as proxy,
            chromium.open_pages(browser, f"{proxy}/dub/") as visit,
        ):
            page = visit()
            chromium.upload_video(page, video)
            assert len(chromium.press_generate(page)) >= 2
            page.wait_for_function("document.querySelector('#result video').readyState >= 2")
            assert page.evaluate(PLAYS, "#result video")["error"] is None
            assert set(chromium.read_downloads(page)) >= {"result.mp4", "result.wav"}
