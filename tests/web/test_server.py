"""The page over HTTP, as its own script talks to it: by itself and behind reverse proxies."""

import html
import os
import re
import time
from pathlib import Path

import pytest
from helpers import fixtures, odd_media
from helpers.noise_generator import NoiseGenerator

from vssflow_jax import app
from vssflow_jax.common.errors import InputError
from vssflow_jax.web.files import VisitorFiles
from vssflow_jax.web.limits import Limits
from vssflow_jax.web.studio import Studio

httpx = pytest.importorskip("httpx")
reverse_proxy = pytest.importorskip("helpers.reverse_proxy", exc_type=ImportError)
page_client = pytest.importorskip("helpers.page_client", exc_type=ImportError)
server = pytest.importorskip("vssflow_jax.web.server", exc_type=ImportError)
layout = pytest.importorskip("vssflow_jax.web.layout", exc_type=ImportError)
ROOT = "/a/dub"
QUEUE = 3  # requests that may wait


@pytest.fixture(scope="module")
def media_folder(tmp_path_factory):
    """Videos of two seconds and of one, and a voice."""
    path = tmp_path_factory.mktemp("media")
    fixtures.write_video(path / "in.mp4")
    fixtures.write_video(path / "short.mp4", 1.0)
    odd_media.write_float_wav(path / "voice.wav", fixtures.make_tone())
    return path


@pytest.fixture(scope="module")
def generator():
    return NoiseGenerator()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's uploads and results."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(generator, folder):
    """The address of a page that knows the path of its reverse proxies."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in app.ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_HEARTBEAT_INTERVAL", "0.5")  # after which a closed client is seen
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # of the network; nobody is there
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        studio = Studio(generator, Limits(megabytes=0.2, seconds=5, characters=40, queue=QUEUE))
        blocks = layout.build_page(studio, VisitorFiles(folder))
        options = server.ServerOptions(root_path=ROOT, max_bytes=200_000)
        with server.serve(blocks, options) as address:
            yield address.rstrip("/")
        studio.close()


def test_memory_does_not_grow_with_visitors_and_old_pages_go_on(
    generator, media_folder, tmp_path, monkeypatch
):
    for name, value in app.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(server, "MAX_SESSIONS", 2)
    studio = Studio(generator, Limits(seconds=5))
    blocks = layout.build_page(studio, VisitorFiles(tmp_path))
    with server.serve(blocks, server.ServerOptions()) as address:
        clients = [page_client.PageClient(address) for _ in range(4)]
        for client in [*clients, clients[0]]:
            client.fill(text="set blue", candidates=2)
            assert client.generate() == "Done."
            assert len(blocks.state_holder.session_data) <= 2
        client.upload("video", media_folder / "in.mp4")
        assert "The video lasts 2.00 s." in client.read("status")
    studio.close()


def test_a_students_page_offers_what_it_learned(tmp_path):
    generator = NoiseGenerator()
    generator.config.train.task = "distill"
    generator.config.sample.guidance = 1.5
    generator.config.distill.update(min_scale=1.0, max_scale=3.0)
    studio = Studio(generator, Limits(seconds=5))
    page = layout.build_page(studio, VisitorFiles(tmp_path))
    fields = {getattr(field, "label", None): field for field in page.blocks.values()}
    assert [value for _, value in fields["Solver"].choices] == ["euler"]
    guidance = fields["Guidance"]
    assert (guidance.minimum, guidance.maximum, guidance.value) == (1.0, 3.0, 1.5)
    studio.close()


def generate(client, media_folder):
    """A request with an upload; its messages in order, the status, and the result's bytes."""
    client.upload("video", media_folder / "in.mp4")
    assert "The video lasts 2.00 s." in client.read("status")
    client.fill(text="set blue")
    messages = [message["msg"] for message in client.follow(client.generation)]
    result = client.values[client.find("result")]
    return messages, client.read("status"), client.http.get(result["url"])


@pytest.mark.parametrize(
    "proxy",
    [{}, {"strips": False}, {"host": "forwarded"}, {"strips": False, "host": "forwarded"}],
    ids=["plain", "passes the path on", "forwards the host", "both"],
)
def test_the_page_works_behind_a_reverse_proxy(page, media_folder, proxy):
    """Its script, styles, uploads, stream of progress and results are under the proxy's path."""
    with reverse_proxy.run(reverse_proxy.make_app(page, ROOT, **proxy)) as address:
        client = page_client.PageClient(address + ROOT)
        assert client.root.startswith(address + ROOT)
        html = client.http.get(f"{address}{ROOT}/").text
        assets = {part.split('"')[0] for part in html.split('="./')[1:]}
        assert any(name.startswith("assets/") for name in assets)
        for name in assets:
            assert client.http.get(f"{address}{ROOT}/{name}").status_code == 200, name
        messages, status, result = generate(client, media_folder)
    assert "process_generating" in messages and status == "Done."
    assert result.status_code == 200 and len(result.content) > 1000
    assert str(result.url).startswith(address + ROOT)


def test_https_in_front_of_the_proxy_is_https_in_the_page(page):
    with reverse_proxy.run(reverse_proxy.make_app(page, ROOT, scheme="https")) as address:
        assert page_client.PageClient(address + ROOT).root.startswith(
            address.replace("http", "https") + ROOT
        )


def test_progress_is_not_collected_by_proxies(page):
    client = page_client.PageClient(page)
    with client.http.stream("GET", f"{page}/gradio_api/heartbeat/{client.session}") as stream:
        assert stream.headers["X-Accel-Buffering"] == "no"


def test_the_path_without_a_slash_leads_to_the_page(page):
    client = page_client.PageClient(page)
    answer = client.http.get(page + ROOT, follow_redirects=True)
    assert answer.status_code == 200 and answer.url.path == f"{ROOT}/"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("/", ""),
        ("dub", "/dub"),
        ("/a/dub/", "/a/dub"),
        ("https://example.org/dub/", "https://example.org/dub"),
        ("http://example.org:8080", "http://example.org:8080"),
    ],
)
def test_root_paths(text, path):
    assert server.parse_root_path(text) == path


@pytest.mark.parametrize(
    "text", ["/a b", "../x", "/a/../b", "ftp://a/b", "/a?b=1", "/a#b", "//x", "/a\nb", "/é"]
)
def test_wrong_root_paths(text):
    with pytest.raises(InputError, match="--root_path: found "):
        server.parse_root_path(text)


# ---- requests -----------------------------------------------------------------------------


def test_a_shorter_video_after_times_were_chosen_does_not_break_the_next_request(
    page, media_folder, generator
):
    """Whether or not the visitor waits for the preview of the shorter one."""
    client = page_client.PageClient(page)
    client.upload("video", media_folder / "in.mp4")
    client.fill(text="set blue", Choose_when=True, Speech_starts=1.5, Speech_ends=2)
    assert client.generate() == "Done."
    stale = {"Speech_starts": 1.5, "Speech_ends": 2}
    client.upload("video", media_folder / "short.mp4")
    assert "lasts 1.00 s. Speech ends at 1.00 s instead of 2.00 s" in client.read("status")
    assert client.values[client.find("Speech ends")] == 1
    assert client.generate() == "Done."
    client.fill(**stale)
    assert client.generate() == "Done."
    assert "starts at 0 s instead of 1.50 s" in client.read("summary")
    assert [(line.start, line.end) for line in generator.requests[-1].script] == [(0, 1)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "neither a video nor a text"),
        ({"text": "x" * 41}, "41 characters; this page takes up to 40"),
        ({"text": "set blue", "seed": -1}, "The seed is -1; this page takes 0 to"),
        ({"text": "set blue", "seed": 1.5}, "The seed is 1.5; this page takes whole numbers"),
        ({"text": "set blue", "Candidates": 99}, "The number of candidates is 99"),
        ({"text": "set blue", "Steps": 0}, "The number of steps is 0"),
        ({"text": "set blue", "Guidance": 1e9}, "The guidance (guidance) is 1e+09"),
        ({"text": "set blue", "Duration": "a while"}, "The duration is 'a while'"),
        ({"text": "set blue", "Audio track": "x"}, "The audio track is 'x'"),
        ({"text": "set blue", "Task": "dance"}, "The task is 'dance'"),
        ({"text": "set blue", "Format of": "exe"}, "The format is 'exe'"),
        ({"Choose when": True, "text": "set", "Speech starts": "soon"}, "is 'soon'"),
    ],
)
def test_what_is_wrong_is_a_sentence_in_the_page(page, fields, words):
    client = page_client.PageClient(page)
    client.fill(**fields)
    assert words in client.generate()


def test_wrong_files_are_sentences_in_the_page(page, media_folder, tmp_path):
    (tmp_path / "<b>.mp4").write_text("words")
    (tmp_path / "empty.mp4").touch()
    odd_media.rename_codec(media_folder / "in.mp4", tmp_path / "unknown.mp4", b"avc1")
    for path, words in {
        tmp_path / "<b>.mp4": "The video: not a media file that can be read",
        tmp_path / "empty.mp4": "The video: the file is empty",
        tmp_path / "unknown.mp4": "found codec zzzz, which cannot be decoded here",
        media_folder / "voice.wav": "The video: found no video stream, expected a video",
    }.items():
        client = page_client.PageClient(page)
        client.upload("video", path)
        assert words in client.read("status")
        assert words in client.generate()


def test_an_upload_that_was_deleted_meanwhile_is_a_sentence(page, media_folder):
    """Files are deleted after some time, while their page still shows them."""
    client = page_client.PageClient(page)
    client.upload("video", media_folder / "in.mp4")
    os.unlink(client.values[client.find("video")]["path"])
    assert "no longer there; please choose it again" in client.generate()


def test_a_cancelled_request_makes_room_for_the_next(page, generator):
    """A request that runs is told to stop, one that waits leaves the queue."""
    first, second, third = (page_client.PageClient(page) for _ in range(3))
    for client in (first, second, third):
        client.fill(text="set blue")
    generator.steps, count = 50, len(generator.requests)
    generator.may_step.clear()
    running = first.follow(first.generation)
    while next(running)["msg"] != "process_generating":
        pass
    waiting = second.follow(second.generation)
    assert next(waiting)["msg"] == "estimation"
    second.press_cancel()
    first.press_cancel()
    generator.may_step.set()
    assert first.read("status") == second.read("status") == "Cancelled."
    generator.steps = 1
    assert third.generate() == "Done."
    assert len(generator.requests) == count + 2


def test_a_result_that_came_before_the_cancel_is_done(page):
    client = page_client.PageClient(page)
    client.fill(text="set blue")
    assert client.generate() == "Done."
    client.press_cancel()
    assert client.read("status") == "Done."


def test_a_file_that_is_no_upload_is_neither_read_nor_deleted(page, media_folder, tmp_path):
    """Clients say themselves where an upload is."""
    other = fixtures.write_video(tmp_path / "private.mp4")
    client = page_client.PageClient(page)
    client.values[client.find("video")] = {"path": str(other), "meta": {"_type": "gradio.FileData"}}
    client.trigger("video", "change")
    *_, last = client.follow(client.generation)
    assert not last["success"] and client.read("status") == "Ready."
    client.values[client.find("video")] = None
    client.trigger("video", "change")
    assert other.exists()


def test_the_queue_has_a_limit(page, generator):
    """Further requests are refused at once."""
    clients = [page_client.PageClient(page) for _ in range(QUEUE + 2)]
    generator.may_step.clear()
    for client in clients:
        client.fill(text="set blue")
    running = clients[0].follow(clients[0].generation)
    while next(running)["msg"] != "process_starts":
        pass
    waiting = [client.follow(client.generation) for client in clients[1:-1]]
    for messages in waiting:
        assert next(messages)["msg"] == "estimation"
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        next(clients[-1].follow(clients[-1].generation))
    generator.may_step.set()
    for client, messages in zip(clients, [running, *waiting], strict=False):
        list(messages)
        assert client.read("status") == "Done."


def test_a_result_is_edited(page, generator):
    """Its spans are made anew with the next seed; it goes on; a new request keeps nothing."""
    client = page_client.PageClient(page)
    client.fill(text="set blue")
    assert client.generate() == "Done."
    client.fill(redo="0.5:1", said="red")
    for _ in client.follow(client.find_handler("redo-button")):
        pass
    assert "The seed is 1 instead of 0" in client.read("summary")
    assert client.values[client.find("seed")] == 1 and client.values[client.find("redo")] == ""
    assert generator.requests[-1].edit.redo == ((0.5, 1.0),)
    client.fill(said="", Or_go_on="4")
    for _ in client.follow(client.find_handler("extend-button")):
        pass
    assert client.read("status") == "Done." and generator.requests[-1].duration == 4.0
    assert client.generate() == "Done." and generator.requests[-1].edit.keep is None


def test_one_of_several_candidates_is_chosen(page):
    client = page_client.PageClient(page)
    client.fill(text="set blue", Candidates=3)
    assert client.generate() == "Done."
    assert client.read("candidates").startswith("1, the best seed 0")
    assert client.values[client.find("both")]["path"].endswith("result.wav")
    client.fill(chosen=2)
    client.trigger("chosen", "input")
    assert client.values[client.find("both")]["path"].endswith("candidate2.wav")
    assert client.read("status") == "Candidate 2."


def test_a_link_restores_the_settings_and_is_made_from_them(page):
    client = page_client.PageClient(page)
    client.fill(text="set blue & red", seed=7)
    assert client.generate() == "Done."
    summary = html.unescape(client.values[client.find("summary")])
    (link,) = re.findall(r'href="([?][^"]*)"', summary)
    other = page_client.PageClient(page, query=f"{link}&steps=0&video=/etc/passwd")
    (load,) = [part for part in other.config["dependencies"] if [None, "load"] in
               [[None, event] for _, event in part["targets"]]]  # fmt: skip
    for _ in other.follow(load):
        pass
    assert other.values[other.find("text")] == "set blue & red"
    assert other.values[other.find("seed")] == 7
    assert other.read("status") == "Left out of the link: steps."


# ---- calls --------------------------------------------------------------------------------


@pytest.fixture
def client(page):
    """A program that calls the page."""
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(page, verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture
def call(client):
    """Calls the page as docs/app.md does."""
    return lambda **values: client.predict(api_name="/generate", **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": 5}, "text: found 5, expected a text"),
        ({"seed": "x"}, "seed: found 'x', expected a whole number"),
        ({"candidates": None}, "candidates: found None, expected a whole number"),
        ({"candidates": 2.5}, "candidates: found 2.5, expected a whole number"),
        ({"steps": True}, "steps: found True, expected a whole number or null"),
        ({"seed": 10**310}, "seed: found 10+, expected a whole number"),
        ({"loop": "false"}, "loop: found 'false', expected true or false"),
        ({"one_draw": None}, "one_draw: found None, expected true or false"),
        ({"guidance": {"a": [1]}}, r"guidance: found {'a': \[1\]}, expected a number or null"),
        ({"video": "abc"}, "video: found 'abc', expected an uploaded file or null"),
        ({"voice": []}, r"voice: found \[\], expected an uploaded file or null"),
        ({"subtitles": {}}, "subtitles: found {}, expected an uploaded file or null"),
        ({"keep": 5}, "keep: found 5, expected an uploaded file or null"),
        ({"video": {"path": "/etc/passwd"}}, "video: A file was not uploaded to this page"),
        ({"speakers": {}}, "speakers: found {}, expected a list of uploaded files or null"),
        ({"speakers": [{"path": 5}]}, r"speakers: found \[{'path': 5}\], expected a list"),
        ({"speakers": [None]}, "speakers: found without subtitles, expected with it"),
        ({"duration": "abc"}, "duration: found 'abc', expected a number or null"),
        ({"extend": []}, r"extend: found \[\], expected a number or null"),
        ({"redo": "1:2", "extend": 3}, "redo, extend: found without keep, expected with it"),
    ],
    ids=str,
)
def test_values_of_a_call_that_are_wrong_are_named(call, values, message):
    with pytest.raises(Exception, match=message):
        call(**{"text": "set blue", **values})


def test_a_program_calls_the_page(call, media_folder, generator, page):
    from gradio_client import handle_file

    files, report = call(
        text="set blue",
        video=handle_file(media_folder / "in.mp4"),
        voice=handle_file(media_folder / "voice.wav"),
        candidates=2,
        seed=5,
    )
    names = {Path(path).name for path in files}
    assert {"result.mp4", "result.wav", "result.speech.wav", "candidate2.mp4"} <= names
    assert all(Path(path).stat().st_size > 100 for path in files)
    assert [row["seed"] for row in report["candidates"]] == [5, 6] and report["notes"]
    assert generator.requests[-1].speaker.name == "1.wav"


def test_a_wrong_call_is_a_sentence(call):
    with pytest.raises(Exception, match="neither a video nor a text"):
        call()
    with pytest.raises(Exception, match="Mix: found 'loud', expected one of"):
        call(text="set blue", mix="loud")


def test_a_program_that_closes_leaves_nothing(client, call, media_folder, folder):
    from gradio_client import handle_file

    def list_own():
        return {*folder.rglob("own.mp4"), *folder.glob("result-*")}

    before, video = list_own(), media_folder / "own.mp4"
    fixtures.write_video(video, 1.2)
    call(text="set blue", video=handle_file(video))
    assert len(list_own() - before) == 2
    client.close()
    while list_own() - before:
        time.sleep(0.05)
