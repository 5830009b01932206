"""The page's work without a browser or a model: forms, errors, files that are deleted."""

import dataclasses
import re
import tempfile
import threading

import numpy as np
import pytest
from helpers import fixtures, odd_media
from helpers.noise_generator import NoiseGenerator

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.generation import synthesis
from vssflow_jax.generation.background import Stopped
from vssflow_jax.generation.conditioning import KEPT_VOICE
from vssflow_jax.generation.mixing import MixOptions
from vssflow_jax.generation.output import Output
from vssflow_jax.reports import plots
from vssflow_jax.text.word_times import TimedUtterance, TimedWord
from vssflow_jax.web import results
from vssflow_jax.web import studio as studio_module
from vssflow_jax.web.form import FORMATS, Form
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.results import (
    PLAYABLE_CODECS,
    describe_scores,
    render_spectrograms,
    render_timeline,
    render_view,
)
from vssflow_jax.web.studio import Studio


@pytest.fixture
def studio(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    return Studio(NoiseGenerator(), Limits(megabytes=0.5, seconds=5, characters=20, side=100))


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def list_copies(tmp_path):
    return list((tmp_path / "work").rglob("*"))


def test_a_request_leaves_its_result_and_no_copies(studio, out, tmp_path):
    upload = fixtures.write_video(tmp_path / "..%2f..%2fetc passwd.mp4")
    form = Form(video=str(upload), text="set blue", candidates=2)
    *progress, result = studio.generate(form, out)
    assert progress == [0.0, 0.5, 1.0]
    assert result.view.video.name == "result.mp4" and media.probe(result.view.video).has_audio
    names = {
        "result.mp4", "result.wav", "result.speech.wav", "result.sound.wav",
        "candidate2.mp4", "candidate2.wav", "candidate2.speech.wav", "candidate2.sound.wav",
    }  # fmt: skip
    assert {path.name for path in result.files} == names
    assert {path.name for path in out.iterdir()} == names
    assert "used: clip; not used: lips." in result.summary and result.notes == ["Slow."]
    assert "<img" in result.view.spectrograms
    assert studio.generator.requests[0].video.name == "video.mp4"
    assert list_copies(tmp_path) == []


def test_the_servers_policy_for_texts_is_that_of_its_requests(out):
    server = Studio(NoiseGenerator(), text_policy="skip")
    list(server.generate(Form(text="set blue"), out))
    assert server.generator.requests[0].text_policy == "skip"


def test_candidates_are_ranked_by_the_servers_recognizer(out, monkeypatch):
    class Ears:
        def rejects(self, text):
            return None

        def transcribe(self, waves):
            return ["good morning" for _ in waves]

    monkeypatch.setattr(studio_module, "load_recognizer", lambda name: {"whisper:x": Ears()}[name])
    server = Studio(NoiseGenerator(), recognizer="whisper:x")
    *_, result = server.generate(Form(text="good evening", candidates=2), out)
    assert [describe_scores(c.report) for c in result.candidates] == [
        "seed 0, word errors 0.50",
        "seed 1, word errors 0.50",
    ]


@pytest.mark.parametrize(("one_draw", "calls"), [(False, ["best"]), (True, ["one"])])
def test_a_loop_is_the_best_of_several_or_of_its_seed(studio, out, monkeypatch, one_draw, calls):
    generator, called = studio.generator, []
    for name, method in (("best", "generate"), ("one", "generate_candidates")):
        kept = getattr(generator, method)

        def call(*args, name=name, kept=kept, **arguments):
            called.append(name)
            return kept(*args, **arguments)

        monkeypatch.setattr(generator, method, call)
    form = Form(text="set blue", loop=True, one_draw=one_draw, seed=5)
    *_, result = studio.generate(form, out)
    assert called[:1] == calls and result.candidates[0].report["seed"] == 5


def test_a_summary_has_the_seed_of_the_best_loop_and_the_voice_of_kept_words():
    report = {"duration": 2.0, "used": ["clip"], "missing": [], "seed": 5, "voice": KEPT_VOICE}
    report |= {"draws": 8, "scores": {"loop_join": 0.25}}
    summary = results.summarize(Output(np.zeros(1), 1, report))
    assert "Best of 8 loops drawn: seed 5, change at the join 0.25." in summary
    assert "The voice is that of the kept words." in summary


def test_a_video_that_is_encoded_again_is_a_note(studio, out, tmp_path):
    upload = odd_media.write_media(tmp_path / "in.gif", codec="gif", pixels="rgb8")
    *_, result = studio.generate(Form(video=str(upload)), out)
    assert media.probe(result.view.video).has_audio
    (_, note) = result.notes
    assert note.startswith("The video: encoded again as H.264: mp4 files do not take gif")
    assert str(tmp_path) not in note


def test_a_codec_without_decoder_is_a_sentence(studio, out, tmp_path):
    source = odd_media.write_media(tmp_path / "in.mp4")
    upload = odd_media.rename_codec(source, tmp_path / "unknown.mp4", b"avc1")
    with pytest.raises(InputError, match=r"The video: stream 0 .* zzzz, which cannot be decoded"):
        list(studio.generate(Form(video=str(upload)), out))
    assert not out.exists()


@pytest.mark.parametrize("way", ["cancel", "close", "shutdown"])
def test_a_cancelled_request_stops_and_leaves_nothing(studio, out, tmp_path, way):
    """The generator takes no further step, and a page that goes on waiting is told."""
    upload, generator = fixtures.write_video(tmp_path / "in.mp4"), studio.generator
    generator.steps = 50
    running = studio.generate(Form(video=str(upload), text="set blue"), out, "visitor")
    while next(running) < 0.5:
        pass
    assert list_copies(tmp_path)
    generator.may_step.clear()
    if way == "close":
        running.close()
    else:
        studio.cancel("another visitor")
        (studio.cancel if way == "cancel" else lambda _: None)("visitor")
    steps = len(generator.fractions)
    generator.may_step.set()
    studio.close()
    if way == "cancel":
        with pytest.raises(Stopped):
            list(running)
    if way != "shutdown":
        assert len(generator.fractions) <= steps + 1
    assert list_copies(tmp_path) == [] and not out.exists()
    assert list(studio.generate(Form(text="set blue"), out)), "the next request runs"


def test_another_visitor_does_not_cancel(studio, out):
    running = studio.generate(Form(text="set blue"), out, "visitor")
    next(running)
    studio.cancel("another visitor")
    *_, result = running
    assert result.files


def test_a_cancelled_request_ends_while_it_waits_for_the_one_before(studio, out, tmp_path):
    generator, other = studio.generator, tmp_path / "other"
    other.mkdir()
    generator.may_step.clear()
    first = studio.generate(Form(text="set blue"), out, "first")
    second = studio.generate(Form(text="lay red"), other, "second")
    next(first), next(second)
    studio.cancel("second")
    with pytest.raises(Stopped):
        list(second)
    generator.may_step.set()
    *_, result = first
    studio.close()
    assert result.files and len(generator.requests) == 2 and not other.exists()


def test_a_result_that_nobody_reads_is_deleted_by_the_page(studio, out):
    """The work may end before the page that has left is noticed."""
    running = studio.generate(Form(text="set blue"), out, "visitor")
    while next(running) < 1:
        pass
    studio.close()
    running.close()
    assert not list_copies(out.parent)


def test_a_failed_generation_leaves_nothing(studio, out, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(studio.generator, "generate_candidates", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(studio.generate(Form(text="set blue"), out))
    assert list_copies(tmp_path) == [] and not out.exists()


def test_scales_are_passed_on_with_none_for_the_common_scale(studio, out):
    scales = {"clip": None, "sync": 0.0}
    list(studio.generate(Form(text="set blue", guidance=3.0, scales=scales), out))
    (options,) = studio.generator.options
    assert options.guidance == 3.0 and options.scales == scales


def test_phonemes_are_marked_where_they_condition_the_sound(monkeypatch):
    """In the complete sound and in stems with that condition, whatever their names."""
    marked = []
    plot = plots.plot_spectrogram
    monkeypatch.setattr(plots, "plot_spectrogram", lambda *a: marked.append(a[3]) or plot(*a))
    monkeypatch.setattr(results, "STEMS", {"sound of a voice": ("phonemes",), "rest": ()})
    wave, phonemes = fixtures.make_tone(1.0), [[0.1, 0.3, "AH0"]]
    names = ("speech and sound", "rest", "sound of a voice")
    report = {"duration": 1.0, "alignment": phonemes}
    render_spectrograms(dict.fromkeys(names, wave), report)
    assert marked == [phonemes, (), phonemes]


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
    yield Form(video=str(folder / "gone.mp4")), "no longer there"
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
    yield Form(text="set blue", timed=True, start=-1.0), "start of the speech is -1"
    yield Form(text="set blue", timed=True, end=float("nan")), "end of the speech is nan"
    yield Form(text="set blue", format="exe"), "format is 'exe'; this page knows mp4, "
    yield Form(lines="0,1\n"), "line 1: found no text"
    for number in ("2", "../voice/1", "/etc"):
        form = Form(lines=f",,set,{number}", voices=[str(folder / "sound.mp4")])
        yield form, "expected the number of one of the voices"


def test_what_is_wrong_is_said_in_a_sentence(studio, out, tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    for form, words in wrong_forms(folder):
        with pytest.raises(InputError) as caught:
            list(studio.generate(form, out))
        message = str(caught.value)
        assert words in message, message
        assert str(tmp_path) not in message and "--" not in message
        assert list_copies(tmp_path) == [] and not studio.generator.requests


def test_lines_call_voices_by_their_numbers(studio, out, tmp_path):
    voice = tmp_path / "voice.wav"
    media.write_wav(voice, fixtures.make_tone())
    list(studio.generate(Form(lines="0,1,set\n1,,lay,3", voices=[voice, None, voice]), out))
    (request,) = studio.generator.requests
    names = [line.speaker and line.speaker.name for line in request.script]
    assert names == [None, "3.wav"] and request.speaker.name == "1.wav"


# ---- as the commands ------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_the_result_has_the_format_asked_for_and_browsers_can_play_it(
    studio, out, tmp_path, format
):
    upload = fixtures.write_video(tmp_path / "in.mp4")
    *_, result = studio.generate(Form(video=str(upload), format=format, candidates=2), out)
    assert result.files[0].name == f"result.{format}"
    assert out / f"candidate2.{format}" in result.files
    assert media.probe(result.files[0]).has_audio
    assert result.view.video.name == ("result.mp4" if format == "mp4" else "result.player.mp4")
    assert result.view.video in result.files or format != "mp4"


@pytest.mark.parametrize(
    ("name", "settings", "plays_as_it_is"),
    [
        ("in.mp4", {}, True),
        ("iphone.mov", {"codec": "libx265"}, False),
        ("ten_bits.mp4", {"pixels": "yuv420p10le"}, False),
        ("screen.mp4", {"pixels": "yuv444p"}, False),
        ("old.avi", {"codec": "mpeg4"}, False),
        ("animation.gif", {"codec": "gif", "pixels": "rgb8"}, True),
    ],
)
def test_a_video_that_browsers_do_not_play_is_copied_and_has_a_player_of_its_own(
    studio, out, tmp_path, name, settings, plays_as_it_is
):
    """The download has the packets of the upload where its container takes them."""
    upload = odd_media.write_media(tmp_path / name, **settings)
    *_, result = studio.generate(Form(video=str(upload)), out)
    assert result.files[0].name == "result.mp4"
    assert (result.view.video == result.files[0]) == plays_as_it_is
    assert media.plan_mux(result.view.video, "o.mp4", codecs=PLAYABLE_CODECS).copies
    assert media.probe(result.view.video).has_audio


def test_every_option_of_the_command_arrives(studio, out, tmp_path):
    voice = odd_media.write_float_wav(tmp_path / "voice.wav", fixtures.make_tone())
    form = Form(
        text="set blue", voices=[str(voice)], audio_track=1, text_policy="skip", solver="heun",
        grid="sway", steps=3, guidance=2.0, duration=1.5, task="speech", timed=True, start=0.2,
        end=1.0, seed=9,
    )  # fmt: skip
    list(studio.generate(form, out))
    (request,), (options,) = studio.generator.requests, studio.generator.options
    assert (request.audio_track, request.text_policy, request.task) == (1, "skip", "speech")
    assert (request.duration, request.script[0].start, request.script[0].end) == (1.5, 0.2, 1.0)
    assert (options.solver, options.grid, options.steps) == ("heun", "sway", 3)
    assert options.guidance == 2.0


def test_times_of_a_longer_video_do_not_break_a_request(studio, out, tmp_path):
    upload = fixtures.write_video(tmp_path / "short.mp4", 1.0)
    form = Form(video=str(upload), text="set blue", timed=True, start=3.5, end=4.0)
    *_, result = studio.generate(form, out)
    (line,) = studio.generator.requests[0].script
    assert (line.start, line.end) == (0.0, 1.0)
    assert "ends at 1.00 s instead of 4.00 s" in result.notes[0]
    assert "starts at 0 s instead of 3.50 s" in result.notes[1]


# ---- subtitles, mixes, edits ------------------------------------------------------------------

TALK = """1
00:00:00,100 --> 00:00:00,900
[Anna] set blue

2
00:00:01,000 --> 00:00:01,900
[Bob] lay red
"""


def test_speakers_of_subtitles_get_their_voices(studio, out, tmp_path):
    path, voice = tmp_path / "talk.txt", tmp_path / "voice.wav"
    path.write_text(TALK)
    media.write_wav(voice, fixtures.make_tone())
    assert studio.list_speakers(str(path)) == ["Anna", "Bob"]
    form = Form(subtitles=str(path), text="not said", speakers=[str(voice), None], duration=2.0)
    *_, result = studio.generate(form, out)
    (request,) = studio.generator.requests
    assert [(line.text, line.name, line.start) for line in request.script] == [
        ("set blue", "Anna", 0.1),
        ("lay red", "", 1.0),
    ]
    assert request.script[0].speaker.name == "1.wav" and request.script[1].speaker is None
    assert "The text is not spoken, since there are subtitles." in result.notes
    assert "The subtitles: not spoken: cue 2 '[Bob]'." in result.notes
    form = dataclasses.replace(form, speakers=[None, None, str(voice)])
    with pytest.raises(InputError, match="The subtitles have 2 speakers; there are voices for 3"):
        list(studio.generate(form, out))
    assert list_copies(tmp_path) == []


def test_names_of_subtitles_are_those_of_tags_prefixes_actors_or_styles(studio, tmp_path):
    path, event = tmp_path / "talk.ass", "Dialogue: 0,0:00:0{}.00,0:00:0{}.90,{},{},0,0,0,,{}\n"
    head = (
        "[Script Info]\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
    events = [("Deep", "", "set"), ("High", "", "lay"), ("Deep", "", "put")]
    path.write_text(head + "".join(event.format(n, n, *row) for n, row in enumerate(events)))
    assert studio.list_speakers(str(path)) == ["Deep", "High"]
    path.write_text(head + event.format(1, 1, "Deep", "Carl", "[door slams]\\NMIA: set"))
    assert studio.list_speakers(str(path)) == ["MIA", "Carl"]
    path.write_text("words")
    with pytest.raises(InputError, match="The subtitles: found"):
        studio.list_speakers(str(path))


def test_a_mix_keeps_the_videos_sound_and_the_generated_one_alone(studio, out, tmp_path):
    upload = fixtures.write_video(tmp_path / "in.mp4")
    form = Form(video=str(upload), text="set blue", mix=MixOptions(mode="add", loudness=-23.0))
    *_, result = studio.generate(form, out)
    (candidate,) = result.candidates
    assert candidate.kept.name == "result.generated.wav" and candidate.kept in result.files
    assert candidate.report["mix"] == "add" and candidate.report["loudness"] == -23.0
    assert out / "result.original.wav" in result.files


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"mode": "duck"}, "Mix duck: found no video, expected one with sound"),
        ({"mode": "loud"}, "Mix: found 'loud'"),
        ({"loudness": 3.0}, "Loudness: found 3, expected -60 to -5 LUFS"),
        ({"generated_level": 99.0}, "Generated level: found 99"),
    ],
)
def test_a_mix_that_cannot_be_is_refused_before_the_generation(studio, out, mix, words):
    with pytest.raises(InputError, match=words):
        list(studio.generate(Form(text="set blue", mix=MixOptions(**mix)), out))
    assert not studio.generator.requests


def keep_sound(tmp_path, seconds=2.0):
    path = tmp_path / "kept.wav"
    media.write_wav(path, fixtures.make_tone(seconds))
    return str(path)


def test_a_span_is_made_anew_with_other_words(studio, out, tmp_path):
    form = Form(text="set blue", keep=keep_sound(tmp_path), redo="0.50:1.00", said="red")
    list(studio.generate(form, out))
    (request,) = studio.generator.requests
    assert request.edit.redo == ((0.5, 1.0),) and request.edit.redo_text == "red"
    assert request.edit.keep.name == "sound.wav" and list_copies(tmp_path) == []


def test_a_sound_goes_on_with_other_words(studio, out, tmp_path):
    form = Form(text="set blue", keep=keep_sound(tmp_path), extend=4.0, said="lay red")
    list(studio.generate(form, out))
    (request,) = studio.generator.requests
    assert request.duration == 4.0 and request.edit.redo == () and request.edit.redo_text is None
    assert [(line.text, line.start) for line in request.script] == [
        ("set blue", None),
        ("lay red", pytest.approx(2.1)),
    ]


def test_edits_that_cannot_be_are_sentences(studio, out, tmp_path):
    kept = keep_sound(tmp_path)
    for form, words in {
        "no span": (Form(keep=kept), "There is no span; choose one on the waveform"),
        "no times": (Form(keep=kept, redo="a:b"), "Redo: found 'a:b', expected seconds"),
        "two": (Form(keep=kept, redo="0:1,1.5:2", said="red"), "Redo text: found 2 spans"),
        "long": (Form(keep=kept, extend=99.0), "end of the longer sound is 99"),
        "loop": (Form(keep=kept, redo="0:1", loop=True), "Found loop beside keep"),
        "prompt": (Form(text="set", prompt_text="lay"), "There is no voice"),
    }.values():
        with pytest.raises(InputError) as caught:
            list(studio.generate(form, out))
        assert words in str(caught.value)
        assert "--" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_prompted_sound_says_that_its_stems_are_missing(studio, out, tmp_path):
    video = fixtures.write_video(tmp_path / "in.mp4")
    form = Form(video=str(video), text="set blue", voices=[keep_sound(tmp_path)], prompt_text="lay")
    *_, result = studio.generate(form, out)
    assert studio.generator.requests[0].prompt.text == "lay"
    assert any("are not made where a sound is kept or prompted" in note for note in result.notes)


def test_words_have_their_times_in_the_timeline():
    wave = fixtures.make_tone(1.0)
    words = (TimedWord(0.1, 0.35, "<b>", ()), TimedWord(0.4, 0.8, "blue", ()))
    line = TimedUtterance(text="<b> blue", speaker="Anna", words=words)
    shown = render_timeline(wave, [line])
    assert 'data-start="0.40" data-end="0.80" aria-pressed="false">blue<' in shown
    assert "<b>" not in shown and "Anna" in shown and 'data-seconds="1.000"' in shown
    assert "<button" not in render_timeline(wave[:0], []).split('class="wave"')[0]


def test_a_view_of_files_that_were_deleted_is_a_sentence(studio, out):
    *_, result = studio.generate(Form(text="set blue"), out)
    result.candidates[0].kept.unlink()
    with pytest.raises(InputError, match="no longer there; please generate it again"):
        render_view(result.candidates[0])


# ---- errors of the real generator -----------------------------------------------------------


@pytest.fixture(scope="module")
def real_studio(generator):
    return Studio(generator, Limits(seconds=60))


def odd_forms(folder):
    """Forms with what people bring, and words of the sentence about each."""
    tone, write = fixtures.make_tone(), odd_media.write_float_wav
    video = str(fixtures.write_video(folder / "in.mp4"))
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((folder / "in.mp4").read_bytes()[:700])
    (folder / "<img src=x>.mp4").write_text("words")
    odd_media.write_media(folder / "still.png", 1, codec="png", pixels="rgb24", container="image2")
    odd_media.rename_codec(folder / "in.mp4", folder / "unknown.mp4", b"avc1")
    fixtures.write_video(folder / "mute.mp4", sound=False)
    media.write_wav(folder / "sound.wav", tone)
    for name, wave in {"silence": 0 * tone, "nan": tone * np.nan, "short": tone[:100]}.items():
        write(folder / f"{name}.wav", wave)
    for name, words in {
        "sound.wav": "The video: found no video stream, expected a video",
        "empty.mp4": "The video: the file is empty",
        "cut.mp4": "The video: not a media file that can be read, or truncated",
        "<img src=x>.mp4": "The video: not a media file",
        "still.png": "The video: found a still image, expected a video, or duration beside it",
        "unknown.mp4": "The video: stream 0 (video): found codec zzzz",
    }.items():
        yield Form(video=str(folder / name)), words
    for name, words in {
        "silence.wav": "Voice 1: speaker audio: found silence",
        "nan.wav": "Voice 1: found samples that are not finite numbers",
        "short.wav": "Voice 1: ",
        "mute.mp4": "Voice 1: found no audio stream, expected sound",
        "still.png": "Voice 1: found no audio stream, expected sound",
        "empty.mp4": "Voice 1: the file is empty",
    }.items():
        yield Form(text="set blue", voices=[str(folder / name)]), words
    yield Form(text="set blue", voices=[video], audio_track=2), "Voice 1: found 1 audio tracks"
    for text, words in {
        "say \u043c\u0438\u0440 now": "CYRILLIC SMALL LETTER EM",
        "\U0001f600": "Text: found no words",
        "\u200b \u00ad": "Text: found no words",
        "set \ud800 blue": "Text: found ",
        "\0set": "Text: found ",
    }.items():
        yield Form(text=text), words
    yield Form(video=video, text="set blue " * 30), "phonemes"
    yield Form(video=video, text="set blue", timed=True, start=1.5, end=0.5), "Speech end: found"
    yield Form(lines="2,3,set blue\n1,2,lay red"), "The lines line 2: found a start at 1 s"
    yield Form(text="set blue", solver="magic"), "Solver: found 'magic'"
    yield Form(text="set blue", grid="epss", steps=9), "Grid epss: found 9 steps"


def test_errors_of_what_people_bring_are_sentences(real_studio, tmp_path, monkeypatch):
    """They name roles and fields, come before the solver, and leave nothing."""
    monkeypatch.setattr("vssflow_jax.generation.synthesis.Synthesizer.__call__", None)
    folder = tmp_path / "uploads"
    folder.mkdir()
    for number, (form, words) in enumerate(odd_forms(folder)):
        out = tmp_path / str(number)
        out.mkdir()
        with pytest.raises(InputError) as caught:
            list(real_studio.generate(form, out))
        message = str(caught.value)
        assert words in message, (words, message)
        assert str(tmp_path) not in message and "/tmp" not in message and "--" not in message
        assert message[0].isupper() and not out.exists()


def test_unreadable_characters_are_skipped_with_a_note(real_studio, out):
    form = Form(text="set \u043c\u0438\u0440 blue", text_policy="skip", steps=1)
    *_, result = real_studio.generate(form, out)
    assert any("CYRILLIC SMALL LETTER EM" in note for note in result.notes)


def test_the_solver_stops_within_a_step_of_the_cancel(real_studio, tmp_path, monkeypatch):
    """At most one step may have begun when the cancel arrives, and one may be asked for after."""
    after, is_cancelled = [], threading.Event()
    watch = synthesis.SolverWatch.goes_on

    def goes_on(self, t):
        if is_cancelled.is_set():
            after.append(t)
        return watch(self, t)

    monkeypatch.setattr(synthesis.SolverWatch, "goes_on", goes_on)
    form = Form(text="set blue at g nine now", steps=200)
    running = real_studio.generate(form, tmp_path / "out", "visitor")
    while next(running) == 0:
        pass
    is_cancelled.set()
    real_studio.cancel("visitor")
    real_studio.close()
    assert len(after) <= 2 and all(t < 0.9 for t in after)
    with pytest.raises(Stopped):
        list(running)
    assert not (tmp_path / "out").exists()


def test_the_queue_goes_on_after_a_cancel(real_studio, tmp_path):
    form = Form(text="set blue at g nine now", steps=20)
    waves = []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        *_, result = real_studio.generate(form, tmp_path / name)
        waves.append(result.view.sounds["speech and sound"].read_bytes())
        running = real_studio.generate(form, tmp_path / "cancelled")
        next(running)
        running.close()
    real_studio.close()
    assert waves[0] == waves[1] and not (tmp_path / "cancelled").exists()


def test_a_preview_of_the_video(studio, tmp_path):
    strip, seconds, notes = studio.preview(str(fixtures.write_video(tmp_path / "in.mp4")))
    assert "<img" in strip and seconds == pytest.approx(2.0, abs=0.05) and not notes
    assert studio.preview(None) == ("", 0.0, [])


def test_a_preview_names_what_of_the_video_is_missing(studio, tmp_path):
    path = odd_media.write_media(tmp_path / "in.flv")
    path.write_bytes(path.read_bytes()[:-400])
    (note,) = studio.preview(str(path))[2]
    assert re.fullmatch(r"The video: truncated: its last part lacks \d+ bytes: .* missing\.", note)
