"""The report stands alone, shows what the run has, and says what it does not have."""

import base64
import csv
import html.parser
import io
import json
import re

import av
import numpy as np
import pytest
from helpers.fixtures import tone
from PIL import Image

from vssflow_jax import media
from vssflow_jax.codecs.interface import save_codec
from vssflow_jax.codecs.pca import fit_pca
from vssflow_jax.common.errors import InputError
from vssflow_jax.config import load_recipe
from vssflow_jax.data import shards
from vssflow_jax.reports import examples, plots
from vssflow_jax.reports import html as page
from vssflow_jax.reports import run as report

SECONDS = 1.0
CLIPS = 7  # a task; more than are shown
HOSTILE = """<script>alert("x")</script> & 'me'"""
MARKS = [[0.1, 0.3, "B"], [0.3, 0.6, "IH1"], [0.6, 0.9, "N"]]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, inside which article, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.articles, self.text = [], [], ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "article":
            self.articles.append([])
            self._inside = True
        if self._inside:
            self.articles[-1].append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "article"

    def handle_data(self, data):
        self.text += data


def write_shards(folder, rng):
    """A test split of every task; its record k has an event and three phonemes."""
    folder.mkdir()
    with shards.open_shard_writer(folder / "test.array_record") as add:
        for task in ("speech", "sound", "joint"):
            for number in range(CLIPS):
                meta = {"id": f"{task}-{number}", "task": task, "duration": SECONDS}
                meta["annotation"] = {"onsets": [0.5], "sound_class": "wood"}
                if task != "sound":
                    meta |= {"text": "bin", "alignment": MARKS}
                wave = media.to_int16(tone(SECONDS, 200 + 50 * number))
                clip = rng.uniform(-1, 1, (10, 768)).astype(np.float16)
                add({"wave": wave, "clip": clip, "meta": meta})
    split = {"files": ["test.array_record"], "silent": [], "clips": 3 * CLIPS}
    split["bytes"] = [(folder / "test.array_record").stat().st_size]
    split["tasks"] = {"speech": CLIPS, "sound": CLIPS, "joint": CLIPS}
    info = {"version": shards.VERSION, "splits": {"test": split, "train": split}}
    (folder / "dataset.json").write_text(json.dumps(info))


def write_scores(workdir, tasks):
    """eval/: scores, lines, generated waves."""
    scores = {"wer": 0.25, "wer_ci95": [0.2, 0.3], "wer_floor": 0.125, "clips": CLIPS}
    scores["wer_ceiling"] = 0.0
    skipped = [{"id": "speech-9", "reason": HOSTILE}]
    metrics = {task: {**scores, "skipped": skipped} for task in tasks}
    metrics["run"] = {"checkpoint": 6, "solver": "euler", "steps": 2, "seed": 0, "guidance": []}
    (workdir / "eval").mkdir(exist_ok=True)
    (workdir / "eval" / "metrics.json").write_text(json.dumps(metrics))
    with (workdir / "eval" / "examples.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "id", "text", "hypothesis", "errors", "words"))
        for task in tasks:
            for number in range(CLIPS):
                name = f"{'speech' if task == 'text' else task}-{number}"
                writer.writerow((task, name, "bin", HOSTILE, 1, 1))
                path = workdir / "eval" / "generated" / task / f"{name}.wav"
                media.write_wav(path, tone(SECONDS, 300))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder as training and evaluation leave it."""
    workdir, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    write_shards(workdir / "shards", rng)
    config = load_recipe("quickstart")
    config.data.shards = str(workdir / "shards")
    (workdir / "config.json").write_text(config.to_json())
    lines = [
        {"step": step, "loss": 2 / step, "grad_norm": 1.0, "learning_rate": 1e-3, "seconds": 65.0}
        for step in range(1, 9)
    ]
    log = "".join(json.dumps(line) + "\n" for line in lines)
    (workdir / "metrics.jsonl").write_text(log + '{"step": 9, "lo')
    (workdir / "statistics.json").write_text(json.dumps({"phoneme_durations": {"B": 0.05}}))
    save_codec(fit_pca([rng.normal(0, 0.1, 180_000).astype(np.float32)], 16), workdir / "codec")
    write_scores(workdir, ("speech", "sound", "joint", "text"))
    return workdir


@pytest.fixture(scope="module")
def text(run):
    return report.report(run).read_text(encoding="utf-8")


def test_the_file_is_whole_in_itself(text):
    assert not re.search(r"https?:", re.sub(r'"data:[^"]*"', '""', text))
    for tag, attributes in Page(text).tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "srcset", "href"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    assert "url(" not in text and "@import" not in text


def test_every_clip_has_three_players_and_two_spectrograms(text):
    articles = Page(text).articles
    assert len(articles) == 4 * examples.CLIPS
    for number, tags in enumerate(articles):
        alts = [attributes["alt"] for tag, attributes in tags if tag == "img"]
        assert sum(tag == "audio" for tag, _ in tags) == 3
        assert sum(alt.startswith("Log-mel spectrogram") for alt in alts) == 2
        with_video = number < 3 * examples.CLIPS
        assert sum("pictures of" in alt for alt in alts) == with_video


def test_images_and_players_have_names_and_the_page_a_language(text):
    tags = Page(text).tags
    assert dict(tags)["html"] == {"lang": "en"}
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "audio")
    assert [tag for tag, _ in tags].count("h1") == 1


def test_text_of_others_is_escaped(text):
    assert "<script" not in text
    shown = Page(text).text
    assert shown.count(f"heard “{HOSTILE}”, 1 of 1 words wrong") == 4 * examples.CLIPS
    assert f"speech-9: {HOSTILE}" in shown


def test_scores_have_interval_and_floor(text):
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert cells == ["25.0 %", "20.0 to 30.0", "12.5 %", "0.0 %"] * 4


def test_the_paragraph_says_how_long_it_trained_and_on_what(text):
    steps = load_recipe("quickstart").train.steps
    assert f"8 of {steps:,} steps in 1 min 5 s" in text
    assert "21 clips (7 speech, 7 sound, 7 joint)" in text


def test_what_is_missing_is_said(run, tmp_path):
    for name in ("config.json", "codec"):
        (tmp_path / name).symlink_to(run / name)
    shown = Page(report.report(tmp_path).read_text()).text
    assert "no curves" in shown and "not been scored" in shown and "No clips" in shown
    write_scores(tmp_path, ("speech",))
    found = Page(report.report(tmp_path).read_text())
    assert len(found.articles) == examples.CLIPS
    assert "Not scored: sound, both at once, speech without video." in found.text


def test_shards_that_are_gone_do_not_stop_it(run, tmp_path):
    for name in ("codec", "eval", "metrics.jsonl"):
        (tmp_path / name).symlink_to(run / name)
    config = json.loads((run / "config.json").read_text())
    config["data"]["shards"] = str(tmp_path / "gone")
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = Page(report.report(tmp_path).read_text())
    assert "No clips are shown" in found.text and not found.articles
    assert found.text.count("95 % interval") == 4


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        report.report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sound_survives_the_page():
    wave = tone(1.5, 330)
    data = page.mp3(wave)
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    back = np.concatenate(frames, axis=1)[0]
    assert abs(len(back) - len(wave)) <= 1152
    length = min(len(back), len(wave))
    assert np.corrcoef(back[:length], wave[:length])[0, 1] > 0.99


@pytest.mark.parametrize("count", (0, 1, 3, 4, 64))
def test_clips_are_spread_evenly(count):
    rows = list(range(count))
    shown = examples.evenly(rows, 3)
    assert len(shown) == min(count, 3) and shown == sorted(set(shown))
    if count == 64:
        assert shown == [10, 32, 53]


def test_marks_lie_at_their_times():
    mel = np.full((200, 64), np.log(1e-3), np.float32)
    image = plots.spectrogram(mel, 2.0, (-7, 0), onsets=[0.5])
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), int)
    cyan = (pixels[..., 1] > 150) & (pixels[..., 0] < 140)
    expected = plots.LEFT + (plots.RIGHT - plots.LEFT) * 0.25
    assert np.nonzero(cyan)[1].mean() / pixels.shape[1] == pytest.approx(expected, abs=0.002)


def test_running_mean_leaves_out_what_is_not_a_number():
    values = np.array([1.0, np.nan, 3.0, 5.0])
    np.testing.assert_allclose(plots.smoothed(values, 3), [1, 2, 4, 4])


def test_pictures_are_data(text):
    kinds = re.findall(r"data:(image/\w+|audio/mpeg);base64,([A-Za-z0-9+/=]+)", text)
    assert {kind for kind, _ in kinds} == {"image/png", "image/jpeg", "audio/mpeg"}
    for kind, data in kinds:
        if kind.startswith("image"):
            Image.open(io.BytesIO(base64.b64decode(data))).verify()
