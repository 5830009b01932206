"""What can be asked for on the page: scripts, voices, candidates, guidance, stems, by keyboard."""

import io
import re
import wave

import numpy as np
import pytest
from helpers import chromium

pytest.importorskip("gradio")
pytest.importorskip("playwright.sync_api")
pytestmark = chromium.MARKS
ONE, TWO = "bin red by k two soon", "set blue at g nine now"
PLAYERS = ("#whole", "#speech", "#sound")
STEMS = ("result.wav", "result.speech.wav", "result.sound.wav")


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


def conditions(page):
    """Names of the conditions that were used, and of those that were missing."""
    found = re.search(r"Conditions used: (.*?); missing: (.*?)\.", page.inner_text("#line"))
    return [names.split(", ") for names in found.groups()]


def made(page):
    """The bytes of the sound that a request makes."""
    chromium.generate(page)
    return chromium.downloads(page)["result.wav"]


def samples(data):
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768


def play(page, player):
    """Presses a player's button; its clock must move."""
    page.click(f"{player} [aria-label=Play]")
    page.wait_for_function(
        "player => document.querySelector(`${player} time`).innerText !== '0:00'", arg=player
    )


def test_a_script_with_two_voices(visit, voices):
    """The result reaches behind the second line, and it matters whose voice that line has."""
    page = visit()
    chromium.more(page)
    for number, path in enumerate(voices, 1):
        choose_voice(page, number, path)
    sounds = {}
    for number in ("", "1", "2"):
        page.fill("#lines textarea", f"0.5,2.0,{ONE}\n2.5,4.1,{TWO},{number}")
        sounds[number] = made(page)
        assert conditions(page) == [["speaker", "phonemes"], ["clip", "lips", "sync"]]
    assert sounds[""] == sounds["1"] != sounds["2"]
    seconds = len(samples(sounds["2"])) / 16_000
    assert 4.1 <= seconds <= 5 and page.inner_text("#line").startswith(f"{seconds:.2f} s")
    page.fill("#lines textarea", f",,{ONE},3")
    page.click("#generate")
    chromium.status(page, "line 1: found voice '3'")


def test_candidates_come_best_first(visit, voices):
    """As many as asked for, in the order of the scores that the page tells."""
    page = visit()
    choose_voice(page, 1, voices[0])
    chromium.say(page, ONE)
    chromium.set_number(page, "Seed", 5)
    chromium.set_number(page, "Candidates, best first", 3)
    best = made(page)
    files = chromium.downloads(page)
    assert len({files[f"{name}.wav"] for name in ("result", "candidate2", "candidate3")}) == 3
    score = r"seed (\d+), wer (\d+\.\d+), speaker_similarity (-?\d+\.\d+)"
    told = re.findall(score, page.inner_text("#line"))
    assert sorted(seed for seed, *_ in told) == ["5", "6", "7"]
    ranks = [(float(errors), -float(likeness)) for _, errors, likeness in told]
    assert ranks == sorted(ranks)
    chromium.set_number(page, "Seed", int(told[0][0]))
    chromium.set_number(page, "Candidates, best first", 1)
    assert np.corrcoef(samples(best), samples(made(page)))[0, 1] > 0.99


def test_guidance_of_single_conditions(visit, video):
    """It changes the sound; without it the same request gives the same sound."""
    page = visit()
    chromium.drop(page, video)
    chromium.say(page, ONE)
    plain = made(page)
    assert made(page) == plain
    chromium.more(page)
    chromium.set_number(page, "Phonemes", 6)
    assert made(page) != plain
    chromium.set_number(page, "Phonemes", 0)
    assert made(page) == plain
    chromium.set_number(page, "Sync", 0)  # the run's own scale gives way to the common one
    common = made(page)
    assert common != plain
    chromium.set_number(page, "Sync", 1.5)
    assert made(page) == common


def test_a_voice_is_recorded(visit):
    """With the microphone; the speaker is among the conditions only then."""
    page = visit()
    chromium.say(page, ONE)
    without = made(page)
    assert "speaker" in conditions(page)[1]
    page.click("#voice1 [aria-label='Record audio']")
    page.click("#voice1 .record-button")
    page.wait_for_timeout(3000)
    page.click("#voice1 .stop-button")
    page.wait_for_selector("#voice1 [aria-label=Play]")
    assert page.locator("#voice1 [aria-label=Share]").count() == 0  # it would go to another site
    assert made(page) != without
    assert "speaker" in conditions(page)[0]


def test_progress_moves_with_the_steps(visit):
    page = visit()
    chromium.say(page, ONE)
    chromium.more(page)
    chromium.set_number(page, "Steps", 200)
    chromium.set_number(page, "Duration", 30)
    seen = chromium.generate(page)
    assert seen == sorted(set(seen)) and seen[0] == 0 and len(seen) >= 10


def test_stems_play_where_there_are_two(visit, video):
    """Speech, other sounds, and both; a request for one of them has the whole alone."""
    page = visit()
    chromium.drop(page, video)
    chromium.say(page, ONE)
    chromium.generate(page)
    for player in PLAYERS:
        play(page, player)
    files = chromium.downloads(page)
    assert len({files[name] for name in STEMS}) == 3
    assert page.locator("#picture img").count() == 3
    for task, used in (("speech", ["phonemes", "lips"]), ("sound", ["clip", "sync"])):
        page.get_by_label(task, exact=True).check()
        assert made(page) != files["result.wav"]
        assert conditions(page)[0] == used
        assert [page.locator(player).is_visible() for player in PLAYERS] == [True, False, False]
        play(page, "#whole")
        assert page.locator("#picture img").count() == 1


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
    chromium.generate(page, lambda: page.keyboard.press("Enter"))
    page.wait_for_selector("#whole [aria-label=Play]")
    reach("#whole [aria-label=Play]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#whole [aria-label=Pause]")
