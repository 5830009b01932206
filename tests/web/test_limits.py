"""The page's work without a browser or a model: limits, sentences, files that go away."""

import tempfile

import numpy as np
import pytest
from helpers import fixtures

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation.output import Output
from vssflow_jax.web.limits import Limits, sentence
from vssflow_jax.web.studio import Form, Result, Studio

RATE = 16_000


class Silent:
    """A generator of noise that says how far it is; it notes the requests that it got."""

    encoder_set = "built-in"

    def __init__(self):
        self.requests = []

    def generate_candidates(self, request, seeds, options, *, stems, progress):
        self.requests.append(request)
        progress(0.5)
        rng = np.random.default_rng(0)
        wave = rng.uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
        report = {
            "duration": 2.0, "used": ["clip"], "missing": ["lips"], "warnings": ["slow"],
            "alignment": [[0.5, 1.0, "AH0"]], "spans": [[0.5, 1.0]] * len(request.script),
        }  # fmt: skip
        both = request.video and request.script
        stems = {"speech": wave, "sound": wave} if both else {}
        return [Output(wave, RATE, report | {"seed": seed}, request.video, stems) for seed in seeds]


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    return Studio(Silent(), Limits(megabytes=0.5, seconds=5, characters=20, side=100))


def left(tmp_path):
    return list((tmp_path / "work").rglob("*"))


def test_a_request_leaves_nothing(studio, tmp_path):
    upload = fixtures.write_video(tmp_path / "..%2f..%2fetc passwd.mp4")
    steps = []
    for found in studio.make(Form(video=str(upload), text="set blue", candidates=2)):
        steps.append(found)
        if isinstance(found, Result):
            assert found.video.name == "result.mp4" and media.probe(found.video).has_audio
            assert {path.name for path in found.files} == {
                "result.mp4", "result.wav", "result.speech.wav", "result.sound.wav",
                "candidate2.mp4", "candidate2.wav", "candidate2.speech.wav", "candidate2.sound.wav",
            }  # fmt: skip
            assert all(path.exists() for path in found.files)
            assert "clip" in found.line and "missing: lips" in found.line and "slow" in found.line
            assert "<img" in found.picture
    assert steps[:2] == [0.0, 0.5] and left(tmp_path) == []
    assert studio.generator.requests[0].video.name == "video"


def test_a_request_that_is_given_up_leaves_nothing(studio, tmp_path):
    going = studio.make(Form(text="set blue"))
    next(going)
    going.close()
    assert left(tmp_path) == []


def wrong_forms(folder):
    (folder / "text.mp4").write_text("not a video")
    (folder / "large.mp4").write_bytes(bytes(600_000))
    media.write_wav(folder / "sound.mp4", fixtures.make_tone())
    long, wide = folder / "long.mp4", folder / "wide.mp4"
    media.write_video(long, fixtures.make_frames(6 * 25), 25)
    media.write_video(wide, fixtures.make_frames(10, width=160), 25)
    yield Form(video=str(folder / "text.mp4")), "The video: "
    yield Form(video=str(folder / "large.mp4")), "1 MB; this page takes up to 0.5"
    yield Form(video=str(folder / "sound.mp4")), "The video: "
    yield Form(video=str(folder / "gone.mp4")), "not there any more"
    yield Form(video=str(long)), "lasts 6 s; this page takes up to 5 s"
    yield Form(video=str(wide)), "160 x 48 pixels"
    yield Form(), "neither a video nor a text"
    yield Form(text="set blue", task="speech and lies"), "task"
    yield Form(task="speech"), "no text"
    yield Form(text="set blue " * 3), "27 characters; this page takes up to 20"
    yield Form(text="set blue", steps=10_000), "number of steps is 10000"
    yield Form(text="set blue", candidates=99), "number of candidates is 99"
    yield Form(text="set blue", seed=-1), "seed is -1"
    yield Form(text="set blue", duration=6.0), "duration is 6"
    yield Form(text="set blue", guidance=float("nan")), "guidance"
    yield Form(text="set blue", scales={"clip": 1e9}), "(clip)"
    yield Form(lines="0,1\n"), "line 1: found no text"
    for number in ("2", "../voice/1", "/etc"):
        form = Form(lines=f",,set,{number}", voices=[str(folder / "sound.mp4")])
        yield form, "expected the number of a voice"


def test_what_is_wrong_is_said_in_a_sentence(studio, tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for form, words in wrong_forms(folder):
        with pytest.raises(InputError) as caught:
            list(studio.make(form))
        message = str(caught.value)
        assert words in message, message
        assert str(tmp_path) not in message and "--" not in message
        assert left(tmp_path) == [] and not studio.generator.requests


def test_lines_call_voices_by_their_numbers(studio, tmp_path):
    voice = tmp_path / "voice.wav"
    media.write_wav(voice, fixtures.make_tone())
    list(studio.make(Form(lines="0,1,set\n1,,lay,3", voices=[voice, None, voice])))
    (request,) = studio.generator.requests
    names = [line.speaker and line.speaker.name for line in request.script]
    assert names == [None, "3"] and request.speaker.name == "1"


def test_errors_of_the_library_speak_of_fields(tmp_path):
    error = InputError(f"--speech_end: found 2 s\n in {tmp_path}/video.mp4, expected 1 s")
    assert sentence(error, tmp_path) == "Speech end: found 2 s in the video, expected 1 s"
    error = InputError(f"--speaker={tmp_path}/voice/2: found silence")
    assert sentence(error, tmp_path) == "Speaker the voice 2: found silence"


def test_a_look_at_the_video(studio, tmp_path):
    strip, seconds = studio.look(str(fixtures.write_video(tmp_path / "in.mp4")))
    assert "<img" in strip and seconds == pytest.approx(2.0, abs=0.05)
    assert studio.look(None) == ("", 0.0)
